import type { Dashboard, Panel } from '../model';
import type { Answer } from '../query/client';
import { expand } from '../query/expand';
import { toFrame } from '../query/frames';
import type { Chosen } from '../query/interpolate';
import type { Milliseconds } from './range';

/** A moment, or a span where `to` is after `from`; milliseconds. */
export interface Mark {
  from: number;
  to: number;
  text: string;
  tags: string;
  color: string;
}

/** The annotations of a dashboard that are shown on this panel. */
export function annotationQueries(
  dashboard: Dashboard,
  panel: Panel,
  range: Milliseconds,
  variables: readonly Chosen[],
) {
  const window = { ...range, interval: 60 };
  return (dashboard.annotations?.list ?? [])
    .filter(
      ({ enable, filter }) =>
        enable && (!filter || filter.ids.includes(panel.id) !== (filter.exclude ?? false)),
    )
    .flatMap(({ target, iconColor }) =>
      target?.rawSql ? [{ sql: expand(target.rawSql, window, variables), color: iconColor ?? 'red' }] : [],
    );
}

/** Columns `time`, and if they are there `timeEnd`, `text` and `tags`. Rows without a time are left out. */
export function readMarks(answer: Answer, color: string): Mark[] {
  const frame = toFrame(answer, 'Anno');
  const column = (name: string): unknown[] => frame.fields.find((field) => field.name === name)?.values ?? [];
  const [times, ends, texts, tags] = [column('time'), column('timeEnd'), column('text'), column('tags')];
  return times.flatMap((time, row) =>
    typeof time === 'number'
      ? [
          {
            from: time,
            to: (ends[row] as number | null | undefined) ?? time,
            text: String(texts[row] ?? ''),
            tags: String(tags[row] ?? ''),
            color,
          },
        ]
      : [],
  );
}
