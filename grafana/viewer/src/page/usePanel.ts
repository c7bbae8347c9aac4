import { useEffect, useMemo, useRef, useState } from 'react';
import { useTheme2, type DataFrame } from '../grafana';
import type { Panel } from '../model';
import { timeRange } from '../session/interval';
import { asked, prepared, shaped, type Prepared } from '../session/panel';
import { replacer } from '../session/text';
import { useDashboard, useSnapshot, type PanelState } from './context';

interface Answered {
  frames: DataFrame[];
  from: number;
  to: number;
}

const WAITING: PanelState = {
  loading: true,
  data: undefined,
  range: undefined,
  queries: [],
  error: undefined,
};

/** What a panel shows: asks when it comes into view, and again when range, variables or the round change. */
export function usePanel(panel: Panel, visible: boolean): PanelState {
  const { dashboard, session, states, timeZone, width } = useDashboard();
  const { round, range, chosen, raw } = useSnapshot(session);
  const theme = useTheme2();
  const [answered, setAnswered] = useState<Answered>();
  const [state, setState] = useState(WAITING);
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
    if (!round || !visible) return undefined;
    let current = true;
    const fail = (error: Error): void => {
      if (!current || round.cancelled) return;
      setState((before) => ({ ...before, loading: false, error }));
    };
    if (queries instanceof Error) {
      fail(queries);
      return undefined;
    }
    setState((before) => ({ ...before, loading: true, queries }));
    asked(queries, round).then((frames) => {
      if (current && !round.cancelled) setAnswered({ frames, ...range });
    }, fail);
    return () => {
      current = false;
    };
    // `key` stands for the queries, and a round for its range.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [round, key, visible]);

  useEffect(() => {
    if (!answered) return undefined;
    let current = true;
    shaped(panel, answered.frames, theme, replacer(chosen, raw), timeZone).then(
      (data) => {
        if (!current) return;
        const first = shown.current !== answered;
        shown.current = answered;
        setState((before) => ({
          ...before,
          data,
          range: timeRange(answered.from, answered.to),
          ...(first ? { loading: false, error: undefined } : {}),
        }));
      },
      (error: Error) => current && setState((before) => ({ ...before, loading: false, error })),
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
