/**
 * The status on a terminal, as lines. Pure: the same status, samples and size give the same lines. Whoever shows them
 * is cli/screen.ts.
 */
import type { Sample } from '../catalog/run-status.js';
import type { TableStanding } from '../catalog/task-standings.js';
import {
  formatAbout,
  formatBytes,
  formatCount,
  formatSeconds,
  formatShare,
  sharePercent,
} from './page/format.js';
import type { RunStatus } from './status.js';

export type Paint = {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly accent: (text: string) => string;
};

const same = (text: string) => text;
export const noPaint: Paint = { bold: same, dim: same, good: same, bad: same, accent: same };

const escape = '\u001b[';
const wrap = (code: number) => (text: string) => (text === '' ? '' : `${escape}${code}m${text}${escape}0m`);
export const colours: Paint = {
  bold: wrap(1),
  dim: wrap(2),
  good: wrap(32),
  bad: wrap(31),
  accent: wrap(36),
};

export type Shown = {
  readonly status: RunStatus;
  readonly tables: readonly TableStanding[];
  readonly samples: readonly Sample[];
};

export type Size = { readonly columns: number; readonly rows: number };

/** Below this the picture is cut, not squeezed further. */
const narrowest = 40;

/** The screen: as many lines as there are rows at most, none wider than the terminal. */
export function renderScreen({ status, tables, samples }: Shown, size: Size, paint: Paint): string[] {
  const width = Math.max(narrowest, size.columns);
  const head = headLines(status, width, paint);
  const copy = copyLines(status, width, paint);
  const stream = streamLines(status, samples, width, paint);
  const foot = [paint.dim(fit('q quit', width))];
  const room = size.rows - head.length - copy.length - stream.length - foot.length;
  const listed = tableLines(status, tables, width, Math.max(0, room), paint);
  return [...head, ...copy, ...listed, ...stream]
    .slice(0, Math.max(1, size.rows - 1))
    .concat(foot)
    .slice(0, size.rows);
}

/** One line for a log: where nobody can see a screen. */
export function renderLine(status: RunStatus): string {
  const { stream, slot } = status;
  const parts = [status.headline];
  if (status.copy !== null && status.state === 'copying') {
    const { tables, indexes, bytesPerSecond } = status.copy;
    parts.push(`${tables.done}/${tables.total} tables, ${indexes.done}/${indexes.total} indexes`);
    if (bytesPerSecond !== null) parts.push(`${formatBytes(bytesPerSecond)}/s`);
  }
  const behind = stream?.applied?.behindBytes ?? null;
  if (behind !== null) parts.push(`${formatBytes(behind)} of WAL behind`);
  if (slot !== null) parts.push(`slot holds back ${formatBytes(slot.retainedBytes)}`);
  for (const warning of status.warnings) parts.push(`WARNING: ${warning}`);
  return parts.join(' | ');
}

function headLines(status: RunStatus, width: number, paint: Paint): string[] {
  const sides = `${status.source ?? '?'} → ${status.target ?? '?'}`;
  const bad = ['failed', 'gone'].includes(status.state);
  const colour = bad
    ? paint.bad
    : status.state === 'following' || status.state === 'done'
      ? paint.good
      : paint.accent;
  // A run that has ended, in whatever way, grows no older.
  const untilMs = status.heardAtMs ?? status.atMs;
  const since = status.startedAtMs === null ? '' : `${formatSeconds(untilMs - status.startedAtMs)}, `;
  const who = status.command === null ? '' : `${status.command} (${since}pid ${status.pid})`;
  return [
    paint.bold(fit(status.headline, width)).replace(/^([^:]+:)/, (state) => colour(state)),
    paint.dim(fit(sides, width)),
    ...(who === '' ? [] : [paint.dim(fit(who, width))]),
    ...status.warnings.flatMap((warning) => wrapText(`! ${warning}`, width).map((line) => paint.bad(line))),
    '',
  ];
}

function copyLines({ copy, state }: RunStatus, width: number, paint: Paint): string[] {
  if (copy === null) return [];
  const done = state !== 'copying' && copy.tables.done === copy.tables.total;
  if (done)
    return [
      paint.dim(
        fit(`copied   ${formatCount(copy.tables.total)} tables, ${formatBytes(copy.copiedBytes)}`, width),
      ),
      '',
    ];
  const share = formatShare(copy.copiedBytes, copy.expectedBytes);
  const rate = copy.bytesPerSecond === null ? '' : `, ${formatBytes(copy.bytesPerSecond)}/s`;
  const left = copy.secondsLeft === null ? '' : `, ${formatAbout(copy.secondsLeft)} left`;
  const about = `${formatBytes(copy.copiedBytes)} of about ${formatBytes(copy.expectedBytes)}${rate}${left}`;
  return [
    fit(
      `rows     ${bar(sharePercent(copy.copiedBytes, copy.expectedBytes), barWidth(width), paint)} ${share}`,
      width + 20,
    ),
    fit(`         ${about}`, width),
    fit(`tables   ${counts(copy.tables)}   indexes ${counts(copy.indexes)}`, width),
    '',
  ];
}

function counts({ done, total, running }: { done: number; total: number; running: number }): string {
  return `${formatCount(done)}/${formatCount(total)}${running === 0 ? '' : ` (${running} now)`}`;
}

/** The tables that are worked on, as many as there is room for. */
function tableLines(
  status: RunStatus,
  tables: readonly TableStanding[],
  width: number,
  room: number,
  paint: Paint,
): string[] {
  if (status.state !== 'copying' || room < 3) return [];
  const open = tables.filter(
    ({ parts, indexes }) => parts.done < parts.total || indexes.done < indexes.total,
  );
  const shown = open.slice(0, room - 2);
  const nameWidth = Math.max(12, Math.min(36, width - 34 - barWidth(width) / 2));
  const lines = shown.map((table) => {
    const share =
      table.parts.done === table.parts.total ? 100 : sharePercent(table.copied, Math.max(table.size, 1));
    const parts = table.parts.total > 1 ? ` ${table.parts.done}/${table.parts.total} parts` : '';
    const building =
      table.indexes.running > 0 ? ` index ${table.indexes.done + 1}/${table.indexes.total}` : '';
    const state = table.parts.running > 0 ? `${formatBytes(table.copied)}${parts}` : building.trim();
    const waits = state === '' ? 'waits' : state;
    const picture = bar(share, Math.max(6, Math.floor(barWidth(width) / 2)), paint);
    return `${fit(`${table.schema}.${table.name}`, nameWidth).padEnd(nameWidth)} ${picture} ${waits}`;
  });
  const more = open.length - shown.length;
  return [...lines, ...(more > 0 ? [paint.dim(`and ${formatCount(more)} more`)] : []), ''];
}

function streamLines(
  { stream, slot, state }: RunStatus,
  samples: readonly Sample[],
  width: number,
  paint: Paint,
): string[] {
  if (stream === null) return [];
  const row = (name: string, lsn: string | null, bytes: number | null, ms: number | null) =>
    fit(
      `${name.padEnd(9)}${(lsn ?? '-').padEnd(18)}${(bytes === null ? '-' : formatBytes(bytes)).padStart(9)}  ${ms === null ? '-' : formatSeconds(ms)}`,
      width,
    );
  const lags = samples.flatMap(({ lagMs }) => (lagMs === null ? [] : [lagMs]));
  const rate = (name: string, perSecond: number | null) =>
    perSecond === null ? '' : `${name} ${formatBytes(perSecond)}/s  `;
  const { rates } = stream;
  const rateText = `${rate('source', rates.source)}${rate('received', rates.received)}${rate('applied', rates.applied)}`;
  return [
    paint.dim(fit('position                      behind', width)),
    row('source', stream.source, null, null),
    ...(['written', 'durable', 'applied'] as const).map((name) =>
      row(name, stream[name]?.lsn ?? null, stream[name]?.behindBytes ?? null, stream[name]?.behindMs ?? null),
    ),
    ...(stream.endpos === null ? [] : [row('end', stream.endpos, stream.toEndBytes, null)]),
    ...(rateText === '' ? [] : [fit(`rates    ${rateText.trimEnd()}`, width)]),
    ...(lags.length < 2 || state === 'copying'
      ? []
      : [
          `lag      ${paint.accent(sparkline(lags, Math.min(60, width - 24)))} ${formatSeconds(Math.max(...lags))} at most`,
        ]),
    ...(slot === null ? [] : [fit(`slot     ${slotText(slot)}`, width)]),
    '',
  ];
}

function slotText(slot: NonNullable<RunStatus['slot']>): string {
  const held = `"${slot.name}" ${slot.walStatus ?? 'reserves nothing'}, holds back ${formatBytes(slot.retainedBytes)}`;
  if (slot.safeBytes === null) return `${held}, no limit`;
  const left = slot.secondsLeft === null ? '' : `, gone in ${formatAbout(slot.secondsLeft)}`;
  return `${held}, ${formatBytes(slot.safeBytes)} left${left}`;
}

const ticks = '▁▂▃▄▅▆▇█';

/** The last values, each the largest of its share of them, as high as it is against the largest of all. */
export function sparkline(values: readonly number[], width: number): string {
  const count = Math.max(1, Math.min(width, values.length));
  const buckets = Array.from({ length: count }, (_, nth) =>
    Math.max(
      ...values.slice(
        Math.floor((nth * values.length) / count),
        Math.max(
          Math.floor(((nth + 1) * values.length) / count),
          Math.floor((nth * values.length) / count) + 1,
        ),
      ),
    ),
  );
  const most = Math.max(...buckets);
  return buckets
    .map((value) => ticks[most <= 0 ? 0 : Math.min(7, Math.floor((value / most) * 7.999))])
    .join('');
}

function barWidth(width: number): number {
  return Math.max(10, Math.min(40, width - 30));
}

function bar(percent: number, width: number, paint: Paint): string {
  const full = Math.round((percent / 100) * width);
  return paint.accent('█'.repeat(full)) + paint.dim('░'.repeat(width - full));
}

/** Cut to the width; characters, not UTF-16 units. */
function fit(text: string, width: number): string {
  const letters = Array.from(text);
  return letters.length <= width ? text : `${letters.slice(0, Math.max(0, width - 1)).join('')}…`;
}

function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = `  ${word}`;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map((one) => fit(one, width));
}
