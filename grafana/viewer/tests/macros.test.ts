import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { expand } from '../src/query/expand';
import type { Chosen } from '../src/query/interpolate';
import type { Window } from '../src/query/macros';

/** The same cases as tests/test_grafana_macros.py. */
interface Case {
  name: string;
  sql: string;
  window: Window;
  variables: Chosen[];
  expected?: string;
  error?: string;
}

const cases = JSON.parse(
  readFileSync(new URL('../../../tests/grafana_macro_cases.json', import.meta.url), 'utf8'),
) as Case[];

test.each(cases)('$name', ({ sql, window, variables, expected, error }) => {
  if (error === undefined) expect(expand(sql, window, variables)).toBe(expected);
  else expect(() => expand(sql, window, variables)).toThrow(error);
});
