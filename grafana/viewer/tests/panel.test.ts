import { expect, test, vi } from 'vitest';
import { createTheme, formattedValueToString, standardTransformers } from '../src/grafana/data';
import { standardTransformersRegistry, type TransformerRegistryItem } from '../src/grafana/data';
import { csvOf } from '../src/export/csv';
import { fileName } from '../src/export/save';
import type { Panel } from '../src/model';
import { ticks } from '../src/panels/ticks';
import { toFrame } from '../src/query/frames';
import { shaped } from '../src/session/panel';

standardTransformersRegistry.setInit(() =>
  [standardTransformers.filterFieldsByNameTransformer].map(
    (info) =>
      ({ ...info, transformation: () => Promise.resolve(info) }) as unknown as TransformerRegistryItem,
  ),
);

// What the libraries look for in a browser.
vi.stubGlobal('window', globalThis);
vi.stubGlobal('navigator', { language: 'en-US', languages: ['en-US'] });

const THEME = createTheme();
const frame = () =>
  toFrame(
    {
      meta: [
        { name: 'Name', type: 'String' },
        { name: 'Photos', type: 'UInt64' },
        { name: 'Rate', type: 'Nullable(Float64)' },
        { name: 'id', type: 'String' },
      ],
      data: [
        ['=SUM(A1)', 12345, 0.6637, 'a'],
        ['a "b", c', 5, null, 'b'],
      ],
    },
    'A',
  );
const panel = (more: Partial<Panel>): Panel => ({
  id: 1,
  type: 'table',
  title: 'T',
  gridPos: { x: 0, y: 0, w: 1, h: 1 },
  ...more,
});
const draw = (one: Panel) => shaped(one, [frame()], THEME, (text) => text ?? '', 'utc');

test('units, names, thresholds, mappings and links of the JSON reach the fields', async () => {
  const [shown] = await draw(
    panel({
      fieldConfig: {
        defaults: { unit: 'locale', noValue: 'none' },
        overrides: [
          {
            matcher: { id: 'byName', options: 'Rate' },
            properties: [
              { id: 'unit', value: 'percentunit' },
              { id: 'decimals', value: 0 },
              { id: 'noValue', value: '-' },
              { id: 'displayName', value: 'Match rate' },
              { id: 'color', value: { mode: 'thresholds' } },
              { id: 'thresholds', value: { mode: 'absolute', steps: [{ value: null, color: '#ff0000' }, { value: 0.5, color: '#00ff00' }] } }, // prettier-ignore
            ],
          },
          { matcher: { id: 'byName', options: 'id' }, properties: [{ id: 'custom.hidden', value: true }] },
        ],
      },
    }),
  );
  const [name, photos, rate, id] = shown?.fields ?? [];
  const text = (field: typeof name, row: number) =>
    formattedValueToString(field!.display!(field!.values[row])); // eslint-disable-line @typescript-eslint/no-non-null-assertion
  expect([text(photos, 0), text(rate, 0), text(rate, 1), text(name, 1)]).toEqual([
    '12,345',
    '66%',
    '-',
    'a "b", c',
  ]);
  expect(rate?.state?.displayName).toBe('Match rate');
  expect(rate?.display?.(0.4).color).toBe('#ff0000');
  expect(rate?.display?.(0.5).color).toBe('#00ff00');
  expect(id?.config.custom).toMatchObject({ hidden: true });
});

test('a bar ends at the greatest value of its own field where the JSON says so, else of all', async () => {
  const greatest = async (own: boolean) => {
    const properties = [
      { id: 'min', value: 0 },
      { id: 'fieldMinMax', value: own },
    ];
    const overrides = [{ matcher: { id: 'byName', options: 'Rate' }, properties }];
    const [shown] = await draw(panel({ fieldConfig: { defaults: {}, overrides } }));
    return shown?.fields[2]?.state?.range;
  };
  expect(await greatest(true)).toMatchObject({ min: 0, max: 0.6637 });
  expect(await greatest(false)).toMatchObject({ min: 0, max: 12345 });
});

test('transformations keep the fields that they name', async () => {
  const include = { names: ['Photos'] };
  const [shown] = await draw(
    panel({ transformations: [{ id: 'filterFieldsByName', options: { include } }] }),
  );
  expect(shown?.fields.map(({ name }) => name)).toEqual(['Photos']);
});

test('CSV: exact numbers, quotes, nothing that a spreadsheet would run, no columns that only links need', async () => {
  const hidden = {
    matcher: { id: 'byName', options: 'id' },
    properties: [{ id: 'custom.hidden', value: true }],
  };
  const data = await draw(panel({ fieldConfig: { defaults: { unit: 'locale' }, overrides: [hidden] } }));
  expect(csvOf(data)).toBe('Name,Photos,Rate\r\n\'=SUM(A1),12345,0.6637\r\n"a ""b"", c",5,\r\n');
  const times = toFrame({ meta: [{ name: 't', type: 'DateTime' }], data: [['2026-06-12T09:00:00Z']] }, 'A');
  expect(csvOf([times, times])).toBe(
    't\r\n2026-06-12T09:00:00.000Z\r\n\r\nt\r\n2026-06-12T09:00:00.000Z\r\n',
  );
  const signs = ['-', '-5 %', '> 50', '+1', '@x', '-x'];
  const words = toFrame({ meta: [{ name: 'w', type: 'String' }], data: signs.map((sign) => [sign]) }, 'A');
  expect(csvOf([words]).split('\r\n').slice(1, -1)).toEqual(['-', '-5 %', '> 50', '+1', "'@x", "'-x"]);
});

test('file names are plain', () => {
  expect(fileName('Kafka to table, 95 %')).toBe('kafka-to-table-95');
  expect(fileName('Über Ärger')).toBe('uber-arger');
  expect(fileName('…')).toBe('panel');
});

test('ticks of an axis are round', () => {
  expect(ticks(0, 787, 4)).toEqual([0, 200, 400, 600]);
  expect(ticks(0, 1, 4)).toEqual([0, 0.5, 1]);
  expect(ticks(-10, 10, 4)).toEqual([-10, -5, 0, 5, 10]);
});
