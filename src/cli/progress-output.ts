/** What `list progress` prints (reference 13.2, 13.3). Pure. */
import type { CloneJobs } from '../clone/options.js';
import type { CloneStanding, CopyPace, TaskCounts, TaskInProgress } from '../monitor/clone-progress.js';
import { prettyDuration, prettySize } from './output.js';

/** Three counts a row, all columns 12 wide. */
export function progressText({ tables, indexes, bytes }: CloneStanding): string {
  const row = (title: string, cells: readonly string[]) =>
    `${title.padStart(12)} | ${cells.map((cell) => cell.padStart(12)).join(' | ')}\n`;
  const counts = ({ total, done, inProgress }: TaskCounts) => [total, inProgress.length, done].map(String);
  return [
    row('', ['Total Count', 'In Progress', 'Done']),
    `${Array.from({ length: 4 }, () => '-'.repeat(12)).join('-+-')}\n`,
    row('Tables', counts(tables)),
    row('Indexes', counts(indexes)),
    row('Bytes', [bytes.total, bytes.inProgress, bytes.done].map(prettySize)),
  ].join('');
}

/** One line: how fast, and until when; null while no table arrives. */
export function paceText({ bytesPerSecond, secondsLeft }: CopyPace): string | null {
  if (secondsLeft === null) return null;
  const left = prettyDuration(secondsLeft * 1000).trim();
  return `copying ${prettySize(Math.round(bytesPerSecond))}/s, about ${left} left`;
}

/** The peer's object, and the pace; `nowMs` is what rates are reckoned by. */
export function progressJson(
  standing: CloneStanding,
  pace: CopyPace,
  jobs: CloneJobs,
  nowMs: number,
): string {
  const { tables, indexes, bytes } = standing;
  const counts = ({ total, done, inProgress }: TaskCounts, item: (task: TaskInProgress) => object) => ({
    total,
    done,
    'in-progress': inProgress.map(item),
  });
  const pretty = (name: string, value: number) => ({ [name]: value, [`${name}-pretty`]: prettySize(value) });
  const object = {
    'table-jobs': jobs.table,
    'index-jobs': jobs.index,
    tables: counts(tables, ({ relation, startedAt, bytes: sent }) => ({
      oid: relation.oid,
      schema: relation.schema,
      name: relation.name,
      reltuples: relation.estimatedRows,
      ...pretty('bytes', relation.bytes),
      process: { 'start-time-epoch': epoch(startedAt), 'start-time-string': startedAt },
      network: {
        ...pretty('bytes', sent),
        'transmit-rate': transmitRate(sent, nowMs - Date.parse(startedAt)),
      },
    })),
    indexes: counts(indexes, ({ object: name, relation, startedAt }) => ({
      name,
      table: { oid: relation.oid, schema: relation.schema, name: relation.name },
      process: { 'start-time-epoch': epoch(startedAt), 'start-time-string': startedAt },
    })),
    bytes: {
      ...pretty('total', bytes.total),
      ...pretty('done', bytes.done),
      ...pretty('in-progress', bytes.inProgress),
      'transmit-rate': transmitRate(pace.bytesPerSecond, 1000),
      'seconds-left': pace.secondsLeft === null ? null : Math.round(pace.secondsLeft),
    },
  };
  return `${JSON.stringify(object, null, 4)}\n`;
}

function epoch(iso: string): number {
  return Math.floor(Date.parse(iso) / 1000);
}

/** Bits per second in powers of 1000, as the peer prints them. */
export function transmitRate(bytes: number, durationMs: number): string {
  const units = ['Bit/s', 'kBit/s', 'MBit/s', 'GBit/s'];
  let rate = durationMs > 0 ? (bytes * 8 * 1000) / durationMs : 0;
  let unit = 0;
  while (rate >= 10_000 && unit < units.length - 1) {
    rate /= 1000;
    unit += 1;
  }
  return `${Math.round(rate)} ${units[unit]}`;
}
