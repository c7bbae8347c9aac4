import { useEffect, useState } from 'react';
import { Dropdown, Menu, ToolbarButton } from '../grafana';
import { useDashboard, useSnapshot, type OpenDashboard } from '../page/context';
import { getJson } from '../query/client';
import { replacer } from '../session/text';

/** GET /api/features. `url` takes the place of the dashboard as query parameters, and `format`. */
interface Features {
  exports: { formats: string[]; url: string } | null;
}

type Busy = 'csv' | 'png' | undefined;

/** Everything that this dashboard can be saved as. */
export function ExportMenu() {
  const open = useDashboard();
  const [busy, setBusy] = useState<Busy>();
  const [error, setError] = useState<string>();
  const features = useFeatures();
  const run = (kind: 'csv' | 'png'): void => {
    setBusy(kind);
    setError(undefined);
    exportAs(kind, open)
      .catch((reason: Error) => setError(`The export failed: ${reason.message}`))
      .finally(() => setBusy(undefined));
  };
  const menu = (
    <Menu>
      <Menu.Item label="CSV of every panel (zip)" onClick={() => run('csv')} />
      <Menu.Item label="Picture of the dashboard (PNG)" onClick={() => run('png')} />
      {features?.exports && <Reports exports={features.exports} />}
    </Menu>
  );
  return (
    <>
      <Dropdown overlay={menu} placement="bottom-end">
        <ToolbarButton variant="canvas" icon={busy ? 'sync' : 'import'} disabled={busy !== undefined}>
          {busy ? 'Exporting …' : 'Export'}
        </ToolbarButton>
      </Dropdown>
      <span role="status" className={error ? 'banner' : 'hidden'}>
        {error ?? (busy ? 'Exporting' : '')}
      </span>
    </>
  );
}

function Reports({ exports: { formats, url } }: { exports: NonNullable<Features['exports']> }) {
  const { session, dashboard } = useDashboard();
  const { chosen, raw } = useSnapshot(session);
  const query = replacer(chosen, raw)('${__url_time_range}&${__all_variables}');
  return (
    <>
      <Menu.Divider />
      {formats.map((format) => (
        <Menu.Item
          key={format}
          label={`Report (${format.toUpperCase()})`}
          url={`${url}${url.includes('?') ? '&' : '?'}format=${encodeURIComponent(format)}&dashboard=${encodeURIComponent(dashboard.uid)}&${query}`}
          target="_blank"
        />
      ))}
    </>
  );
}

function useFeatures(): Features | undefined {
  const [features, setFeatures] = useState<Features>();
  useEffect(() => {
    const controller = new AbortController();
    getJson<Features>('/api/features', controller.signal).then(setFeatures, () => undefined);
    return () => controller.abort();
  }, []);
  return features;
}

async function exportAs(kind: 'csv' | 'png', open: OpenDashboard): Promise<void> {
  const files = await import('./files');
  open.showEverything();
  await files.settled(open);
  await (kind === 'csv' ? files.saveCsv(open) : files.savePng(open));
}
