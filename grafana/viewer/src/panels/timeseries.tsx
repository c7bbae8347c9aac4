import { useMemo } from 'react';
import {
  DashboardCursorSync,
  FieldMatcherID,
  LegendDisplayMode,
  PanelContextProvider,
  SortOrder,
  TimeSeries,
  TooltipDisplayMode,
  fieldMatchers,
  type VizLegendOptions,
} from '../grafana';
import { useDashboard } from '../page/context';
import { AnnotationLayer } from './annotations';
import { optionsOf, type PanelProps } from './props';
import { ChartTooltip } from './tooltip';
import { useStructure } from './useStructure';
import { useVisibility } from './useVisibility';

const LEGEND: VizLegendOptions = {
  showLegend: true,
  displayMode: LegendDisplayMode.List,
  placement: 'bottom',
  calcs: [],
};
const DEFAULTS = {
  legend: LEGEND,
  tooltip: { mode: TooltipDisplayMode.Single, sort: SortOrder.None },
  xField: undefined as string | undefined,
};

/** Values over time; and `trend`: values over another number, which is then the field `xField`. */
export default function Series({ panel, data, width, height, range, timeZone }: PanelProps) {
  const { session, dashboard } = useDashboard();
  const options = optionsOf(panel, DEFAULTS);
  const trend = panel.type === 'trend';
  const { frames, context } = useVisibility(data);
  const rev = useStructure(frames);
  const fields = useMemo(
    () =>
      trend
        ? {
            x: fieldMatchers
              .get(options.xField ? FieldMatcherID.byName : FieldMatcherID.first)
              .get(options.xField ?? {}),
            y: fieldMatchers.get(FieldMatcherID.numeric).get({}),
          }
        : undefined,
    [trend, options.xField],
  );
  const zoom = (selected: { from: number; to: number }): void =>
    session.setRange({ from: String(Math.round(selected.from)), to: String(Math.round(selected.to)) });
  return (
    <PanelContextProvider value={context}>
      <TimeSeries
        frames={frames}
        structureRev={rev}
        width={width}
        height={height}
        timeRange={range}
        timeZone={timeZone}
        legend={options.legend}
        {...(fields ? { fields } : {})}
      >
        {(config, aligned) => (
          <>
            <ChartTooltip
              config={config}
              frame={aligned}
              mode={options.tooltip.mode}
              sort={options.tooltip.sort}
              sync={dashboard.graphTooltip ?? DashboardCursorSync.Off}
              {...(trend ? {} : { onZoom: zoom })}
            />
            {!trend && <AnnotationLayer panel={panel} config={config} timeZone={timeZone} />}
          </>
        )}
      </TimeSeries>
    </PanelContextProvider>
  );
}
