import { useEffect, useState } from 'react';
import { useDashboard, useSnapshot } from '../page/context';
import { SpaLink } from '../page/SpaLink';
import { getJson } from '../query/client';
import { optionsOf, type PanelProps } from './props';

/** What GET /api/alerts gives: a rule, or an instance of one. */
export interface Alert {
  name: string;
  state: 'firing' | 'pending' | 'normal' | 'no data' | 'error';
  summary?: string;
  since?: string;
  url?: string;
}

const STATE: Readonly<Record<Alert['state'], string>> = {
  firing: 'firing',
  pending: 'pending',
  normal: 'normal',
  'no data': 'noData',
  error: 'error',
};
const DEFAULTS = {
  maxItems: 20,
  stateFilter: { firing: true, pending: false, normal: false, noData: false, error: true } as Record<
    string,
    boolean
  >,
};

/** The alerts that fire; a sentence where nobody evaluates any. */
export default function AlertList({ panel }: PanelProps) {
  const { session } = useDashboard();
  const { round } = useSnapshot(session);
  const options = optionsOf(panel, DEFAULTS);
  const alerts = useAlerts(round);
  if (alerts === undefined) return <p className="empty">Loading …</p>;
  if (alerts === null)
    return <p className="empty">Alerts are evaluated by Grafana, which does not run here.</p>;
  const shown = alerts.filter((alert) => options.stateFilter[STATE[alert.state]]).slice(0, options.maxItems);
  if (!shown.length) return <p className="empty">No alert fires</p>;
  return (
    <ul className="alerts">
      {shown.map((alert) => (
        <li key={`${alert.name} ${alert.since ?? ''} ${alert.url ?? ''}`} data-state={alert.state}>
          <strong>{alert.url ? <SpaLink href={alert.url}>{alert.name}</SpaLink> : alert.name}</strong>{' '}
          <em>{alert.state}</em>
          {alert.summary && <p>{alert.summary}</p>}
        </li>
      ))}
    </ul>
  );
}

/** Undefined: not known yet; null: there are none here. */
function useAlerts(when: unknown): Alert[] | null | undefined {
  const [alerts, setAlerts] = useState<Alert[] | null>();
  useEffect(() => {
    if (!when) return undefined;
    const controller = new AbortController();
    const load = async (): Promise<Alert[] | null> => {
      const features = await getJson<{ alerts?: boolean }>('/api/features', controller.signal);
      return features.alerts ? getJson<Alert[]>('/api/alerts', controller.signal) : null;
    };
    load().then(setAlerts, () => {
      if (!controller.signal.aborted) setAlerts(null);
    });
    return () => controller.abort();
  }, [when]);
  return alerts;
}
