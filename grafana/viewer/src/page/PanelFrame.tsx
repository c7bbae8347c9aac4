import { Suspense, useMemo, useRef } from 'react';
import { LoadingState, Menu, PanelChrome, type DataFrame } from '../grafana';
import type { Panel } from '../model';
import { PANELS, PICTURES, SELF_CONTAINED } from '../panels';
import { timeRange } from '../session/interval';
import { replacer } from '../session/text';
import { Boundary } from './Boundary';
import { Alternative } from './Alternative';
import { useDashboard, useSnapshot, type PanelState } from './context';
import { useNear } from './useNear';
import { usePanel } from './usePanel';
import { useSize } from './useSize';

/** A panel: its frame, and within it loading, an error, nothing, or the picture. */
export function PanelFrame({ panel, height }: { panel: Panel; height: number }) {
  const { session, everything, inspect } = useDashboard();
  const { chosen, raw } = useSnapshot(session);
  const box = useRef<HTMLDivElement>(null);
  const { width } = useSize(box);
  const { near, seen } = useNear(box);
  const still = SELF_CONTAINED.has(panel.type);
  const state = usePanel(panel, (near || everything) && !still);
  const title = useMemo(() => replacer(chosen, raw)(panel.title), [chosen, raw, panel.title]);
  const menu = (
    <Menu>
      <Menu.Item label="Inspect: data and query" icon="info-circle" onClick={() => inspect(panel.id)} />
    </Menu>
  );
  return (
    <div
      ref={box}
      className="panel"
      style={{ height }}
      data-panel={panel.id}
      data-state={stateName(state, still)}
    >
      {width > 0 && (
        <PanelChrome
          width={width}
          height={height}
          title={title}
          {...(panel.description ? { description: panel.description } : {})}
          {...(still ? {} : { menu })}
          showMenuAlways={false}
          collapsible={false}
          {...(state.loading ? { loadingState: LoadingState.Loading } : {})}
          {...(state.error
            ? { statusMessage: state.error.message, statusMessageOnClick: () => inspect(panel.id) }
            : {})}
        >
          {(innerWidth, innerHeight) => (
            <Boundary key={panel.id} title={title}>
              <Suspense fallback={<p className="empty">Loading …</p>}>
                {(seen || everything) && (
                  <Content
                    panel={panel}
                    state={state}
                    width={innerWidth}
                    height={innerHeight}
                    still={still}
                  />
                )}
              </Suspense>
            </Boundary>
          )}
        </PanelChrome>
      )}
    </div>
  );
}

const stateName = ({ loading, data, error }: PanelState, still: boolean): string =>
  still ? 'done' : error ? 'error' : loading ? (data ? 'refreshing' : 'loading') : data ? 'done' : 'waiting';

interface ContentProps {
  panel: Panel;
  state: PanelState;
  width: number;
  height: number;
  still: boolean;
}

/** For panels without a query. */
const NOW = timeRange(0, 1);
const NONE: DataFrame[] = [];

function Content({ panel, state, width, height, still }: ContentProps) {
  const { timeZone } = useDashboard();
  const Kind = PANELS[panel.type];
  const { data, error, range } = state;
  if (!Kind)
    return (
      <Message text={`The viewer does not know panels of the kind ${panel.type}. Grafana does.`} error />
    );
  if (error && !data) return <Message text={error.message} error />;
  if (!still && (!data || !range)) return <p className="empty">Loading …</p>;
  if (!still && data?.every((frame) => frame.length === 0 || frame.fields.length === 0))
    return <Message text={panel.fieldConfig?.defaults.noValue ?? 'No data'} />;
  const shared = { panel, width, height, range: range ?? NOW, timeZone, data: data ?? NONE };
  return (
    <>
      {PICTURES.has(panel.type) && <Alternative title={panel.title} data={shared.data} />}
      {error && (
        <p className="stale" title={error.message}>
          Not up to date
        </p>
      )}
      <Kind {...shared} />
    </>
  );
}

function Message({ text, error = false }: { text: string; error?: boolean }) {
  return (
    <p className={error ? 'empty failed' : 'empty'} {...(error ? { role: 'alert' } : {})}>
      {text}
    </p>
  );
}
