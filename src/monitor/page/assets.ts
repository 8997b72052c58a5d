/**
 * The files of the page. Its scripts are TypeScript of this project, compiled beside this file (browser/), its markup
 * and style are text in modules (so that the compiler alone makes the program, and nothing has to be copied), and the
 * chart library is the one of package.json. All of it is read once, when the page is first asked for.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pageHtml } from './html.js';
import { icon } from './icon.js';
import { pageStyle } from './style.js';

export type Asset = { readonly type: string; readonly body: Buffer };

const scriptType = 'text/javascript; charset=utf-8';
const styleType = 'text/css; charset=utf-8';

/** Modules of the page, which import each other by these names. */
const modules = [
  'format',
  'browser/main',
  'browser/view',
  'browser/chart',
  'browser/live',
  'browser/steer',
  'browser/dom',
];

/** Path → file. */
export function loadAssets(): ReadonlyMap<string, Asset> {
  const require = createRequire(import.meta.url);
  const text = (type: string, body: string): Asset => ({ type, body: Buffer.from(body) });
  const ours = (name: string): Asset => ({
    type: scriptType,
    body: readFileSync(new URL(`./${name}.js`, import.meta.url)),
  });
  return new Map([
    ['/', text('text/html; charset=utf-8', pageHtml)],
    ['/assets/page.css', text(styleType, pageStyle)],
    ['/assets/icon.svg', text('image/svg+xml', icon)],
    ...modules.map((name) => [`/assets/${name}.js`, ours(name)] as const),
    [
      '/assets/uplot.js',
      { type: scriptType, body: readFileSync(require.resolve('uplot/dist/uPlot.iife.min.js')) },
    ],
    [
      '/assets/uplot.css',
      { type: styleType, body: readFileSync(require.resolve('uplot/dist/uPlot.min.css')) },
    ],
  ]);
}
