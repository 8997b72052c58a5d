/**
 * The page's style. Colours are custom properties, once for light and once for dark; `data-theme` on the root chooses,
 * and without it the system does. Every pair of text and ground has a contrast of 4.5 or more.
 */

const light = `
  --ground: #f6f7f6; --card: #ffffff; --line: #e2e6e4; --text: #17201d; --soft: #55625d; --quiet: #eef1f0;
  --accent: #0f766e; --accent-soft: #ccebe6; --on-accent: #ffffff; --good: #15803d; --warn: #92400e; --warn-soft: #fef3c7;
  --bad: #b91c1c; --bad-soft: #fee2e2; --shadow: 0 1px 2px rgb(15 30 25 / 6%), 0 8px 24px rgb(15 30 25 / 5%);
  color-scheme: light;`;

const dark = `
  --ground: #0e1312; --card: #161d1b; --line: #28322f; --text: #e7edea; --soft: #9fb0a9; --quiet: #1f2826;
  --accent: #2dd4bf; --accent-soft: #134e48; --on-accent: #06211d; --good: #4ade80; --warn: #fcd34d; --warn-soft: #3b2e0a;
  --bad: #fca5a5; --bad-soft: #45191b; --shadow: 0 1px 2px rgb(0 0 0 / 40%);
  color-scheme: dark;`;

export const pageStyle = `:root {${light}
  --font: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace;
}
@media (prefers-color-scheme: dark) { :root:not([data-theme='light']) {${dark}
} }
:root[data-theme='dark'] {${dark}
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.5 var(--font); -webkit-text-size-adjust: 100%; }
h1, h2, p, ul, ol, dl, dd { margin: 0; padding: 0; }
ul, ol { list-style: none; }
h2 { font-size: 0.95rem; font-weight: 600; letter-spacing: 0.01em; }
code { font: 0.9em var(--mono); background: var(--quiet); padding: 0.1em 0.35em; border-radius: 4px; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: -999px; top: 8px; background: var(--card); padding: 8px 12px; border-radius: 8px; z-index: 2; }
.skip:focus { left: 8px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }

.top { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 20px; max-width: 1160px; margin: 0 auto; padding: 18px 20px 10px; }
.brand { display: flex; align-items: center; gap: 10px; font-weight: 650; font-size: 1.05rem; letter-spacing: -0.01em; }
.route { display: flex; align-items: center; gap: 8px; color: var(--soft); font-size: 0.88rem; min-width: 0; flex: 1 1 260px; }
.side { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 44ch; }
.controls { display: flex; align-items: center; gap: 12px; margin-left: auto; }
.link { display: inline-flex; align-items: center; gap: 7px; color: var(--soft); font-size: 0.85rem; }
.link::before { content: ''; width: 8px; height: 8px; border-radius: 50%; background: var(--soft); }
.link[data-link='live']::before { background: var(--good); }
.link[data-link='lost']::before { background: var(--bad); }
.link[data-link='lost'] { color: var(--bad); }

main { max-width: 1160px; margin: 0 auto; padding: 6px 20px 20px; display: grid; gap: 16px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 18px 20px; box-shadow: var(--shadow); min-width: 0; }
.grid { display: grid; gap: 16px; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.wide { grid-column: 1 / -1; }
.title { display: flex; align-items: center; justify-content: space-between; gap: 12px; margin-bottom: 10px; min-height: 34px; }
.meta { color: var(--soft); font-size: 0.88rem; }

.hero { display: grid; grid-template-columns: auto 1fr; gap: 6px 34px; align-items: center; padding: 26px 28px; }
.big { display: flex; align-items: baseline; gap: 8px; font-variant-numeric: tabular-nums; letter-spacing: -0.035em; min-width: 4.2ch; }
.big .value { font-size: clamp(3.2rem, 8vw, 5.4rem); line-height: 1; font-weight: 620; }
.big .unit { font-size: 1.5rem; color: var(--soft); letter-spacing: 0; }
.about h1 { font-size: clamp(1.15rem, 2.4vw, 1.5rem); font-weight: 600; letter-spacing: -0.01em; line-height: 1.3; overflow-wrap: anywhere; }
.state { display: inline-flex; align-items: center; gap: 8px; color: var(--soft); font-size: 0.82rem; text-transform: uppercase; letter-spacing: 0.07em; font-weight: 600; margin-bottom: 4px; }
.dot { width: 9px; height: 9px; border-radius: 50%; background: var(--soft); }
.hero[data-tone='good'] .dot { background: var(--good); }
.hero[data-tone='work'] .dot { background: var(--accent); animation: breathe 2.4s ease-in-out infinite; }
.hero[data-tone='bad'] .dot { background: var(--bad); }
.hero[data-tone='bad'] .big .value, .hero[data-tone='bad'] .state { color: var(--bad); }
.hero .whole { grid-column: 1 / -1; margin-top: 14px; }
@keyframes breathe { 50% { opacity: 0.35; } }

progress { appearance: none; -webkit-appearance: none; border: 0; height: 8px; width: 100%; border-radius: 99px; overflow: hidden; background: var(--quiet); display: block; }
progress::-webkit-progress-bar { background: var(--quiet); border-radius: 99px; }
progress::-webkit-progress-value { background: var(--accent); border-radius: 99px; transition: inline-size 0.4s ease; }
progress::-moz-progress-bar { background: var(--accent); border-radius: 99px; }
progress[data-tone='bad']::-webkit-progress-value { background: var(--bad); }
progress[data-tone='bad']::-moz-progress-bar { background: var(--bad); }

.warnings { display: grid; gap: 8px; }
.warnings:empty { display: none; }
.warnings li, .warning { background: var(--warn-soft); color: var(--warn); border-radius: 12px; padding: 12px 16px; font-weight: 500; }
.warnings[data-tone='bad'] li { background: var(--bad-soft); color: var(--bad); }

.phases { display: flex; gap: 4px 0; counter-reset: phase; }
.phases li { flex: 1; display: grid; gap: 2px; padding: 2px 12px 2px 0; position: relative; counter-increment: phase; color: var(--soft); }
.phases li::before { content: ''; height: 4px; border-radius: 99px; background: var(--line); margin-bottom: 8px; }
.phases li[data-phase='done']::before { background: var(--accent); }
.phases li[data-phase='now']::before { background: linear-gradient(90deg, var(--accent) 55%, var(--line) 55%); }
.phases li[data-phase='now'] .name { color: var(--text); font-weight: 650; }
.phases li[data-phase='done'] .name { color: var(--text); }
.phases .name { font-size: 0.92rem; }
.phases .when { font-size: 0.8rem; font-variant-numeric: tabular-nums; min-height: 1.5em; }

.chart { height: 220px; }
.chart .u-legend { display: none; }
.switch { display: inline-flex; background: var(--quiet); border-radius: 9px; padding: 3px; }
.switch button { background: transparent; color: var(--soft); border: 0; padding: 4px 12px; border-radius: 7px; font-size: 0.85rem; min-height: 28px; }
.switch button[aria-pressed='true'] { background: var(--card); color: var(--text); box-shadow: 0 1px 2px rgb(0 0 0 / 12%); }

table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 0.82rem; padding: 4px 10px 6px 0; white-space: nowrap; }
td { padding: 7px 10px 7px 0; border-top: 1px solid var(--line); vertical-align: middle; }
td.lsn { font: 0.86rem var(--mono); }
th.number, td.number { text-align: right; padding-right: 0; padding-left: 10px; white-space: nowrap; }
.figures { margin-top: 6px; }
.figures tbody th { color: var(--text); font-weight: 500; font-size: inherit; padding: 7px 10px 7px 0; border-top: 1px solid var(--line); }
.facts { display: grid; grid-template-columns: auto 1fr; gap: 6px 18px; margin-top: 12px; font-variant-numeric: tabular-nums; }
.facts dt { color: var(--soft); }
.facts dd { text-align: right; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.tall { max-height: 420px; overflow-y: auto; overscroll-behavior: contain; }
.tables thead th { position: sticky; top: 0; background: var(--card); z-index: 1; }
.tables td.name { max-width: 34ch; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.tables .schema { color: var(--soft); }
.tables td.rows { width: 34%; min-width: 150px; }
.tables .bar { display: grid; grid-template-columns: 1fr auto; gap: 10px; align-items: center; }
.tables .bar progress { height: 6px; }
.tables .bar span { min-width: 4.5ch; text-align: right; color: var(--soft); font-size: 0.85rem; }
.tables tr[data-row='done'] .bar span { color: var(--good); }
.tables tr[data-row='waits'] td { color: var(--soft); }
.tables[data-parts='none'] .parts { display: none; }

input { font: inherit; color: var(--text); background: var(--ground); border: 1px solid var(--line); border-radius: 9px; padding: 7px 12px; min-height: 38px; width: 100%; }
input::placeholder { color: var(--soft); opacity: 1; }
.filter input { width: 200px; min-height: 34px; padding: 4px 12px; }
button { font: inherit; font-weight: 550; font-size: 0.92rem; color: var(--on-accent); background: var(--accent); border: 1px solid transparent; border-radius: 9px; padding: 6px 16px; min-height: 38px; cursor: pointer; }
button:hover:not(:disabled) { filter: brightness(1.08); }
button:disabled { opacity: 0.45; cursor: not-allowed; }
button.quiet { background: transparent; color: var(--soft); border-color: var(--line); min-height: 32px; padding: 3px 12px; font-size: 0.85rem; }
button.danger { background: var(--bad); color: var(--card); }
.row { display: flex; gap: 10px; align-items: center; }
.row.end { justify-content: flex-end; margin-top: 18px; }
.grow { flex: 1; }
.unlock { display: grid; gap: 12px; margin-top: 8px; color: var(--soft); font-size: 0.92rem; }
.error { color: var(--bad); font-weight: 500; }
.error:empty { display: none; }
.steering { display: grid; gap: 14px; margin-top: 12px; }
.action { display: flex; justify-content: space-between; align-items: center; gap: 16px; }
.action button { flex: none; }
#lock { justify-self: start; }

.log { margin-top: 8px; max-height: 300px; }
.log ol { font: 0.8rem/1.55 var(--mono); display: grid; gap: 2px; }
.log li { display: grid; grid-template-columns: auto 1fr; gap: 12px; overflow-wrap: anywhere; }
.log time { color: var(--soft); }
.log li[data-severity='WARN'] span { color: var(--warn); }
.log li[data-severity='ERROR'] span { color: var(--bad); font-weight: 600; }

dialog { border: 1px solid var(--line); border-radius: 14px; background: var(--card); color: var(--text); padding: 22px 24px; max-width: min(460px, calc(100vw - 32px)); box-shadow: 0 20px 60px rgb(0 0 0 / 30%); }
dialog::backdrop { background: rgb(10 20 16 / 45%); }
dialog h2 { font-size: 1.1rem; margin-bottom: 8px; }
dialog p { color: var(--soft); }
footer { max-width: 1160px; margin: 0 auto; padding: 0 20px 28px; color: var(--soft); font-size: 0.82rem; overflow-wrap: anywhere; }

@media (max-width: 760px) {
  .top { padding: 14px 14px 8px; }
  .route { order: 3; flex-basis: 100%; flex-wrap: wrap; gap: 0 8px; }
  .side { max-width: 100%; }
  main { padding: 4px 14px 16px; gap: 12px; }
  .grid { grid-template-columns: minmax(0, 1fr); gap: 12px; }
  .card { padding: 16px; border-radius: 12px; }
  .hero { grid-template-columns: 1fr; gap: 14px; padding: 20px 18px; }
  .hero .whole { margin-top: 4px; }
  .phases { flex-direction: column; gap: 10px; }
  .phases li { grid-template-columns: 1fr auto; padding: 0 0 0 16px; }
  .phases li::before { position: absolute; left: 0; top: 3px; bottom: 3px; width: 4px; height: auto; margin: 0; }
  .phases li[data-phase='now']::before { background: linear-gradient(180deg, var(--accent) 55%, var(--line) 55%); }
  .chart { height: 180px; }
  .tables thead { display: none; }
  .tables tr { display: grid; grid-template-columns: 1fr auto; gap: 0 12px; border-top: 1px solid var(--line); padding: 8px 0; }
  .tables td { border: 0; padding: 2px 0; }
  .tables td.name { max-width: none; }
  .tables td.rows { grid-column: 1 / -1; width: auto; order: 3; }
  .tables td.parts, .tables td.indexes { display: none; }
  .filter input { width: 140px; }
  .figures td.lsn, .figures th:nth-child(2) { display: none; }
}
@media (prefers-reduced-motion: reduce) { *, *::before, *::after { animation: none !important; transition: none !important; } }
@media (forced-colors: active) { progress { border: 1px solid CanvasText; } .dot { forced-color-adjust: none; } }
`;
