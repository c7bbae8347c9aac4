import { useEffect, useState } from 'react';
import type { DashboardEntry } from '../model';
import { getJson } from '../query/client';

let known: Promise<DashboardEntry[]> | undefined;

/** The dashboards that there are; asked for once. Raises QueryError. */
export function loadEntries(): Promise<DashboardEntry[]> {
  known ??= getJson<DashboardEntry[]>('/api/dashboards').catch((error: unknown) => {
    known = undefined;
    throw error;
  });
  return known;
}

/** Empty until they are known. */
export function useEntries(): DashboardEntry[] {
  const [entries, setEntries] = useState<DashboardEntry[]>([]);
  useEffect(() => {
    loadEntries().then(setEntries, () => undefined);
  }, []);
  return entries;
}
