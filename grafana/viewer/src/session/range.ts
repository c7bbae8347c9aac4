import { dateMath, dateTime, rangeUtil, type TimeRange } from '../grafana/data';
import type { RawRange } from '../model';

/** A range in milliseconds; Grafana's `to` is the last millisecond of it. */
export interface Milliseconds {
  from: number;
  to: number;
}

const FALLBACK: RawRange = { from: 'now-6h', to: 'now' };

/** One end of a range: relative (`now-7d/d`), milliseconds, or ISO text. Undefined if it is none of these. */
function moment(text: string, end: boolean, timeZone: string): number | undefined {
  if (/^-?\d+$/.test(text)) return Number(text);
  const parsed = text.includes('now') ? dateMath.parse(text, end, timeZone)?.valueOf() : Date.parse(text);
  return Number.isFinite(parsed) ? parsed : undefined;
}

/** The range now. One that nobody can read, or that ends before it begins, is the last six hours. */
export function resolve(raw: RawRange, timeZone: string): Milliseconds {
  const from = moment(raw.from, false, timeZone);
  const to = moment(raw.to, true, timeZone);
  if (from !== undefined && to !== undefined && from <= to) return { from, to };
  if (raw === FALLBACK) throw new Error('the clock is broken');
  return resolve(FALLBACK, timeZone);
}

/** As the time picker wants it: relative ends stay as text, the others are moments. */
export function forPicker(raw: RawRange, { from, to }: Milliseconds): TimeRange {
  const relative = rangeUtil.isRelativeTimeRange(raw);
  const exact = { from: dateTime(from), to: dateTime(to) };
  return { ...exact, raw: relative ? raw : exact };
}

/** What the time picker gives back, as it stands in the address. */
export function fromPicker({ raw }: TimeRange): RawRange {
  const text = (end: TimeRange['raw']['from']): string =>
    typeof end === 'string' ? end : String(end.valueOf());
  return { from: text(raw.from), to: text(raw.to) };
}

/** Half a range earlier or later. */
export function moved({ from, to }: Milliseconds, direction: -1 | 1): RawRange {
  const by = Math.round((to - from) / 2) * direction;
  return { from: String(from + by), to: String(to + by) };
}

/** Twice the range around its middle, but not into the future. */
export function zoomedOut({ from, to }: Milliseconds, now: number): RawRange {
  const half = Math.round((to - from) / 2);
  const end = Math.max(Math.min(to + half, now), to);
  return { from: String(end - 2 * (to - from)), to: String(end) };
}
