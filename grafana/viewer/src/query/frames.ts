/** From ClickHouse's answers to the data frames of Grafana. */
import { FieldType, type DataFrame, type Field } from '../grafana/data';
import type { Answer, Column } from './client';

/** The type within Nullable(...) and LowCardinality(...). */
export function bareType(type: string): string {
  const inner = /^(?:Nullable|LowCardinality|SimpleAggregateFunction)\((?:\w+, )?(.*)\)$/.exec(type);
  return inner?.[1] ? bareType(inner[1]) : type;
}

function fieldType(column: Column): FieldType {
  const type = bareType(column.type);
  if (/^(U?Int|Float|Decimal)/.test(type)) return FieldType.number;
  if (type.startsWith('Date')) return FieldType.time;
  if (type === 'Bool') return FieldType.boolean;
  return FieldType.string;
}

function read(type: FieldType, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  switch (type) {
    case FieldType.number:
      return typeof value === 'number' ? value : Number(value);
    case FieldType.time:
      return Date.parse(String(value));
    case FieldType.boolean:
      return value;
    default:
      return typeof value === 'string' ? value : JSON.stringify(value);
  }
}

/** A field per column. 64-bit numbers become doubles, as in Grafana; times are milliseconds. */
export function toFrame(answer: Answer, refId: string): DataFrame {
  const fields = answer.meta.map((column, at): Field => {
    const type = fieldType(column);
    return { name: column.name, type, config: {}, values: answer.data.map((row) => read(type, row[at])) };
  });
  return { refId, fields, length: answer.data.length };
}

/**
 * A frame over time: text columns become labels, and each combination of them a field. Rows are ordered by
 * time. Missing values are null. Fields are ordered by label, then name, as Grafana's LongToWide does.
 * Throws if the rows are not in order.
 */
export function toSeries(frame: DataFrame): DataFrame {
  const time = frame.fields.find((field) => field.type === FieldType.time);
  const factors = frame.fields.filter((f) => f.type === FieldType.string || f.type === FieldType.boolean);
  const values = frame.fields.filter((f) => f.type !== FieldType.time && !factors.includes(f));
  if (!time || !factors.length || !values.length || !frame.length) return frame;

  const times: number[] = [];
  const wide = new Map<string, Field>();
  for (let row = 0; row < frame.length; row++) {
    const at = time.values[row] as number;
    const last = times.at(-1);
    if (last !== undefined && at < last) throw new Error('the rows of a time series must be ordered by time');
    if (at !== last) times.push(at);
    const labels = Object.fromEntries(factors.map((f) => [f.name, String(f.values[row] ?? '')]));
    const key = JSON.stringify(Object.values(labels));
    for (const value of values) {
      const name = `${key}\0${value.name}`;
      let field = wide.get(name);
      if (!field) wide.set(name, (field = { ...value, labels, values: [] }));
      while (field.values.length < times.length) field.values.push(null);
      field.values[times.length - 1] = value.values[row];
    }
  }
  const columns = [...wide.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, field]) => field);
  for (const field of columns) while (field.values.length < times.length) field.values.push(null);
  return { ...frame, fields: [{ ...time, values: times }, ...columns], length: times.length };
}
