import { cp } from 'node:fs/promises';
import { resolve } from 'node:path';
import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const ICONS = resolve(import.meta.dirname, 'node_modules/@grafana/ui/dist/public/img/icons');
const FONTS = resolve(import.meta.dirname, 'node_modules/@fontsource/inter/files');

/** What @grafana/ui fetches by fixed addresses: its font, and the icons that the bundle does not have. */
const fixedAddresses: Plugin = {
  name: 'fixed-addresses',
  apply: 'build',
  writeBundle: async ({ dir = 'dist' }) => {
    for (const kind of ['unicons', 'solid', 'mono', 'custom'])
      await cp(resolve(ICONS, kind), resolve(dir, 'build/img/icons', kind), { recursive: true });
    for (const [weight, name] of [
      ['400', 'Regular'],
      ['500', 'Medium'],
    ])
      await cp(
        resolve(FONTS, `inter-latin-${weight}-normal.woff2`),
        resolve(dir, `fonts/inter/Inter-${name}.woff2`),
      );
  },
};

const empty = resolve(import.meta.dirname, 'src/grafana/nothing.ts');

export default defineConfig({
  plugins: [react(), fixedAddresses],
  resolve: {
    // Parts of @grafana/ui that no dashboard needs and that weigh more than all the rest.
    alias: [{ find: /^(monaco-editor|@monaco-editor\/react)(\/.*)?$/, replacement: empty }],
  },
  build: { target: 'es2022', sourcemap: false, chunkSizeWarningLimit: 3500 },
  // The libraries' modules import lodash by name, which Node alone does not understand.
  test: { include: ['tests/**/*.test.ts'], server: { deps: { inline: [/@grafana/] } } },
  server: { proxy: { '/api': 'http://127.0.0.1:3000' } },
});
