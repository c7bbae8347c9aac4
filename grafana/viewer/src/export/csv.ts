import { FieldType, getFieldDisplayName, type DataFrame, type Field } from '../grafana/data';
import { isHidden } from '../panels/props';

/** Columns that only links need are left out. A frame per block, blocks apart by an empty line: exact numbers, times in UTC as ISO 8601, RFC 4180 quotes. */
export function csvOf(data: DataFrame[]): string {
  return data
    .filter((frame) => frame.fields.length)
    .map((frame) => {
      const fields = frame.fields.filter((field) => !isHidden(field));
      const head = fields.map((field) => quoted(guarded(getFieldDisplayName(field, frame, data))));
      const rows = Array.from({ length: frame.length }, (_, row) => fields.map((field) => cell(field, row)));
      return [head, ...rows].map((cells) => cells.join(',') + '\r\n').join('');
    })
    .join('\r\n');
}

function cell(field: Field, row: number): string {
  const value: unknown = field.values[row];
  if (value === null || value === undefined) return '';
  if (field.type === FieldType.time) return new Date(value as number).toISOString();
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return quoted(guarded(typeof value === 'string' ? value : JSON.stringify(value)));
}

const quoted = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** Names come from strangers, and spreadsheets run what begins like a formula: an apostrophe keeps it text. */
const guarded = (text: string): string => (/^[=+\-@\t\r].*[^\d\s.,%+-]/s.test(text) ? `'${text}` : text);
