import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Dashboard, Panel } from '../src/model';
import { QueryError, Round } from '../src/query/client';
import { annotationQueries, readMarks } from '../src/session/annotations';
import { asked, prepared } from '../src/session/panel';
import { readPlace, type Place } from '../src/session/location';
import { Session } from '../src/session/session';

/** A server that answers a query with its own text, errors to those with `fail`, and never to those with `slow`. */
let server: Server;
let base: string;
let sent: string[];
let dropped: number;

const body = async (request: IncomingMessage): Promise<string> => {
  let text = '';
  for await (const part of request) text += String(part);
  return text;
};

beforeEach(async () => {
  sent = [];
  dropped = 0;
  server = createServer((request, response) => {
    void body(request).then((text) => {
      const { sql } = JSON.parse(text) as { sql: string };
      sent.push(sql);
      response.on('close', () => {
        if (!response.writableEnded) dropped++;
      });
      if (sql.includes('slow')) return;
      const failed = sql.includes('fail');
      const found = sql.includes('galleries') ? [['a', 'A'], ['b', 'B']] : [[sql, sql]]; // prettier-ignore
      const meta = ['value', 'text'].map((name) => ({ name, type: 'String' }));
      response.writeHead(failed ? 400 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(failed ? { error: 'Unknown table', code: 60 } : { meta, data: found }));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
});

const fetcher: typeof fetch = (path, init) => fetch(`${base}${String(path)}`, init);

test('equal queries of a round are sent once', async () => {
  const round = new Round(fetcher);
  const answers = await Promise.all(['SELECT 1', 'SELECT 1', 'SELECT 2'].map((sql) => round.ask(sql)));
  expect(sent.sort()).toEqual(['SELECT 1', 'SELECT 2']);
  expect(answers[0]).toBe(answers[1]);
  await new Round(fetcher).ask('SELECT 1');
  expect(sent.length).toBe(3);
});

test('a cancelled round breaks its queries off', async () => {
  const round = new Round(fetcher);
  const answer = round.ask('SELECT slow');
  await vi.waitFor(() => expect(sent.length).toBe(1));
  round.cancel();
  await expect(answer).rejects.toThrow(/abort/i);
  await vi.waitFor(() => expect(dropped).toBe(1));
});

test('an error of the database tells its text and code; a server that is gone says so', async () => {
  const error = await new Round(fetcher).ask('SELECT fail').catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(QueryError);
  expect(error).toMatchObject({ message: 'Unknown table', code: 60 });
  const gone = new Round(() => Promise.reject(new TypeError('fetch failed')));
  await expect(gone.ask('SELECT 1')).rejects.toThrow('The server does not answer');
});

const query = (rawSql: string) => ({ rawSql });
const panel: Panel = {
  id: 1,
  type: 'table',
  title: 'One',
  gridPos: { x: 0, y: 0, w: 12, h: 8 },
  targets: [{ refId: 'A', rawSql: 'SELECT [${gallery:singlequote}], $__interval_s' }],
};
const shared: Panel = { ...panel, id: 2, targets: [{ refId: 'A', panelId: 1 }] };
const dashboard: Dashboard = {
  uid: 'd',
  title: 'D',
  time: { from: '0', to: '3600000' },
  refresh: '10s',
  panels: [panel, shared],
  templating: {
    list: [
      { name: 'gallery', type: 'query', query: query('SELECT galleries'), multi: true, includeAll: true },
      { name: 'one', type: 'query', query: query('SELECT ${gallery:csv}') },
    ],
  },
  annotations: {
    list: [
      { name: 'here', enable: true, iconColor: 'blue', filter: { ids: [1] }, target: query('SELECT 1') },
      { name: 'elsewhere', enable: true, filter: { ids: [1], exclude: true }, target: query('SELECT 2') },
      { name: 'off', enable: false, target: query('SELECT 3') },
    ],
  },
};

function opened(address = '/d/d'): { session: Session; places: Omit<Place, 'uid'>[] } {
  const places: Omit<Place, 'uid'>[] = [];
  const place = readPlace(new URL(address, base));
  const session = new Session(dashboard, place, { onPlace: (now) => places.push(now), fetcher });
  session.start();
  return { session, places };
}

const ready = (session: Session) => vi.waitFor(() => expect(session.snapshot.round).toBeDefined());

test('variables are known before panels ask, those that name others after these', async () => {
  const { session, places } = opened();
  expect(session.snapshot.round).toBeUndefined();
  await ready(session);
  expect(sent).toEqual(['SELECT galleries', 'SELECT a,b']);
  expect(session.snapshot.chosen.map(({ values }) => values)).toEqual([['a', 'b'], ['SELECT a,b']]);
  expect(places.at(-1)).toMatchObject({
    range: { from: '0', to: '3600000' },
    refresh: '10s',
    variables: { gallery: ['$__all'] },
  });
  session.close();
});

test('a choice cancels the round, is kept in the address, and reaches the queries', async () => {
  const { session, places } = opened('/d/d?var-gallery=b&from=1000&to=2000');
  await ready(session);
  const before = session.snapshot.round;
  session.select('gallery', ['a']);
  expect(before?.cancelled).toBe(true);
  expect(session.snapshot.round).toBeUndefined();
  await ready(session);
  expect(places.at(-1)?.variables).toMatchObject({ gallery: ['a'], one: ['SELECT a'] });
  const { range, chosen } = session.snapshot;
  const [first] = prepared(panel, dashboard.panels, { ...range, variables: chosen, page: 1200 });
  expect(range).toEqual({ from: 1000, to: 2000 });
  expect(first?.sql).toBe("SELECT ['a'], 1");
  session.close();
});

test('a refresh asks again at once, with the variables as they are', async () => {
  const { session } = opened();
  await ready(session);
  const before = session.snapshot.round;
  session.refreshNow();
  expect(session.snapshot.round).not.toBe(before);
  expect(session.snapshot.round).toBeDefined();
  session.close();
});

test('a panel that shows the answer of another one asks the same, so nothing is sent twice', async () => {
  const { session } = opened();
  await ready(session);
  sent = [];
  const { range, chosen, round } = session.snapshot;
  if (!round) throw new Error('no round');
  const scope = { ...range, variables: chosen, page: 1200 };
  await Promise.all(dashboard.panels.map((one) => asked(prepared(one, dashboard.panels, scope), round)));
  expect(sent).toEqual(["SELECT ['a','b'], 5"]);
  expect(() => prepared({ ...shared, targets: [{ refId: 'A', panelId: 9 }] }, [], scope)).toThrow(
    'no panel 9',
  );
  session.close();
});

test('annotations belong to their panels', () => {
  const queries = (one: Panel) =>
    annotationQueries(dashboard, one, { from: 0, to: 1 }, []).map(({ sql }) => sql);
  expect(queries(panel)).toEqual(['SELECT 1']);
  expect(queries(shared)).toEqual(['SELECT 2']);
  const meta = ['time', 'timeEnd', 'text'].map((name) => ({
    name,
    type: name === 'text' ? 'String' : 'DateTime',
  }));
  const data = [['1970-01-01T00:00:01Z', '1970-01-01T00:00:02Z', 'x'], ['1970-01-01T00:00:03Z', null, 'y'], [null, null, 'z']]; // prettier-ignore
  expect(readMarks({ meta, data }, 'red').map(({ from, to, text }) => [from, to, text])).toEqual([
    [1000, 2000, 'x'],
    [3000, 3000, 'y'],
  ]);
});
