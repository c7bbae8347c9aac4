import { useMemo, useState } from 'react';
import { SeriesVisibilityChangeMode, getFieldDisplayName, usePanelContext, type DataFrame } from '../grafana';

/**
 * Lines that a click on the legend hides: alone it shows this one only, or all again; with Ctrl or Shift it hides
 * or shows this one. Gives the frames with what is hidden marked, and the context for the legend.
 */
export function useVisibility(data: DataFrame[]) {
  const outer = usePanelContext();
  const [only, setOnly] = useState<ReadonlySet<string>>();
  const frames = useMemo(() => (only ? data.map((frame) => marked(frame, data, only)) : data), [data, only]);
  const context = useMemo(
    () => ({
      ...outer,
      onToggleSeriesVisibility: (label: string | string[] | null, mode: SeriesVisibilityChangeMode) => {
        const name = Array.isArray(label) ? label[0] : label;
        if (name) setOnly((before) => next(before, name, mode, namesOf(data)));
      },
    }),
    [outer, data],
  );
  return { frames, context };
}

const namesOf = (data: DataFrame[]): string[] =>
  data.flatMap((frame) => frame.fields.slice(1).map((field) => getFieldDisplayName(field, frame, data)));

/** Which lines are shown after a click on one; undefined: all. */
export function next(
  before: ReadonlySet<string> | undefined,
  name: string,
  mode: SeriesVisibilityChangeMode,
  all: readonly string[],
): ReadonlySet<string> | undefined {
  if (mode !== SeriesVisibilityChangeMode.AppendToSelection)
    return before?.size === 1 && before.has(name) ? undefined : new Set([name]);
  const shown = new Set(before ?? all);
  if (!shown.delete(name)) shown.add(name);
  return all.every((one) => shown.has(one)) ? undefined : shown;
}

function marked(frame: DataFrame, data: DataFrame[], only: ReadonlySet<string>): DataFrame {
  const fields = frame.fields.map((field, at) => {
    if (at === 0 || only.has(getFieldDisplayName(field, frame, data))) return field;
    const custom = {
      ...(field.config.custom as object),
      hideFrom: { viz: true, legend: false, tooltip: true },
    };
    return { ...field, config: { ...field.config, custom } };
  });
  return { ...frame, fields };
}
