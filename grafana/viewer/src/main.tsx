import '@fontsource/inter/latin-ext-400.css';
import '@fontsource/inter/latin-ext-500.css';
import 'uplot/dist/uPlot.min.css';
import './viewer.css';
import { createRoot } from 'react-dom/client';
import { PortalContainer } from './grafana';
import { start } from './grafana/start';
import { App } from './page/App';
import { Theme } from './page/theme';

await start();
const root = document.getElementById('root');
if (!root) throw new Error('index.html has no #root');
createRoot(root).render(
  <Theme>
    <App />
    <PortalContainer />
  </Theme>,
);
