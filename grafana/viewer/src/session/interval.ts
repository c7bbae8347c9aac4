/** Grafana's $__interval: seconds between two points, from the range and the width of the panel. */
import { dateTime, rangeUtil, type TimeRange } from '../grafana/data';
import type { GridPos, Panel } from '../model';

export const COLUMNS = 24;
export const ROW_HEIGHT = 30;
export const GAP = 8;
/** Below this width of the page panels stand one below the other. */
export const NARROW = 768;

/** Pixels that a panel is wide on a page of this width: an estimate, so that it is known before drawing. */
export function panelWidth(at: GridPos, page: number): number {
  if (page < NARROW) return page;
  return Math.floor((page / COLUMNS) * at.w) - GAP;
}

export const panelHeight = (rows: number): number => rows * (ROW_HEIGHT + GAP) - GAP;

export function timeRange(from: number, to: number): TimeRange {
  const range = { from: dateTime(from), to: dateTime(to) };
  return { ...range, raw: range };
}

/** Seconds, at least 1: as many points as pixels, but none closer than the panel's own `interval`. */
export function intervalOf(panel: Panel, from: number, to: number, page: number): number {
  const points = panel.maxDataPoints ?? panelWidth(panel.gridPos, page);
  const { intervalMs } = rangeUtil.calculateInterval(timeRange(from, to), points, panel.interval);
  return Math.max(Math.floor(intervalMs / 1000), 1);
}
