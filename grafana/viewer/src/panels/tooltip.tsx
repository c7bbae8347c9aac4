import {
  SortOrder,
  TooltipDisplayMode,
  TooltipPlugin2,
  VizTooltipContent,
  VizTooltipHeader,
  VizTooltipWrapper,
  FieldType,
  formattedValueToString,
  getFieldDisplayItems,
  type DashboardCursorSync,
  type DataFrame,
  type UPlotConfigBuilder,
} from '../grafana';

interface Props {
  config: UPlotConfigBuilder;
  frame: DataFrame;
  mode: TooltipDisplayMode;
  sort: SortOrder;
  sync: DashboardCursorSync | number;
  onZoom?: (range: { from: number; to: number }) => void;
}

/** What lies under the pointer, and a range by dragging. */
export function ChartTooltip({ config, frame, mode, sort, sync, onZoom }: Props) {
  if (mode === TooltipDisplayMode.None && !onZoom) return null;
  return (
    <TooltipPlugin2
      config={config}
      // 0: the nearest line, 1: all lines. A const enum of the library, which isolated modules cannot use.
      hoverMode={mode === TooltipDisplayMode.Single ? 0 : 1}
      syncMode={sync as DashboardCursorSync}
      {...(onZoom ? { queryZoom: onZoom } : {})}
      maxWidth={480}
      render={(_, indexes, series, pinned) => {
        const x = frame.fields[0];
        const at = indexes.find((index) => index !== null) ?? indexes[0];
        if (!x || at === null || at === undefined || mode === TooltipDisplayMode.None) return null;
        const items = getFieldDisplayItems(
          frame.fields,
          x,
          indexes,
          series,
          mode,
          sort,
          (field) => field.type === FieldType.number,
        );
        const value: unknown = x.values[at];
        const label = x.type === FieldType.time ? '' : x.name.split('\\')[0];
        return (
          <VizTooltipWrapper>
            <VizTooltipHeader
              item={{
                label: label ?? '',
                value: x.display ? formattedValueToString(x.display(value)) : String(value),
              }}
              isPinned={pinned}
            />
            <VizTooltipContent items={items} isPinned={pinned} />
          </VizTooltipWrapper>
        );
      }}
    />
  );
}
