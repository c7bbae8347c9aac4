import { useEffect, useMemo, useRef, useState } from 'react';
import { useTheme2, type DataFrame } from '../grafana';
import type { Panel } from '../model';
import type { Round } from '../query/client';
import type { Chosen } from '../query/interpolate';
import { timeRange } from '../session/interval';
import { asked, prepared, shaped, type Prepared } from '../session/panel';
import { replacer } from '../session/text';
import { useDashboard, useSnapshot, type PanelState } from './context';

/** Queries that were sent: of which round, and what for. */
interface Sent {
  round: Round;
  key: string;
}

interface Answered {
  sent: Sent;
  frames: DataFrame[];
  from: number;
  to: number;
  chosen: readonly Chosen[];
  /** The frames as they came. */
  text: string;
}

/** Whether a panel would look the same with both: then it is left as it stands. */
function alike(one: Answered, other: Answered): boolean {
  return (
    one.sent.key === other.sent.key &&
    one.from === other.from &&
    one.to === other.to &&
    one.chosen === other.chosen &&
    one.text === other.text
  );
}

const WAITING: PanelState = {
  loading: false,
  data: undefined,
  range: undefined,
  queries: [],
  error: undefined,
};

/**
 * What a panel shows. It asks while it is near the visible part of the page, once in a round: again when the
 * range, the variables or the round change.
 */
export function usePanel(panel: Panel, near: boolean): PanelState {
  const { dashboard, session, states, timeZone, width } = useDashboard();
  const { round, range, chosen, raw } = useSnapshot(session);
  const theme = useTheme2();
  const [answered, setAnswered] = useState<Answered>();
  const [state, setState] = useState(WAITING);
  const latest = useRef<Sent>(undefined);
  const shown = useRef<Answered>(undefined);

  const queries = useMemo((): readonly Prepared[] | Error => {
    try {
      return prepared(panel, dashboard.panels, { ...range, variables: chosen, page: width });
    } catch (error) {
      return error as Error;
    }
  }, [panel, dashboard, range, chosen, width]);
  const key = queries instanceof Error ? queries.message : JSON.stringify(queries);

  useEffect(() => {
    const before = latest.current;
    if (!round || !near || (before?.round === round && before.key === key)) return;
    const sent: Sent = { round, key };
    latest.current = sent;
    const fail = (error: Error): void => {
      if (latest.current === sent && !round.cancelled) setState((s) => ({ ...s, loading: false, error }));
    };
    if (queries instanceof Error) {
      fail(queries);
      return;
    }
    setState((s) => ({ ...s, loading: true, queries }));
    asked(queries, round).then((frames) => {
      if (latest.current !== sent || round.cancelled) return;
      const answer = { sent, frames, ...range, chosen, text: JSON.stringify(frames) };
      if (!shown.current || !alike(shown.current, answer)) setAnswered(answer);
      else setState((s) => ({ ...s, loading: false, error: undefined }));
    }, fail);
  }, [round, key, near, queries, range, chosen]);

  useEffect(() => {
    if (!answered) return undefined;
    let current = true;
    shaped(panel, answered.frames, theme, replacer(chosen, raw), timeZone).then(
      (data) => {
        if (!current) return;
        const fresh = shown.current !== answered && latest.current === answered.sent;
        shown.current = answered;
        setState((s) => ({
          ...s,
          data,
          range: timeRange(answered.from, answered.to),
          ...(fresh ? { loading: false, error: undefined } : {}),
        }));
      },
      (error: Error) => current && setState((s) => ({ ...s, loading: false, error })),
    );
    return () => {
      current = false;
    };
    // Names and links are filled with the variables that were asked with: a new choice brings a new answer.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [answered, theme, timeZone, panel]);

  useEffect(() => {
    states.set(panel.id, state);
    return () => {
      states.delete(panel.id);
    };
  }, [states, panel.id, state]);
  return state;
}
