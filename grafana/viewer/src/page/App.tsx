import { useCallback, useEffect, useState } from 'react';
import type { Dashboard } from '../model';
import { getJson } from '../query/client';
import { readPlace, writePlace } from '../session/location';
import { Session } from '../session/session';
import { preload } from '../panels';
import { DashboardPage } from './DashboardPage';
import { sectionsOf } from './sections';
import { loadEntries } from './useEntries';

const here = (): URL => new URL(location.href);

/** The page: which dashboard the address names, or the first that there is. */
export function App() {
  const [uid, setUid] = useState(() => readPlace(here()).uid);
  const [session, setSession] = useState<Session>();
  const [error, setError] = useState<Error>();

  const navigate = useCallback(
    (url: string) => {
      history.pushState(null, '', url);
      const place = readPlace(here());
      if (place.uid === uid) session?.goTo(place);
      else setUid(place.uid);
      scrollTo({ top: 0 });
    },
    [session, uid],
  );

  useEffect(() => {
    const back = (): void => {
      const place = readPlace(here());
      if (place.uid === uid) session?.goTo(place);
      else setUid(place.uid);
    };
    addEventListener('popstate', back);
    return () => removeEventListener('popstate', back);
  }, [session, uid]);

  useEffect(() => {
    let opened: Session | undefined;
    const controller = new AbortController();
    open(uid, controller.signal).then(
      (found) => {
        if (controller.signal.aborted) return;
        if (typeof found === 'string') {
          setUid(found);
          return;
        }
        preload(sectionsOf(found.panels).flatMap((section) => section.panels.map((panel) => panel.type)));
        opened = sessionOf(found);
        opened.start();
        document.title = `${found.title} · Gallery Analytics`;
        setError(undefined);
        setSession(opened);
      },
      (reason: Error) => !controller.signal.aborted && setError(reason),
    );
    return () => {
      controller.abort();
      opened?.close();
    };
  }, [uid]);

  if (error) return <Failure error={error} uid={uid} />;
  if (!session) return <p className="first-paint">Loading …</p>;
  return <DashboardPage key={session.dashboard.uid} session={session} navigate={navigate} />;
}

/** The dashboard, or the name of the one to open. */
async function open(uid: string | undefined, signal: AbortSignal): Promise<Dashboard | string> {
  if (uid !== undefined) return getJson<Dashboard>(`/api/dashboards/${encodeURIComponent(uid)}`, signal);
  const entries = await loadEntries();
  const first = entries.find((entry) => entry.uid === 'gallery') ?? entries[0];
  if (!first) throw new Error('The server has no dashboards.');
  return first.uid;
}

function sessionOf(dashboard: Dashboard): Session {
  return new Session(dashboard, readPlace(here()), {
    onPlace: (place, push) => {
      const url = writePlace(here(), { ...place, uid: dashboard.uid });
      if (url === location.pathname + location.search) return;
      if (push) history.pushState(null, '', url);
      else history.replaceState(null, '', url);
    },
  });
}

function Failure({ error, uid }: { error: Error; uid: string | undefined }) {
  return (
    <main className="failure" role="alert">
      <h1>{uid === undefined ? 'No dashboard' : `The dashboard ${uid} cannot be shown`}</h1>
      <p>{error.message}</p>
      <p>
        <a href="/">To the first dashboard</a>
      </p>
    </main>
  );
}
