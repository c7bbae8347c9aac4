import { useEffect, useMemo, useState } from 'react';
import {
  Dropdown,
  Icon,
  Menu,
  RefreshPicker,
  TimeRangePicker,
  ToolbarButton,
  rangeUtil,
  type TimeRange,
} from '../grafana';
import type { DashboardLink } from '../model';
import { forPicker, fromPicker, moved, zoomedOut } from '../session/range';
import { replacer } from '../session/text';
import { ExportMenu } from '../export/ExportMenu';
import { useDashboard, useSnapshot } from './context';
import { SpaLink } from './SpaLink';
import { useMode, type Mode } from './theme';
import { useEntries } from './useEntries';

/** Milliseconds of a refresh interval; 0: off. */
export function refreshEvery(text: string): number {
  const [, number, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const factor = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[unit ?? ''] ?? 0;
  return Number(number ?? 0) * factor;
}

export function Toolbar() {
  const { dashboard, session, timeZone } = useDashboard();
  const { raw, range, refresh, round } = useSnapshot(session);
  const { refresh_intervals: intervals, quick_ranges: quick } = dashboard.timepicker ?? {};
  const [history, setHistory] = useState<TimeRange[]>([]);
  const remember = (picked: TimeRange): void => {
    if (!rangeUtil.isRelativeTimeRange(picked.raw)) setHistory((before) => [picked, ...before].slice(0, 4));
  };
  useRefresh();
  return (
    <div className="toolbar" role="toolbar" aria-label="Dashboard">
      {(dashboard.links ?? []).map((link) => (
        <Links key={link.title} link={link} />
      ))}
      <span className="space" />
      <TimeRangePicker
        value={forPicker(raw, range)}
        timeZone={timeZone}
        onChange={(picked) => {
          remember(picked);
          session.setRange(fromPicker(picked));
        }}
        history={history}
        onChangeTimeZone={(zone) => session.setTimeZone(zone || 'browser')}
        onMoveBackward={() => session.setRange(moved(range, -1))}
        onMoveForward={() => session.setRange(moved(range, 1))}
        onZoom={() => session.setRange(zoomedOut(range, Date.now()))}
        {...(quick ? { quickRanges: quick } : {})}
        isOnCanvas
      />
      <RefreshPicker
        value={refresh}
        {...(intervals ? { intervals } : {})}
        tooltip="Refresh"
        onRefresh={() => session.refreshNow()}
        onIntervalChanged={(interval) => session.setRefresh(interval)}
        isLoading={round === undefined}
        isOnCanvas
        noIntervalPicker={false}
      />
      <ExportMenu />
      <ModeButton />
    </div>
  );
}

/** Asks again every now and then: not while the page is out of sight, and not before the last answers came. */
function useRefresh(): void {
  const { session, states } = useDashboard();
  const { refresh } = useSnapshot(session);
  useEffect(() => {
    const every = refreshEvery(refresh);
    if (!every) return undefined;
    const timer = setInterval(() => {
      const busy = [...states.values()].some((state) => state.loading);
      if (document.visibilityState === 'visible' && !busy) session.refreshNow();
    }, every);
    return () => clearInterval(timer);
  }, [session, states, refresh]);
}

function Links({ link }: { link: DashboardLink }) {
  const { session, navigate, dashboard } = useDashboard();
  const { chosen, raw } = useSnapshot(session);
  const entries = useEntries();
  const query = useMemo(() => {
    const fill = replacer(chosen, raw);
    return [
      link.keepTime ? fill('${__url_time_range}') : '',
      link.includeVars ? fill('${__all_variables}') : '',
    ]
      .filter(Boolean)
      .join('&');
  }, [chosen, raw, link]);
  const to = (path: string): string => (query ? `${path}${path.includes('?') ? '&' : '?'}${query}` : path);
  if (link.type === 'link') {
    return (
      <SpaLink
        className="link"
        href={to(replacer(chosen, raw)(link.url ?? ''))}
        target={link.targetBlank ? '_blank' : undefined}
      >
        {link.title}
      </SpaLink>
    );
  }
  const tagged = entries.filter((entry) => link.tags.every((tag) => entry.tags.includes(tag)));
  const items = tagged.map((entry) => ({ ...entry, href: to(`/d/${entry.uid}`) }));
  if (!link.asDropdown)
    return items.map(({ uid, title, href }) => (
      <SpaLink key={uid} className="link" href={href}>
        {title}
      </SpaLink>
    ));
  const menu = () => (
    <Menu>
      {items.map(({ uid, title, href, description }) => (
        <Menu.Item
          key={uid}
          label={title}
          url={href}
          active={uid === dashboard.uid}
          {...(description ? { description } : {})}
          onClick={(event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            navigate(href);
          }}
        />
      ))}
    </Menu>
  );
  return (
    <Dropdown overlay={menu} placement="bottom-start">
      <ToolbarButton variant="canvas" icon="apps" isOpen={false}>
        {link.title}
      </ToolbarButton>
    </Dropdown>
  );
}

const NEXT: Readonly<Record<Mode, Mode>> = { system: 'light', light: 'dark', dark: 'system' };
const TEXT: Readonly<Record<Mode, string>> = { system: 'Auto', light: 'Light', dark: 'Dark' };
const NAME: Readonly<Record<Mode, string>> = { system: 'as the system', light: 'light', dark: 'dark' };

function ModeButton() {
  const { mode, setMode } = useMode();
  const text = TEXT[mode];
  const label = `${text}: colours ${NAME[mode]}. Press for ${NAME[NEXT[mode]]}.`;
  return (
    <button
      type="button"
      className="icon-button"
      title={label}
      aria-label={label}
      onClick={() => setMode(NEXT[mode])}
    >
      <Icon name="adjust-circle" />
      {text}
    </button>
  );
}
