/** `partitionByValues`, which belongs to Grafana's own page and not to @grafana/data. */
import { map } from 'rxjs';
import { FieldMatcherID, fieldMatchers, type DataFrame, type DataTransformerInfo } from './data';

interface Options {
  fields: string[];
  keepFields?: boolean;
}

/** A frame for every combination of values of the fields, in the order of their first rows. */
export const partitionByValues: DataTransformerInfo<Options> = {
  id: 'partitionByValues',
  name: 'Partition by values',
  operator: (options) => map((frames) => frames.slice(0, 1).flatMap((frame) => parts(frame, options))),
};

function parts(frame: DataFrame, { fields, keepFields }: Options): DataFrame[] {
  const matches = fieldMatchers.get(FieldMatcherID.byNames).get({ names: fields });
  const keys = frame.fields.filter((field) => matches(field, frame, [frame]));
  if (keys.length === 0) return [frame];
  const places = new Map<string, number[]>();
  for (let row = 0; row < frame.length; row++) {
    const key = JSON.stringify(keys.map(({ values }) => values[row] as unknown));
    places.set(key, [...(places.get(key) ?? []), row]);
  }
  const kept = keepFields ? frame.fields : frame.fields.filter((field) => !keys.includes(field));
  return [...places.values()].map((rows) => ({
    ...frame,
    length: rows.length,
    fields: kept.map((field) => ({ ...field, values: rows.map((row) => field.values[row] as unknown) })),
  }));
}
