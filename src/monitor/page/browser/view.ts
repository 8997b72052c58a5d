/** What the data looks like. Every function shows one part of the page; nothing here asks for anything. */
import type { StoredLogLine } from '../../../catalog/run-status.js';
import type { TableStanding } from '../../../catalog/task-standings.js';
import type { RunStatus } from '../../status.js';
import { formatAbout, formatBytes, formatCount, formatSeconds, sharePercent } from '../format.js';
import { byId, inputById, make, progressById, setFacts, setText } from './dom.js';

type Tone = 'good' | 'work' | 'bad' | 'none';

const tones: Readonly<Record<RunStatus['state'], Tone>> = {
  unknown: 'none',
  setup: 'work',
  copying: 'work',
  receiving: 'work',
  'catching-up': 'work',
  following: 'good',
  draining: 'work',
  finishing: 'work',
  done: 'good',
  stopped: 'none',
  failed: 'bad',
  gone: 'bad',
};

export function showStatus(status: RunStatus): void {
  showSide(byId('source'), status.source);
  showSide(byId('target'), status.target);
  setText(byId('directory'), status.directory);
  showHero(status);
  showWarnings(status);
  showPhases(status);
  showPositions(status);
  showSlot(status);
  const { copy } = status;
  byId('tables-card').hidden = copy === null;
  if (copy !== null) {
    const { tables, indexes } = copy;
    const pace = copy.bytesPerSecond === null ? '' : `, ${formatBytes(copy.bytesPerSecond)}/s`;
    setText(
      byId('tables-summary'),
      `${formatCount(tables.done)} of ${formatCount(tables.total)} tables, ${formatCount(indexes.done)} of ` +
        `${formatCount(indexes.total)} indexes, ${formatBytes(copy.copiedBytes)}${pace}`,
    );
  }
}

/** Database and host; the whole description is the element's title. */
function showSide(element: HTMLElement, description: string | null): void {
  const match = /^postgres(?:ql)?:\/\/(?:[^@/]*@)?([^/?]+)\/([^?]*)/.exec(description ?? '');
  element.title = description ?? '';
  setText(element, match === null ? (description ?? '') : `${match[2]} on ${match[1]}`);
}

let announced = '';

function showHero(status: RunStatus): void {
  const hero = byId('hero');
  hero.dataset['state'] = status.state;
  hero.dataset['tone'] = tones[status.state];
  setText(byId('state'), status.state.replace('-', ' '));
  // The state stands above the sentence already.
  const sentence = status.headline.replace(/^[^:]{1,16}: /, '');
  setText(byId('headline'), sentence.slice(0, 1).toUpperCase() + sentence.slice(1));
  document.title = `${status.headline} · walferry`;
  if (announced !== status.state) {
    announced = status.state;
    setText(byId('announce'), status.headline);
  }
  const { value, unit } = bigNumber(status);
  setText(byId('big-value'), value);
  setText(byId('big-unit'), unit);
  const ran =
    status.startedAtMs === null
      ? null
      : formatSeconds((status.heardAtMs ?? status.atMs) - status.startedAtMs);
  setText(byId('meta'), ran === null ? '' : `${status.command}, running for ${ran}, process ${status.pid}`);
  const progress = progressById('progress');
  progress.hidden = status.state !== 'copying' || status.copy === null;
  if (status.copy !== null) progress.value = sharePercent(status.copy.copiedBytes, status.copy.expectedBytes);
}

function bigNumber({ state, copy, stream }: RunStatus): { value: string; unit: string } {
  if (state === 'copying' && copy !== null) {
    return { value: String(sharePercent(copy.copiedBytes, copy.expectedBytes)), unit: '%' };
  }
  if (state === 'done') return { value: '✓', unit: '' };
  const lag = stream?.applied?.behindMs ?? stream?.written?.behindMs ?? null;
  if (lag === null) return { value: '–', unit: '' };
  const [value = '', ...unit] = formatSeconds(lag).split(' ');
  return { value, unit: unit.join(' ') };
}

function showWarnings({ warnings, state }: RunStatus): void {
  const list = byId('warnings');
  const key = JSON.stringify(warnings);
  list.dataset['tone'] = state === 'failed' || state === 'gone' ? 'bad' : 'warn';
  if (list.dataset['shown'] === key) return;
  list.dataset['shown'] = key;
  list.replaceChildren(...warnings.map((warning) => make('li', '', warning)));
}

const phaseNames: Readonly<Record<string, string>> = {
  slot: 'Stream set up',
  copy: 'Copy',
  drain: 'Follow',
  sequences: 'Sequences',
  finalize: 'Finalize',
};

function phaseOf({ phase }: RunStatus): string | null {
  switch (phase?.kind) {
    case 'setup':
      return 'slot';
    case 'copy':
    case 'sequences':
    case 'finalize':
      return phase.kind;
    case 'receive':
    case 'apply':
      return 'drain';
    case 'done':
    case 'stopped':
    case 'failed':
    case undefined:
      break;
  }
  return null;
}

function showPhases(status: RunStatus): void {
  const { stream, steps } = status;
  const names = stream === null ? ['copy', 'finalize'] : ['slot', 'copy', 'drain', 'sequences', 'finalize'];
  const now = phaseOf(status);
  const list = byId('phases');
  while (list.children.length < names.length) {
    const item = make('li');
    item.append(make('span', 'name'), make('span', 'when'));
    list.append(item);
  }
  while (list.children.length > names.length) list.lastElementChild?.remove();
  names.forEach((name, nth) => {
    const item = list.children[nth];
    if (!(item instanceof HTMLElement)) return;
    const step = steps.find((one) => one.name === name);
    const doneAtMs = step?.doneAtMs ?? null;
    const done = doneAtMs !== null || status.state === 'done';
    item.dataset['phase'] = name === now ? 'now' : done ? 'done' : 'next';
    if (name === now) item.setAttribute('aria-current', 'step');
    else item.removeAttribute('aria-current');
    const took = doneAtMs === null || step === undefined ? 0 : doneAtMs - step.startedAtMs;
    const [label, when] = [...item.children];
    if (label !== undefined) setText(label, phaseNames[name] ?? name);
    const ago = took < 50 ? 'done' : formatSeconds(took);
    if (when !== undefined) setText(when, name === now ? 'now' : done ? ago : '');
  });
}

function showPositions({ stream }: RunStatus): void {
  byId('positions-card').hidden = stream === null;
  if (stream === null) return;
  const rows: (readonly [string, string, string, string])[] = [['Source', stream.source ?? '–', '', '']];
  for (const name of ['written', 'durable', 'applied'] as const) {
    const position = stream[name];
    if (position === null) continue;
    rows.push([
      `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`,
      position.lsn,
      position.behindBytes === null ? '–' : formatBytes(position.behindBytes),
      position.behindMs === null ? '–' : formatSeconds(position.behindMs),
    ]);
  }
  if (stream.endpos !== null)
    rows.push(['End', stream.endpos, `${formatBytes(stream.toEndBytes ?? 0)} to go`, '']);
  const body = byId('positions');
  const key = JSON.stringify(rows);
  if (body.dataset['shown'] !== key) {
    body.dataset['shown'] = key;
    body.replaceChildren(
      ...rows.map(([name, lsn, bytes, time]) => {
        const row = make('tr');
        const head = make('th', '', name);
        head.scope = 'row';
        row.append(head, make('td', 'lsn', lsn), make('td', 'number', bytes), make('td', 'number', time));
        return row;
      }),
    );
  }
  const rate = (perSecond: number | null) => (perSecond === null ? '–' : `${formatBytes(perSecond)}/s`);
  setFacts(byId('rates'), [
    ['Source writes', rate(stream.rates.source)],
    ['Received', rate(stream.rates.received)],
    ['Applied', rate(stream.rates.applied)],
    ...(stream.journalBytes === null ? [] : [['Transform files', formatBytes(stream.journalBytes)] as const]),
  ]);
}

function showSlot({ slot }: RunStatus): void {
  byId('slot-card').hidden = slot === null;
  if (slot === null) return;
  const room = progressById('slot-room');
  const limit = slot.safeBytes === null ? null : slot.safeBytes + slot.retainedBytes;
  room.hidden = limit === null || limit === 0;
  if (limit !== null && limit > 0) room.value = Math.max(1, (slot.retainedBytes / limit) * 100);
  room.dataset['tone'] = slot.verdict === 'danger' || slot.verdict === 'lost' ? 'bad' : 'good';
  setFacts(byId('slot'), [
    ['Name', slot.name],
    ['WAL held back', formatBytes(slot.retainedBytes)],
    ['Room left', slot.safeBytes === null ? 'no limit set' : formatBytes(slot.safeBytes)],
    ['Status', slot.walStatus ?? 'reserves nothing'],
    ...(slot.safeBytes === null
      ? []
      : [
          [
            'At this pace',
            slot.secondsLeft === null ? 'does not run out' : `lost in ${formatAbout(slot.secondsLeft)}`,
          ] as const,
        ]),
  ]);
}

type Row = { readonly row: HTMLTableRowElement; readonly text: string };

const tableRows = new Map<number, Row>();
let shownTables: readonly TableStanding[] = [];

export function showTables(tables: readonly TableStanding[]): void {
  shownTables = tables;
  const wanted = inputById('filter').value.trim().toLowerCase();
  const body = byId('tables');
  // A column without a word in it only takes room.
  const inParts = tables.some(({ parts }) => parts.total > 1);
  byId('tables-list').dataset['parts'] = inParts ? 'some' : 'none';
  const visible = tables.filter(({ schema, name }) => `${schema}.${name}`.toLowerCase().includes(wanted));
  const rows = visible.map((table) => tableRow(table));
  const same = rows.length === body.children.length && rows.every((row, nth) => body.children[nth] === row);
  if (!same) body.replaceChildren(...rows);
}

/** What is typed into the filter holds at once. */
export function filterTables(): void {
  showTables(shownTables);
}

function tableRow(table: TableStanding): HTMLTableRowElement {
  const text = JSON.stringify(table);
  const known = tableRows.get(table.oid);
  if (known?.text === text) return known.row;
  const row = known?.row ?? emptyRow(table);
  const [, rows, size, parts, indexes] = [...row.children];
  const done = table.parts.done === table.parts.total;
  const all = done && table.indexes.done === table.indexes.total;
  const share = done ? 100 : sharePercent(table.copied, Math.max(table.size, 1));
  row.dataset['row'] = all ? 'done' : table.parts.running > 0 || done ? 'now' : 'waits';
  const bar = rows?.querySelector('progress');
  if (bar instanceof HTMLProgressElement) bar.value = share;
  const label = rows?.querySelector('span');
  if (label instanceof HTMLElement)
    setText(label, done ? '✓' : table.parts.running > 0 ? `${share} %` : 'waits');
  if (size !== undefined)
    setText(size, formatBytes(done ? table.copied : Math.max(table.size, table.copied)));
  if (parts !== undefined)
    setText(parts, table.parts.total > 1 ? `${table.parts.done}/${table.parts.total}` : '');
  if (indexes !== undefined) {
    setText(indexes, table.indexes.total === 0 ? '' : `${table.indexes.done}/${table.indexes.total}`);
  }
  tableRows.set(table.oid, { row, text });
  return row;
}

function emptyRow({ schema, name }: TableStanding): HTMLTableRowElement {
  const row = make('tr');
  const label = make('td', 'name');
  label.title = `${schema}.${name}`;
  label.append(make('span', 'schema', `${schema}.`), name);
  const rows = make('td', 'rows');
  const bar = make('div', 'bar');
  const progress = make('progress');
  progress.max = 100;
  progress.setAttribute('aria-label', `${schema}.${name}`);
  bar.append(progress, make('span'));
  rows.append(bar);
  row.append(label, rows, make('td', 'number'), make('td', 'number parts'), make('td', 'number indexes'));
  return row;
}

let lastLine = 0;
const linesShown = 300;

export function showLog(lines: readonly StoredLogLine[]): void {
  const list = byId('log');
  const box = list.parentElement;
  const atEnd = box === null || box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
  for (const { id, atMs, severity, message } of lines) {
    if (id <= lastLine) continue;
    lastLine = id;
    const item = make('li');
    item.dataset['severity'] = severity;
    const time = make('time', '', new Date(atMs).toLocaleTimeString([], { hourCycle: 'h23' }));
    time.dateTime = new Date(atMs).toISOString();
    item.append(time, make('span', '', message));
    list.append(item);
  }
  while (list.children.length > linesShown) list.firstElementChild?.remove();
  if (atEnd && box !== null) box.scrollTop = box.scrollHeight;
}
