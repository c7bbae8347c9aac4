/** The files of the Export button. Loaded when somebody presses it. */
import { toBlob } from 'html-to-image';
import { strToU8, zipSync } from 'fflate';
import type { OpenDashboard } from '../page/context';
import { sectionsOf } from '../page/sections';
import { SELF_CONTAINED } from '../panels';
import { described } from '../session/variables';
import { csvOf } from './csv';
import { fileName, save } from './save';

const PATIENCE = 60_000;

/** Wait until every panel has its answer or an error. Throws after a minute. */
export async function settled({ dashboard, states }: OpenDashboard): Promise<void> {
  const wanted = panelsOf(dashboard.panels).filter((panel) => !SELF_CONTAINED.has(panel.type));
  const since = performance.now();
  for (;;) {
    const open = wanted.filter(({ id }) => {
      const state = states.get(id);
      return !state || state.loading || (!state.data && !state.error);
    });
    if (!open.length) break;
    if (performance.now() - since > PATIENCE)
      throw new Error(`no answer within a minute for ${open.map((panel) => panel.title).join(', ')}`);
    await new Promise((done) => setTimeout(done, 50));
  }
  await new Promise((done) => setTimeout(done, 300)); // the last pictures are drawn
}

const panelsOf = (panels: OpenDashboard['dashboard']['panels']) =>
  sectionsOf(panels).flatMap((section) => section.panels);

/** A zip with a CSV file per panel that has data, and about.txt: dashboard, range, variables, what failed. */
export async function saveCsv(open: OpenDashboard): Promise<void> {
  save(new Blob([zipped(open)], { type: 'application/zip' }), `${nameOf(open)}.zip`);
  return Promise.resolve();
}

function zipped({ dashboard, session, states }: OpenDashboard): Uint8Array<ArrayBuffer> {
  const { range, variables } = session.snapshot;
  const files: Record<string, Uint8Array> = {};
  const notes: string[] = [];
  for (const section of sectionsOf(dashboard.panels))
    for (const panel of section.panels) {
      const state = states.get(panel.id);
      if (!state?.data || SELF_CONTAINED.has(panel.type)) continue;
      const name = [
        String(panel.id).padStart(3, '0'),
        section.row && fileName(section.row.title),
        fileName(panel.title),
      ];
      if (state.error) notes.push(`${panel.title} is not up to date: ${state.error.message}`);
      // With a byte order mark: Excel reads UTF-8 only then.
      files[`${name.filter(Boolean).join('_')}.csv`] = strToU8('\uFEFF' + csvOf(state.data));
    }
  const about = [
    `Dashboard: ${dashboard.title}`,
    `From: ${new Date(range.from).toISOString()}`,
    `To: ${new Date(range.to).toISOString()}`,
    ...variables
      .filter(({ model }) => model.hide !== 2)
      .map((one) => `${one.model.label ?? one.model.name}: ${described(one)}`),
    `Saved: ${new Date().toISOString()}`,
    ...notes,
    '',
  ];
  return zipSync({ 'about.txt': strToU8(about.join('\r\n')), ...files }) as Uint8Array<ArrayBuffer>;
}

/** A picture of the whole dashboard, below the fold, too. */
export async function savePng(open: OpenDashboard): Promise<void> {
  const page = document.getElementById('root');
  if (!page) throw new Error('there is no page to save');
  const background = getComputedStyle(document.documentElement).getPropertyValue('--canvas');
  document.documentElement.classList.add('picture');
  try {
    const blob = await toBlob(page, {
      backgroundColor: background,
      pixelRatio: 2,
      cacheBust: false,
      skipAutoScale: false,
      fontEmbedCSS: await fonts(),
    });
    if (!blob) throw new Error('the browser cannot draw a picture of this size');
    save(blob, `${nameOf(open)}.png`);
  } finally {
    document.documentElement.classList.remove('picture');
  }
}

/** The page's own fonts, within the picture. */
async function fonts(): Promise<string> {
  const faces = await Promise.all(
    [
      ['400', 'Regular'],
      ['500', 'Medium'],
    ].map(async ([weight, name]) => {
      const bytes = new Uint8Array(await (await fetch(`/fonts/inter/Inter-${name}.woff2`)).arrayBuffer());
      const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
      return `@font-face { font-family: Inter; font-weight: ${weight}; src: url(data:font/woff2;base64,${text}); }`;
    }),
  );
  return faces.join('\n');
}

function nameOf({ dashboard, session }: OpenDashboard): string {
  const { range } = session.snapshot;
  const day = (moment: number): string => new Date(moment).toISOString().slice(0, 10);
  return `${fileName(dashboard.title)}_${day(range.from)}_${day(range.to)}`;
}
