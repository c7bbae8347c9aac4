import { firstValueFrom, of } from 'rxjs';
import { expect, test } from 'vitest';
import { partitionByValues } from '../src/grafana/partition';
import { toFrame } from '../src/query/frames';

const frame = (...data: unknown[][]) =>
  toFrame(
    {
      meta: [
        { name: 'there', type: 'UInt8' },
        { name: 'Gallery', type: 'String' },
        { name: 'Photos', type: 'UInt64' },
      ],
      data,
    },
    'A',
  );
const parts = async (fields: string[], keepFields: boolean, ...data: unknown[][]) => {
  const operator = partitionByValues.operator({ fields, keepFields }, { interpolate: (text) => text });
  const frames = await firstValueFrom(of([frame(...data)]).pipe(operator));
  return frames.map((part) => [
    part.length,
    Object.fromEntries(part.fields.map((field) => [field.name, field.values])),
  ]);
};

test('rows of one value stay together, without the field that parted them', async () => {
  const rows = [
    [1, 'Gala', 5],
    [1, 'Picnic', 7],
  ];
  expect(await parts(['there'], false, ...rows)).toEqual([
    [2, { Gallery: ['Gala', 'Picnic'], Photos: [5, 7] }],
  ]);
});

test('no rows are no frame', async () => {
  expect(await parts(['there'], false)).toEqual([]);
});

test('every combination of values is a frame of its own', async () => {
  const rows = [
    [1, 'Gala', 5],
    [2, 'Gala', 6],
    [1, 'Gala', 7],
  ];
  expect(await parts(['there', 'Gallery'], true, ...rows)).toEqual([
    [2, { there: [1, 1], Gallery: ['Gala', 'Gala'], Photos: [5, 7] }],
    [1, { there: [2], Gallery: ['Gala'], Photos: [6] }],
  ]);
});

test('a frame without the field stays whole', async () => {
  expect(await parts(['elsewhere'], false, [1, 'Gala', 5])).toEqual([
    [1, { there: [1], Gallery: ['Gala'], Photos: [5] }],
  ]);
});
