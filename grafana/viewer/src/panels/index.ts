/** The kinds of panels, loaded when a dashboard has one. `supported.json` names the same. */
import { lazy, memo, type ComponentType } from 'react';
import type { PanelProps } from './props';

type Module = { default: ComponentType<PanelProps> };

const series = (): Promise<Module> => import('./timeseries');

const LOADERS: Readonly<Record<string, () => Promise<Module>>> = {
  alertlist: () => import('./alertlist'),
  barchart: () => import('./barchart'),
  bargauge: () => import('./bargauge'),
  gauge: () => import('./gauge'),
  piechart: () => import('./piechart'),
  stat: () => import('./stat'),
  table: () => import('./table'),
  text: () => import('./text'),
  timeseries: series,
  trend: series,
};

/** Drawn anew only when there is something new to draw. */
export const PANELS: Readonly<Record<string, ComponentType<PanelProps>>> = Object.fromEntries(
  Object.entries(LOADERS).map(([type, load]) => [type, memo(lazy(load))]),
);

/** Begin to load these kinds. What fails here fails again, and is told, where the panel is drawn. */
export function preload(types: Iterable<string>): void {
  for (const type of new Set(types)) LOADERS[type]?.().catch(() => undefined);
}

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
