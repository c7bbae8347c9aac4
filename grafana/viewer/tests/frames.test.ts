import { expect, test } from 'vitest';
import { bareType, toFrame, toSeries } from '../src/query/frames';
import type { Answer } from '../src/query/client';

const answer = (columns: [string, string][], data: unknown[][]): Answer => ({
  meta: columns.map(([name, type]) => ({ name, type })),
  data,
});

test.each([
  ['UInt64', 'UInt64'],
  ['Nullable(Float64)', 'Float64'],
  ['LowCardinality(Nullable(String))', 'String'],
  ["SimpleAggregateFunction(max, DateTime64(3, 'UTC'))", "DateTime64(3, 'UTC')"],
  ['Nullable(Decimal(18, 2))', 'Decimal(18, 2)'],
])('%s is a %s', (type, expected) => {
  expect(bareType(type)).toBe(expected);
});

test('columns become fields: numbers also from text, times in milliseconds, nulls stay', () => {
  const frame = toFrame(
    answer(
      [
        ['n', 'UInt64'],
        ['fee', 'Nullable(Decimal(18, 2))'],
        ['at', "DateTime64(3, 'UTC')"],
        ['day', 'Date'],
        ['ok', 'Bool'],
        ['name', 'LowCardinality(String)'],
        ['tags', 'Map(String, UInt8)'],
      ],
      [
        ['18446744073709551615', 12.5, '2026-06-12T09:00:00.001Z', '2026-06-12', true, 'a', { x: 1 }],
        [7, null, '2026-06-12T09:00:00.002Z', '2026-06-13', false, '', {}],
      ],
    ),
    'A',
  );
  expect(frame.fields.map(({ type }) => type)).toEqual([
    'number',
    'number',
    'time',
    'time',
    'boolean',
    'string',
    'string',
  ]);
  expect(frame.fields.map(({ values }) => values[0])).toEqual([
    2 ** 64,
    12.5,
    Date.UTC(2026, 5, 12, 9, 0, 0, 1),
    Date.UTC(2026, 5, 12),
    true,
    'a',
    '{"x":1}',
  ]);
  expect(frame.fields[1]?.values).toEqual([12.5, null]);
  expect(frame).toMatchObject({ refId: 'A', length: 2 });
});

const long = (rows: unknown[][]) =>
  toFrame(
    answer(
      [
        ['time', 'DateTime'],
        ['type', 'String'],
        ['events', 'UInt64'],
      ],
      rows,
    ),
    'A',
  );

test('text columns of a series become labels, ordered by them; what is missing is null', () => {
  const wide = toSeries(
    long([
      ['2026-06-12T09:00:00Z', 'b', 1],
      ['2026-06-12T09:00:00Z', 'a', 2],
      ['2026-06-12T09:01:00Z', 'c', 3],
      ['2026-06-12T09:02:00Z', 'a', 4],
    ]),
  );
  expect(wide.length).toBe(3);
  expect(wide.fields.map(({ name, labels, values }) => [name, labels, values.slice()])).toEqual([
    ['time', undefined, [0, 1, 2].map((minute) => Date.UTC(2026, 5, 12, 9, minute))],
    ['events', { type: 'a' }, [2, null, 4]],
    ['events', { type: 'b' }, [1, null, null]],
    ['events', { type: 'c' }, [null, 3, null]],
  ]);
});

test('a series without text columns stays as it is, and so does an empty one', () => {
  const frame = toFrame(answer([['time', 'DateTime'], ['n', 'UInt8']], [['2026-06-12T09:00:00Z', 1]]), 'A'); // prettier-ignore
  expect(toSeries(frame)).toBe(frame);
  expect(toSeries(long([])).length).toBe(0);
});

test('a series whose rows are not in order is an error', () => {
  const rows = [
    ['2026-06-12T09:01:00Z', 'a', 1],
    ['2026-06-12T09:00:00Z', 'a', 2],
  ];
  expect(() => toSeries(long(rows))).toThrow('ordered by time');
});
