/** What every part of an open dashboard shares. */
import { createContext, useContext, useSyncExternalStore } from 'react';
import type { DataFrame, TimeRange } from '../grafana';
import type { Dashboard } from '../model';
import type { Prepared } from '../session/panel';
import type { Session, Snapshot } from '../session/session';

/** What a panel shows. Kept while the next answer is on its way. */
export interface PanelState {
  loading: boolean;
  /** Undefined until there was a first answer. */
  data: DataFrame[] | undefined;
  /** The range that `data` was asked for. */
  range: TimeRange | undefined;
  queries: readonly Prepared[];
  error: Error | undefined;
}

export interface OpenDashboard {
  dashboard: Dashboard;
  session: Session;
  timeZone: string;
  /** Width of the page in pixels. */
  width: number;
  /** Panels below the fold ask, too. */
  everything: boolean;
  /** What the panels show now, by id; for inspection and export. */
  states: Map<number, PanelState>;
  inspect: (panel: number) => void;
  navigate: (url: string) => void;
  showEverything: () => void;
}

const Context = createContext<OpenDashboard | undefined>(undefined);
export const OpenDashboardProvider = Context.Provider;

/** To be used within a dashboard. */
export function useDashboard(): OpenDashboard {
  const open = useContext(Context);
  if (!open) throw new Error('there is no dashboard around this part');
  return open;
}

export function useSnapshot(session: Session): Snapshot {
  return useSyncExternalStore(session.subscribe, session.getSnapshot);
}
