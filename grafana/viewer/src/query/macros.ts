/**
 * What Grafana's ClickHouse data source (4.20) makes of a query before the database sees it.
 *
 * `tests/grafana_macros.py` is the same in Python; both are held by `tests/grafana_macro_cases.json`.
 */

/** The range that is asked for, in milliseconds: both ends belong to it. `interval`: seconds between points. */
export interface Window {
  from: number;
  to: number;
  interval: number;
}

const seconds = (milliseconds: number): string => `toDateTime(${Math.floor(milliseconds / 1000)})`;
const exact = (milliseconds: number): string => `fromUnixTimestamp64Milli(${milliseconds})`;
const date = (milliseconds: number): string =>
  `toDate('${new Date(milliseconds).toISOString().slice(0, 10)}')`;
const between = (column: string, low: string, high: string): string =>
  `${column} >= ${low} AND ${column} <= ${high}`;
const step = (window: Window): number => Math.max(Math.floor(window.interval), 1);

type Macro = (window: Window, column: string) => string;

export const MACROS: Readonly<Record<string, Macro>> = {
  fromTime: (w) => seconds(w.from),
  toTime: (w) => seconds(w.to),
  fromTime_ms: (w) => exact(w.from),
  toTime_ms: (w) => exact(w.to),
  timeFilter: (w, c) => between(c, seconds(w.from), seconds(w.to)),
  timeFilter_ms: (w, c) => between(c, exact(w.from), exact(w.to)),
  dateFilter: (w, c) => between(c, date(w.from), date(w.to)),
  timeInterval: (w, c) => `toStartOfInterval(toDateTime(${c}), INTERVAL ${step(w)} second)`,
  timeInterval_ms: (w, c) =>
    `toStartOfInterval(toDateTime64(${c}, 3), INTERVAL ${step(w) * 1000} millisecond)`,
  interval_s: (w) => String(step(w)),
};

/** Without comments, and with the macros expanded, nested ones from the inside. Throws on one it does not know. */
export function expandMacros(sql: string, window: Window): string {
  let text = withoutComments(sql);
  for (;;) {
    // An argument stands to the right of the macro that it belongs to: the last one is the innermost.
    const innermost = [...text.matchAll(/\$__(\w+)/g)].at(-1);
    if (!innermost) return text;
    const name = innermost[1] ?? '';
    const macro = Object.hasOwn(MACROS, name) ? MACROS[name] : undefined;
    if (!macro) throw new Error(`the data source knows no macro ${innermost[0]}`);
    let end = innermost.index + innermost[0].length;
    let column = '';
    if (text[end] === '(') {
      const brackets = readArguments(text, end);
      column = brackets.found[0] ?? '';
      end = brackets.end;
    }
    text = text.slice(0, innermost.index) + macro(window, column) + text.slice(end);
  }
}

/** Spaces for comments; what looks like one within quotes stays. */
export function withoutComments(sql: string): string {
  const pattern = /('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)|(--[^\n]*|\/\*.*?\*\/)/gs;
  return sql.replace(
    pattern,
    (_, quoted?: string, comment?: string) => quoted ?? ' '.repeat(comment?.length ?? 0),
  );
}

/** The arguments in the brackets that open at `opening`, and the place behind these. */
export function readArguments(sql: string, opening: number): { found: string[]; end: number } {
  const found: string[] = [];
  let depth = 0;
  let start = opening + 1;
  for (let at = opening; at < sql.length; at++) {
    if (sql[at] === '(') depth++;
    if (sql[at] === ')') depth--;
    if (depth === 1 && sql[at] === ',') {
      found.push(sql.slice(start, at).trim());
      start = at + 1;
    }
    if (depth === 0) {
      const last = sql.slice(start, at).trim();
      return { found: found.length || last ? [...found, last] : [], end: at + 1 };
    }
  }
  throw new Error(`a bracket is not closed: ${sql.slice(opening)}`);
}
