/** What @grafana/ui and @grafana/data expect to find in a page; to be called once, before anything is drawn. */
import { cacheStore } from 'react-inlinesvg';
import supported from '../../supported.json';
import {
  initPluginTranslations,
  standardTransformers,
  standardTransformersRegistry,
  type TransformerRegistryItem,
} from '.';
import { partitionByValues } from './partition';

declare global {
  interface Window {
    __grafana_public_path__?: string;
  }
}

/** The icons in use, in the bundle: otherwise each would be a request. */
const ICONS = import.meta.glob<string>(
  '/node_modules/@grafana/ui/dist/public/img/icons/unicons/{adjust-circle,angle-double-right,angle-down,angle-left,angle-right,angle-up,apps,arrow-down,arrow-up,calendar-alt,check,clock-nine,copy,ellipsis-v,exclamation-circle,exclamation-triangle,external-link-alt,history,import,info-circle,minus,question-circle,search,search-minus,sync,table,times,times-circle}.svg',
  { query: '?raw', import: 'default', eager: true },
);

/** The transformations that the viewer offers, by their names in the JSON. */
const TRANSFORMATIONS = [...Object.values(standardTransformers), partitionByValues].filter(({ id }) =>
  supported.transformations.includes(id),
);

export async function start(): Promise<void> {
  window.__grafana_public_path__ = '/';
  const keep = (name: string, content: string): void =>
    cacheStore.set(`/build/img/icons/unicons/${name}.svg`, { content, status: 'loaded' });
  for (const [path, content] of Object.entries(ICONS)) keep(/([^/]+)\.svg$/.exec(path)?.[1] ?? path, content);
  // Two that @grafana/ui asks for and does not bring.
  const icon = (name: string): string =>
    Object.entries(ICONS).find(([path]) => path.endsWith(`/${name}.svg`))?.[1] ?? '';
  keep(
    'angle-double-left',
    icon('angle-double-right').replace('<path', '<path transform="matrix(-1 0 0 1 24 0)"'),
  );
  keep('spinner', icon('sync'));
  standardTransformersRegistry.setInit(() =>
    TRANSFORMATIONS.map(
      (info) =>
        ({
          id: info.id,
          name: info.name,
          transformation: () => Promise.resolve(info),
        }) as unknown as TransformerRegistryItem,
    ),
  );
  await initPluginTranslations('viewer');
}
