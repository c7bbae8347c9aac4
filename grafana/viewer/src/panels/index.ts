/** The kinds of panels, loaded when a dashboard first shows one. `supported.json` names the same. */
import { lazy, type ComponentType, type LazyExoticComponent } from 'react';
import type { PanelProps } from './props';

type Kind = LazyExoticComponent<ComponentType<PanelProps>>;

const series = lazy(() => import('./timeseries'));

export const PANELS: Readonly<Record<string, Kind>> = {
  alertlist: lazy(() => import('./alertlist')),
  barchart: lazy(() => import('./barchart')),
  bargauge: lazy(() => import('./bargauge')),
  gauge: lazy(() => import('./gauge')),
  piechart: lazy(() => import('./piechart')),
  stat: lazy(() => import('./stat')),
  table: lazy(() => import('./table')),
  text: lazy(() => import('./text')),
  timeseries: series,
  trend: series,
};

/** Kinds that ask no query. */
export const SELF_CONTAINED: ReadonlySet<string> = new Set(['text', 'alertlist']);
/** Kinds whose picture tells a screen reader nothing by itself. */
export const PICTURES: ReadonlySet<string> = new Set([
  'timeseries',
  'trend',
  'barchart',
  'piechart',
  'gauge',
]);
