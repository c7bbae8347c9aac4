import {
  BarGauge,
  BarGaugeDisplayMode,
  BarGaugeNamePlacement,
  BarGaugeValueMode,
  VizOrientation,
  VizRepeater,
  getDisplayValueAlignmentFactors,
  useTheme2,
  type DisplayValueAlignmentFactors,
  type FieldDisplay,
  type VizRepeaterRenderValueProps,
} from '../grafana';
import { optionsOf, type PanelProps } from './props';
import { Linked, REDUCE, valuesOf } from './values';

const DEFAULTS = {
  text: undefined as { titleSize?: number; valueSize?: number } | undefined,
  reduceOptions: REDUCE,
  orientation: VizOrientation.Auto,
  displayMode: BarGaugeDisplayMode.Gradient,
  valueMode: BarGaugeValueMode.Color,
  namePlacement: BarGaugeNamePlacement.Auto,
  showUnfilled: true,
  minVizWidth: 8,
  minVizHeight: 16,
  maxVizHeight: 300,
};

type Draw = VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>;

export default function Bars({ panel, data, width, height, timeZone }: PanelProps) {
  const theme = useTheme2();
  const options = optionsOf(panel, DEFAULTS);
  const values = valuesOf({ panel, data, theme, timeZone, reduce: options.reduceOptions });
  return (
    <VizRepeater<FieldDisplay, DisplayValueAlignmentFactors>
      source={data}
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width: w, height: h, orientation, alignmentFactors }: Draw) => {
        const processor = value.view?.getFieldDisplayProcessor(value.colIndex ?? 0);
        return (
          <Linked value={value}>
            <BarGauge
              theme={theme}
              value={value.display}
              field={value.field}
              width={w}
              height={h}
              orientation={orientation}
              alignmentFactors={alignmentFactors}
              displayMode={options.displayMode}
              valueDisplayMode={options.valueMode}
              namePlacement={options.namePlacement}
              showUnfilled={options.showUnfilled}
              {...(options.text ? { text: options.text } : {})}
              itemSpacing={8}
              lcdCellWidth={12}
              {...(processor ? { display: processor } : {})}
            />
          </Linked>
        );
      }}
      width={width}
      height={height}
      minVizWidth={options.minVizWidth}
      minVizHeight={options.minVizHeight}
      maxVizHeight={options.maxVizHeight}
      orientation={options.orientation}
      renderCounter={0}
      itemSpacing={8}
    />
  );
}
