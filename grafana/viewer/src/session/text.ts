/** Filling `${...}` into names and links: the dashboard's variables and what Grafana knows of a value. */
import { getFieldDisplayName, getFieldDisplayValuesProxy, type DataFrame, type Field } from '../grafana/data';
import type { InterpolateFunction, ScopedVars } from '../grafana/data';
import { encodeStrictly, fill, lookupIn, type Chosen } from '../query/interpolate';
import type { RawRange } from '../model';

interface Context {
  data?: DataFrame[];
  frame?: DataFrame;
  field?: Field;
  rowIndex?: number;
}

/** The function that Grafana's libraries ask for. What nobody knows stays as it is. */
export function replacer(variables: readonly Chosen[], raw: RawRange): InterpolateFunction {
  const known = lookupIn(variables);
  const range = `from=${encodeStrictly(raw.from)}&to=${encodeStrictly(raw.to)}`;
  const all = (): string => variables.map((one) => known(one.name, undefined, 'queryparam')).join('&');
  return (text, scoped?: ScopedVars, format?) => {
    if (!text) return text ?? '';
    const context = scoped?.__dataContext?.value as Context | undefined;
    return fill(text, (name, path, wanted) => {
      if (name === '__url_time_range') return range;
      if (name === '__all_variables') return all();
      const found = fromContext(name, path, context);
      if (found !== undefined) {
        const form = wanted ?? format;
        return form === 'percentencode' || form === 'uriencode' ? encodeStrictly(found) : found;
      }
      return known(name, path, wanted);
    });
  };
}

function fromContext(
  name: string,
  path: string | undefined,
  context: Context | undefined,
): string | undefined {
  const { field, frame, data, rowIndex } = context ?? {};
  if (!frame) return undefined;
  if (name === '__data' && path?.startsWith('fields') && rowIndex !== undefined) {
    const wanted = /^fields(?:\.(.+)|\["?(.+?)"?\])$/.exec(path);
    const key = wanted?.[1] ?? wanted?.[2];
    if (key === undefined) return undefined;
    const values = getFieldDisplayValuesProxy({ frame, rowIndex }) as Record<string, unknown>;
    return String(values[key] ?? '');
  }
  if (name === '__field' && field) {
    if (path === 'name' || path === 'displayName') return getFieldDisplayName(field, frame, data);
    if (path?.startsWith('labels.')) return field.labels?.[path.slice('labels.'.length)] ?? '';
  }
  if (name === '__series' && path === 'name') return frame.name ?? '';
  return undefined;
}
