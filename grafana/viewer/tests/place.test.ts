import { expect, test } from 'vitest';
import { FieldType, type Field } from '../src/grafana/data';
import { intervalOf, panelWidth } from '../src/session/interval';
import { readPlace, writePlace } from '../src/session/location';
import { fromPicker, forPicker, moved, resolve, zoomedOut } from '../src/session/range';
import { replacer } from '../src/session/text';
import type { Panel } from '../src/model';

const url = (text: string): URL => new URL(text, 'http://gallery.example');

test('the address keeps dashboard, range, variables, refresh and zone, with what else is there', () => {
  const text =
    '/d/gallery?from=now-7d&to=now&var-gallery=a%2Fb&var-gallery=it%27s&refresh=&timezone=utc&kiosk=1';
  const place = readPlace(url(text));
  expect(place).toEqual({
    uid: 'gallery',
    range: { from: 'now-7d', to: 'now' },
    refresh: '',
    timeZone: 'utc',
    variables: { gallery: ['a/b', "it's"] },
  });
  expect(readPlace(url(writePlace(url(text), place)))).toEqual(place);
  expect(url(writePlace(url(text), place)).searchParams.get('kiosk')).toBe('1');
  expect(readPlace(url('/'))).toMatchObject({ uid: undefined, range: undefined, refresh: undefined });
  expect(readPlace(url('/d/gallery-compare/some-title')).uid).toBe('gallery-compare');
});

test('a range: milliseconds as they are, relative ones from now, whole days by the zone', () => {
  expect(resolve({ from: '1781222400000', to: '1781225999999' }, 'utc')).toEqual({
    from: 1781222400000,
    to: 1781225999999,
  });
  const week = resolve({ from: 'now-7d', to: 'now' }, 'utc');
  expect(Math.abs(week.to - Date.now())).toBeLessThan(5000);
  expect(Math.abs(week.to - week.from - 7 * 864e5)).toBeLessThan(5000);
  const day = resolve({ from: 'now/d', to: 'now/d' }, 'utc');
  expect(day.from % 864e5).toBe(0);
  expect(day.to - day.from).toBe(864e5 - 1);
  const zoned = resolve({ from: 'now/d', to: 'now/d' }, 'Asia/Kolkata');
  expect(zoned.from % 864e5).toBe(864e5 - 5.5 * 36e5);
});

test('a range that nobody can read, or that ends before it begins, is the last six hours', () => {
  for (const raw of [
    { from: 'yesterday', to: 'now' },
    { from: '2', to: '1' },
  ]) {
    const { from, to } = resolve(raw, 'utc');
    expect(Math.abs(to - from - 6 * 36e5)).toBeLessThan(5000);
  }
});

test('what the picker is given it gives back', () => {
  const relative = { from: 'now-7d', to: 'now' };
  expect(fromPicker(forPicker(relative, resolve(relative, 'utc')))).toEqual(relative);
  const exact = { from: '1781222400000', to: '1781225999999' };
  expect(fromPicker(forPicker(exact, resolve(exact, 'utc')))).toEqual(exact);
});

test('moving by half a range, zooming out to twice of it, but not into the future', () => {
  const range = { from: 1000, to: 3000 };
  expect(moved(range, 1)).toEqual({ from: '2000', to: '4000' });
  expect(moved(range, -1)).toEqual({ from: '0', to: '2000' });
  expect(zoomedOut(range, 10_000)).toEqual({ from: '0', to: '4000' });
  expect(zoomedOut(range, 3000)).toEqual({ from: '-1000', to: '3000' });
});

const panel = (w: number, interval?: string): Panel => ({
  id: 1,
  type: 'timeseries',
  title: '',
  gridPos: { x: 0, y: 0, w, h: 8 },
  ...(interval ? { interval } : {}),
});

test.each([
  // Hours, panel, page in pixels → seconds, as Grafana rounds them.
  [1, panel(12), 1200, 5],
  [6, panel(24), 1200, 20],
  [24, panel(12), 1200, 120],
  [24, panel(12, '15m'), 1200, 900],
  [24 * 20, panel(16, '15m'), 1248, 1800],
  [24 * 90, panel(16, '15m'), 390, 21600],
])('%d hours: a point every', (hours, wide, page, seconds) => {
  expect(intervalOf(wide, 0, hours * 36e5, page)).toBe(seconds);
});

test('below 768 pixels every panel is as wide as the page', () => {
  expect(panelWidth(panel(6).gridPos, 767)).toBe(767);
  expect(panelWidth(panel(6).gridPos, 1200)).toBe(292);
});

test('links: the range, all variables, the fields of a row', () => {
  const variables = [{ name: 'g', values: ['a/b'], several: true, everything: false }];
  const replace = replacer(variables, { from: 'now-7d', to: 'now' });
  expect(replace('/d/x?${g:queryparam}&${__url_time_range}')).toBe('/d/x?var-g=a%2Fb&from=now-7d&to=now');
  expect(replace('?${__all_variables}')).toBe('?var-g=a%2Fb');
  const field: Field = {
    name: 'id',
    type: FieldType.string,
    config: {},
    values: ['one', "it's & more"],
    labels: { type: 't' },
  };
  const context = { data: [], frame: { fields: [field], length: 2 }, field, rowIndex: 1 };
  const scoped = { __dataContext: { value: context } };
  expect(replace('?id=${__data.fields.id}', scoped, 'uriencode')).toBe('?id=it%27s%20%26%20more');
  expect(replace('${__field.labels.type} ${__field.name}', scoped)).toBe('t id {type="t"}');
  expect(
    replace('${__data.fields.id}', { __dataContext: { value: { ...context, rowIndex: undefined } } }),
  ).toBe('${__data.fields.id}');
});
