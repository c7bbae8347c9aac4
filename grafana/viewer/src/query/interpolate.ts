/** How Grafana (12.4) fills variables into a query or a link, each in the format that is asked for. */
import { readArguments } from './macros';

export const ALL = '$__all';

/** A variable with what is chosen. `everything`: All is chosen, and `values` are all of its values. */
export interface Chosen {
  name: string;
  values: string[];
  texts?: string[];
  several: boolean;
  everything: boolean;
}

/** As encodeURIComponent, and also !'()* */
export function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => '%' + sign.charCodeAt(0).toString(16).toUpperCase(),
  );
}

const quoted = (quote: string, escaped: string) => (v: Chosen) =>
  v.values.map((value) => quote + value.replaceAll(quote, escaped) + quote).join(',');

type Format = (variable: Chosen) => string;

export const FORMATS: Readonly<Record<string, Format>> = {
  csv: (v) => v.values.join(','),
  raw: (v) => v.values.join(','),
  pipe: (v) => v.values.join('|'),
  glob: (v) => (v.values.length === 1 ? (v.values[0] ?? '') : `{${v.values.join(',')}}`),
  json: (v) => (v.several ? JSON.stringify(v.values) : (v.values[0] ?? '')),
  singlequote: quoted("'", "\\'"),
  doublequote: quoted('"', '\\"'),
  sqlstring: quoted("'", "''"),
  text: (v) => (v.everything ? 'All' : (v.texts ?? v.values).join(' + ')),
  queryparam: (v) =>
    (v.everything ? [ALL] : v.values).map((value) => `var-${v.name}=${encodeStrictly(value)}`).join('&'),
};

const VARIABLE =
  /\$(?<plain>\w+)|\[\[(?<square>\w+?)(?::(?<squareFormat>\w+))?\]\]|\$\{(?<braced>\w+)(?:\.(?<path>[^:}]+))?(?::(?<format>\w+))?\}/g;

/** What a name stands for: its text, or nothing if there is no such name. */
export type Lookup = (
  name: string,
  path: string | undefined,
  format: string | undefined,
) => string | undefined;

/** `$name`, `${name}`, `${name.path:format}` and `[[name:format]]` of the names that `lookup` knows. */
export function fill(text: string, lookup: Lookup): string {
  return text.replace(VARIABLE, (found: string, ...rest: unknown[]) => {
    const groups = rest.at(-1) as Record<string, string | undefined>;
    const name = groups.plain ?? groups.square ?? groups.braced ?? '';
    return lookup(name, groups.path, groups.squareFormat ?? groups.format) ?? found;
  });
}

/** The variables of a dashboard, in the format asked for. Throws on a format that nobody knows. */
export function lookupIn(variables: readonly Chosen[]): Lookup {
  return (name, path, format = 'glob') => {
    const variable = path ? undefined : variables.find((one) => one.name === name);
    if (!variable) return undefined;
    const form = Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
    if (!form) throw new Error(`variables have no format ${format}`);
    return form(variable);
  };
}

export const interpolate = (sql: string, variables: readonly Chosen[]): string =>
  fill(sql, lookupIn(variables));

/** `$__conditionalAll(condition, $name)`: the condition, or 1=1 while All is chosen. */
export function conditionalAll(sql: string, variables: readonly Chosen[]): string {
  let text = sql;
  for (;;) {
    const start = text.lastIndexOf('$__conditionalAll(');
    if (start === -1) return text;
    const { found, end } = readArguments(text, text.indexOf('(', start));
    if (found.length !== 2) return text;
    const name = /\$\{?(\w+)/.exec(found[1] ?? '')?.[1];
    const variable = variables.find((one) => one.name === name);
    const condition = variable && (variable.everything || !variable.values.length) ? '1=1' : (found[0] ?? '');
    text = text.slice(0, start) + condition + text.slice(end);
  }
}
