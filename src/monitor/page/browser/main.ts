/** The page: live data → view, chart and steering; and the colours. */
import type { Sample, StoredLogLine } from '../../../catalog/run-status.js';
import type { TableStanding } from '../../../catalog/task-standings.js';
import type { RunStatus } from '../../status.js';
import { Chart, type ChartKind } from './chart.js';
import { byId, setText } from './dom.js';
import { Live, type LinkState } from './live.js';
import { Steer } from './steer.js';
import { filterTables, showLog, showStatus, showTables } from './view.js';

const chart = new Chart();
let wanted: ChartKind = 'seconds';
let lost: ReturnType<typeof setInterval> | null = null;

const live = new Live({
  token: () => steer.token,
  onEvent: (name, data) => {
    switch (name) {
      case 'hello':
        return steer.hello((data as { readonly marks: boolean }).marks);
      case 'status':
        return take(data as RunStatus);
      case 'tables':
        return showTables(data as readonly TableStanding[]);
      case 'samples':
        return chart.add(data as readonly Sample[]);
      case 'log':
        return showLog(data as readonly StoredLogLine[]);
    }
  },
  onLink: showLink,
});
const steer = new Steer(() => live.connect());

function take(status: RunStatus): void {
  showStatus(status);
  steer.status(status);
  const stream = status.stream !== null;
  byId('chart-switch').hidden = !stream;
  chart.show(stream ? wanted : 'copied');
  setText(byId('chart-title'), stream ? 'Lag' : 'Rows copied');
}

function showLink(state: LinkState): void {
  const link = byId('link');
  if (lost !== null) clearInterval(lost);
  lost = null;
  link.dataset['link'] = state.kind;
  switch (state.kind) {
    case 'wait':
      return setText(link, 'connecting');
    case 'live':
      return setText(link, 'live');
    case 'locked':
      byId('steer-card').hidden = false;
      setText(byId('unlock-error'), 'This run is shown only with its token.');
      return setText(link, 'locked');
    case 'lost':
      break;
  }
  const { sinceMs } = state;
  const say = () => setText(link, `no connection for ${Math.round((Date.now() - sinceMs) / 1000)} s`);
  say();
  lost = setInterval(say, 1000);
}

for (const button of document.querySelectorAll<HTMLButtonElement>('[data-chart]')) {
  button.addEventListener('click', () => {
    wanted = button.dataset['chart'] === 'bytes' ? 'bytes' : 'seconds';
    for (const other of document.querySelectorAll('[data-chart]')) {
      other.setAttribute('aria-pressed', String(other === button));
    }
    chart.show(wanted);
  });
}

byId('filter').addEventListener('input', filterTables);

const themes = ['auto', 'light', 'dark'] as const;
const themeKey = 'walferry-theme';

function setTheme(theme: (typeof themes)[number]): void {
  const root = document.documentElement;
  if (theme === 'auto') delete root.dataset['theme'];
  else root.dataset['theme'] = theme;
  const button = byId('theme');
  const name = `${theme.slice(0, 1).toUpperCase()}${theme.slice(1)}`;
  setText(button, name);
  // Who speaks to the page says what is written on the button.
  button.setAttribute(
    'aria-label',
    `${name}: colours ${theme === 'auto' ? 'as the system has them' : theme}`,
  );
  chart.redraw();
}

let theme = themes.find((one) => one === localStorage.getItem(themeKey)) ?? 'auto';
setTheme(theme);
byId('theme').addEventListener('click', () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length] ?? 'auto';
  localStorage.setItem(themeKey, theme);
  setTheme(theme);
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => chart.redraw());

live.connect();
