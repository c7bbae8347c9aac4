/** What the address says: /d/<dashboard>?from=&to=&var-<name>=&refresh=, with Grafana's names. */
import type { RawRange } from '../model';

export interface Place {
  uid: string | undefined;
  range: RawRange | undefined;
  /** Undefined: as the dashboard says; empty: off. */
  refresh: string | undefined;
  /** Undefined: as the dashboard says. */
  timeZone: string | undefined;
  variables: Readonly<Record<string, string[]>>;
}

export function readPlace(url: URL): Place {
  const uid = /^\/d\/([^/]+)/.exec(url.pathname)?.[1];
  const from = url.searchParams.get('from');
  const to = url.searchParams.get('to');
  const variables: Record<string, string[]> = {};
  for (const [key, value] of url.searchParams)
    if (key.startsWith('var-')) (variables[key.slice(4)] ??= []).push(value);
  return {
    uid: uid === undefined ? undefined : decodeURIComponent(uid),
    range: from && to ? { from, to } : undefined,
    refresh: url.searchParams.get('refresh') ?? undefined,
    timeZone: url.searchParams.get('timezone') ?? undefined,
    variables,
  };
}

/** Parameters that are none of ours are kept. */
export function writePlace(url: URL, place: Place): string {
  const others = [...url.searchParams].filter(
    ([key]) => !['from', 'to', 'refresh', 'timezone'].includes(key) && !key.startsWith('var-'),
  );
  const search = new URLSearchParams();
  if (place.range) {
    search.set('from', place.range.from);
    search.set('to', place.range.to);
  }
  for (const [name, values] of Object.entries(place.variables))
    for (const value of values) search.append(`var-${name}`, value);
  if (place.refresh !== undefined) search.set('refresh', place.refresh);
  if (place.timeZone !== undefined) search.set('timezone', place.timeZone);
  for (const [key, value] of others) search.append(key, value);
  const path = place.uid === undefined ? '/' : `/d/${encodeURIComponent(place.uid)}`;
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}
