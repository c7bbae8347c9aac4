import { Suspense, lazy, useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { NARROW } from '../session/interval';
import type { Session } from '../session/session';
import { OpenDashboardProvider, useSnapshot, type OpenDashboard, type PanelState } from './context';
import { Grid } from './Grid';
import { Toolbar } from './Toolbar';
import { useSize } from './useSize';
import { Variables } from './Variables';

const Inspect = lazy(() => import('./Inspect'));

interface Props {
  session: Session;
  navigate: (url: string) => void;
}

/** A dashboard with its toolbar. */
export function DashboardPage({ session, navigate }: Props) {
  const { dashboard } = session;
  const { error, timeZone } = useSnapshot(session);
  const page = useRef<HTMLElement>(null);
  const width = useSteadyWidth(useSize(page).width);
  const states = useRef(new Map<number, PanelState>()).current;
  const [inspected, setInspected] = useState<number>();
  const [everything, setEverything] = useState(false);
  const inspect = useCallback((panel: number) => setInspected(panel), []);
  const open = useMemo(
    (): OpenDashboard => ({
      dashboard,
      session,
      timeZone,
      width,
      everything,
      states,
      inspect,
      navigate,
      showEverything: () => setEverything(true),
    }),
    [dashboard, session, timeZone, width, everything, states, inspect, navigate],
  );
  return (
    <OpenDashboardProvider value={open}>
      <a className="skip" href="#panels">
        To the panels
      </a>
      <header className="head">
        <h1 title={dashboard.description}>{dashboard.title}</h1>
        <Toolbar />
        <Variables />
      </header>
      {error && (
        <p className="banner" role="alert">
          {error.message}{' '}
          <button type="button" className="plain" onClick={() => session.refreshNow()}>
            Try again
          </button>
        </p>
      )}
      <main id="panels" ref={page} tabIndex={-1}>
        {width > 0 && <Grid />}
      </main>
      {inspected !== undefined && (
        <Suspense fallback={null}>
          <Inspect panel={inspected} onClose={() => setInspected(undefined)} />
        </Suspense>
      )}
    </OpenDashboardProvider>
  );
}

/** The width that queries are made for: follows the page a moment later, so that resizing asks once. */
function useSteadyWidth(width: number): number {
  const [steady, setSteady] = useState(0);
  const first = steady === 0 || steady < NARROW !== width < NARROW;
  useEffect(() => {
    const timer = setTimeout(() => setSteady(width), first ? 0 : 400);
    return () => clearTimeout(timer);
  }, [width, first]);
  return steady || width;
}
