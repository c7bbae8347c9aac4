import { expect, test } from 'vitest';
import type { VariableModel } from '../src/model';
import {
  chosen,
  customOptions,
  fixedOptions,
  orderOf,
  queryOptions,
  selectedAtFirst,
  valid,
} from '../src/session/variables';
import { exclusive } from '../src/session/variables';

const several: VariableModel = { name: 'g', type: 'query', multi: true, includeAll: true };
const single: VariableModel = { name: 's', type: 'query' };
const options = [
  { value: 'a', text: 'A' },
  { value: 'b', text: 'B' },
];

test('of what was selected, what can be; else All, or the first', () => {
  expect(valid(several, options, ['a', 'gone'])).toEqual(['a']);
  expect(valid(several, options, ['gone'])).toEqual(['$__all']);
  expect(valid(several, options, ['$__all', 'a'])).toEqual(['$__all']);
  expect(valid(single, options, ['b', 'a'])).toEqual(['a']);
  expect(valid(single, options, [])).toEqual(['a']);
  expect(valid(single, [], ['a'])).toEqual([]);
  expect(valid({ ...single, allowCustomValue: true }, options, ['own'])).toEqual(['own']);
  expect(valid({ name: 't', type: 'textbox' }, [], ['free'])).toEqual(['free']);
});

test('All stands for every value there is, or for its own', () => {
  const all = { model: several, options, selected: ['$__all'] };
  expect(chosen(all)).toMatchObject({ values: ['a', 'b'], everything: true, texts: ['A', 'B'] });
  expect(chosen({ ...all, model: { ...several, allValue: '.*' } }).values).toEqual(['.*']);
  expect(chosen({ ...all, selected: ['b'] })).toMatchObject({
    values: ['b'],
    everything: false,
    texts: ['B'],
  });
});

test('the address wins over the dashboard', () => {
  const model = { ...several, current: { text: ['All'], value: ['$__all'] } };
  expect(selectedAtFirst(model, ['a', 'b'])).toEqual(['a', 'b']);
  expect(selectedAtFirst(model, undefined)).toEqual(['$__all']);
  expect(selectedAtFirst({ name: 'c', type: 'constant', query: 'x' }, ['y'])).toEqual(['x']);
  expect(selectedAtFirst({ name: 't', type: 'textbox', query: 'x' }, undefined)).toEqual(['x']);
});

test('custom choices: text : value, and a comma behind a backslash', () => {
  expect(customOptions('First day : 24, 72, a\\,b : c')).toEqual([
    { text: 'First day', value: '24' },
    { text: '72', value: '72' },
    { text: 'a,b', value: 'c' },
  ]);
});

test('fixed choices by kind', () => {
  expect(fixedOptions({ name: 'i', type: 'interval', query: '1m, 5m' }).map((one) => one.value)).toEqual([
    '1m',
    '5m',
  ]);
  expect(fixedOptions({ name: 'd', type: 'datasource', current: { text: 'CH', value: 'ch' } })).toEqual([
    { text: 'CH', value: 'ch' },
  ]);
  expect(fixedOptions(several)).toEqual([]);
});

test('the first of equal values counts', () => {
  const meta = [
    { name: 'value', type: 'String' },
    { name: 'text', type: 'String' },
  ];
  expect(queryOptions({ meta, data: [['a', 'A'], ['a', 'again'], ['b', 'B']] })).toEqual(options); // prettier-ignore
  expect(queryOptions({ meta: meta.slice(0, 1), data: [['x']] })).toEqual([{ value: 'x', text: 'x' }]);
});

test('what a query names is known before it, also where variables name each other', () => {
  const names = (models: VariableModel[]) => orderOf(models).map((model) => model.name);
  const late = { name: 'late', type: 'query', query: { rawSql: 'SELECT ${early:singlequote}' } };
  const early = { name: 'early', type: 'query', query: { rawSql: 'SELECT 1' } };
  expect(names([late, early])).toEqual(['early', 'late']);
  expect(names([{ ...early, query: '$late' }, late])).toEqual(['late', 'early']);
});

test('All and others exclude each other: the newer choice counts', () => {
  expect(exclusive(['$__all'], ['$__all', 'a'])).toEqual(['a']);
  expect(exclusive(['a'], ['a', '$__all'])).toEqual(['$__all']);
  expect(exclusive(['a'], ['a', 'b'])).toEqual(['a', 'b']);
  expect(exclusive(['a'], [])).toEqual(['$__all']);
});
