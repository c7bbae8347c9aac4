import {
  BigValue,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  VizOrientation,
  VizRepeater,
  getDisplayValueAlignmentFactors,
  useTheme2,
  type DisplayValueAlignmentFactors,
  type FieldDisplay,
  type VizRepeaterRenderValueProps,
} from '../grafana';
import { optionsOf, type PanelProps } from './props';
import { REDUCE, Linked, valuesOf } from './values';

const DEFAULTS = {
  text: undefined as { titleSize?: number; valueSize?: number } | undefined,
  reduceOptions: REDUCE,
  orientation: VizOrientation.Auto,
  textMode: BigValueTextMode.Auto,
  colorMode: BigValueColorMode.Value,
  graphMode: BigValueGraphMode.Area,
  justifyMode: BigValueJustifyMode.Auto,
  wideLayout: true,
};

type Draw = VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>;

export default function Stat({ panel, data, width, height, timeZone }: PanelProps) {
  const theme = useTheme2();
  const options = optionsOf(panel, DEFAULTS);
  const sparkline = options.graphMode !== BigValueGraphMode.None;
  const values = valuesOf({ panel, data, theme, timeZone, reduce: options.reduceOptions, sparkline });
  return (
    <VizRepeater<FieldDisplay, DisplayValueAlignmentFactors>
      source={data}
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width: w, height: h, alignmentFactors, count }: Draw) => (
        <Linked value={value}>
          <BigValue
            theme={theme}
            value={value.display}
            count={count}
            width={w}
            height={h}
            alignmentFactors={alignmentFactors}
            colorMode={options.colorMode}
            graphMode={options.graphMode}
            justifyMode={options.justifyMode}
            textMode={options.textMode}
            disableWideLayout={!options.wideLayout}
            {...(options.text ? { text: options.text } : {})}
            {...(value.sparkline ? { sparkline: value.sparkline } : {})}
          />
        </Linked>
      )}
      width={width}
      height={height}
      orientation={options.orientation}
      renderCounter={0}
      itemSpacing={3}
      autoGrid
    />
  );
}
