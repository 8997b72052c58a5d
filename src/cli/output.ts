/**
 * What commands print on stdout for people: sizes, durations, and the two tables at the end of a clone (reference
 * 8.1 and 8.2). Pure.
 */
import { prettySize } from '../model/size.js';
import { printable } from './printable.js';

export { prettySize };

/** A duration in at most two units; the first number is at least two wide (a millisecond's three). */
export function prettyDuration(ms: number): string {
  const whole = Math.max(0, Math.floor(ms));
  const wide = (value: number) => String(value).padStart(2, ' ');
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole < 1000) return `${String(whole).padStart(3, ' ')}ms`;
  const seconds = Math.floor(whole / 1000);
  if (seconds < 10) return `${wide(seconds)}s${String(whole % 1000).padStart(3, '0')}`;
  if (seconds < 60) return `${wide(seconds)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${wide(minutes)}m${two(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${wide(hours)}h${two(minutes % 60)}m`;
  return `${wide(Math.floor(hours / 24))}d${two(hours % 24)}h`;
}

/** One table of a clone. */
export type TableSummary = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** 1 when it was copied in one piece. */
  readonly parts: number;
  readonly copyMs: number;
  readonly bytes: number;
  readonly indexes: number;
  readonly indexMs: number;
};

/** One step of a clone. */
export type StepSummary = {
  readonly step: string;
  /** Null where nothing was done. */
  readonly connection: 'source' | 'target' | 'both' | null;
  readonly durationMs: number;
  /** 0 where nothing is transferred. */
  readonly bytes: number;
  readonly concurrency: number;
};

/** Right-aligned columns under a header, as every list of the peer prints them. Ends with a newline. */
export function columns(header: readonly string[], cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map(printable));
  const widths = header.map((title, index) =>
    Math.max(title.length, ...rows.map((row) => width(row[index] ?? ''))),
  );
  const line = (row: readonly string[]) =>
    row.map((cell, index) => ' '.repeat((widths[index] ?? 0) - width(cell)) + cell).join(' | ');
  const dashes = widths.map((size) => '-'.repeat(size)).join('-+-');
  return [`${line(header)} `, dashes, ...rows.map(line)].join('\n') + '\n';
}

/** Characters, not UTF-16 units: names may hold any. */
function width(text: string): number {
  return Array.from(text).length;
}

/** The table of tables at the end of a clone, by OID. */
export function tablesSummary(tables: readonly TableSummary[]): string {
  return columns(tableHeader, tableRows(tables));
}

const tableHeader = [
  'OID',
  'Schema',
  'Name',
  'Parts',
  'copy duration',
  'transmitted bytes',
  'indexes',
  'create index',
];

function tableRows(tables: readonly TableSummary[]): string[][] {
  return tables
    .toSorted((a, b) => a.oid - b.oid)
    .map((table) => [
      String(table.oid),
      table.schema,
      table.name,
      String(table.parts),
      prettyDuration(table.copyMs).trimStart(),
      prettySize(table.bytes),
      String(table.indexes),
      prettyDuration(table.indexMs).trimStart(),
    ]);
}

const stepDashes = stepRow('-'.repeat(50), '-'.repeat(10), '-'.repeat(10), '-'.repeat(10), '-'.repeat(12));

function stepRow(
  step: string,
  connection: string,
  duration: string,
  transfer: string,
  concurrency: string,
): string {
  const cells = [
    connection.padStart(10),
    duration.padStart(10),
    transfer.padStart(10),
    concurrency.padStart(12),
  ];
  return ` ${step.padStart(50)}   ${cells.join('  ')}\n`;
}

/** The table of steps; the last one is the total and stands below a line. */
export function stepsSummary(steps: readonly StepSummary[]): string {
  const row = (step: StepSummary) =>
    stepRow(
      step.step,
      step.connection ?? '(null)',
      prettyDuration(step.durationMs),
      step.bytes === 0 ? '' : prettySize(step.bytes),
      String(step.concurrency),
    );
  return [
    stepRow('Step', 'Connection', 'Duration', 'Transfer', 'Concurrency'),
    stepDashes,
    ...steps.slice(0, -1).map(row),
    stepDashes,
    ...steps.slice(-1).map(row),
  ].join('');
}

/** Everything that a clone prints at its end: empty line, tables, two empty lines, steps, empty line. */
export function cloneSummary(tables: readonly TableSummary[], steps: readonly StepSummary[]): string {
  return `\n${tablesSummary(tables)}\n\n${stepsSummary(steps)}\n`;
}

/** What a clone of all databases prints: one table of tables with a column Database, and the steps of all together. */
export function allDatabasesSummary(
  databases: readonly {
    readonly database: string;
    readonly summary: {
      readonly tables: readonly TableSummary[];
      readonly steps: readonly StepSummary[];
    };
  }[],
): string {
  const rows = databases.flatMap(({ database, summary }) =>
    tableRows(summary.tables).map((row) => [database, ...row]),
  );
  const steps = new Map<string, StepSummary>();
  for (const step of databases.flatMap(({ summary }) => summary.steps)) {
    const sum = steps.get(step.step);
    if (sum === undefined) steps.set(step.step, step);
    else {
      steps.set(step.step, {
        step: step.step,
        connection: sum.connection ?? step.connection,
        durationMs: sum.durationMs + step.durationMs,
        bytes: sum.bytes + step.bytes,
        concurrency: Math.max(sum.concurrency, step.concurrency),
      });
    }
  }
  return `\n${columns(['Database', ...tableHeader], rows)}\n\n${stepsSummary([...steps.values()])}\n`;
}
