/** What `compare data` prints: the peer's table and JSON (reference 12.2), with what differs added. Pure. */
import { relationLabel } from '../model/relation.js';
import { rowLines, type DataComparison, type TableComparison } from './comparison.js';

const noTable = '(no such table)';
const notCompared = '(not compared)';

/**
 * The table: `!` marks a difference, `?` a table that is not known to be equal, `+` one that only the target has.
 */
export function comparisonTable(comparison: DataComparison): string {
  const row = (name: string, mark: string, source: string, target: string) =>
    `${name.padStart(30)} | ${mark} | ${source.padStart(64)} | ${target.padStart(64)}\n`;
  const dashes = [31, 3, 66, 65].map((width) => '-'.repeat(width)).join('+');
  const label = (table: { readonly schema: string; readonly name: string }) =>
    `${comparison.database}.${relationLabel(table)}`;
  const side = (table: TableComparison, contents: TableComparison['source'], missing: string) =>
    contents?.checksum ?? (table.difference?.kind === 'missing' ? missing : notCompared);
  return [
    row('Table Name', '!', 'Source Checksum', 'Target Checksum'),
    `${dashes}\n`,
    ...comparison.tables.map((table) =>
      row(
        label(table),
        markOf(table),
        side(table, table.source, notCompared),
        side(table, table.target, noTable),
      ),
    ),
    ...comparison.onlyOnTarget.map((table) => row(label(table), '+', noTable, notCompared)),
    '\n',
    ...comparison.tables.flatMap((table) =>
      table.rows === undefined ? [] : [rowsText(label(table), table.rows)],
    ),
  ].join('');
}

function markOf({ difference }: TableComparison): string {
  if (difference === null) return ' ';
  return difference.kind === 'undecided' ? '?' : '!';
}

/** The differing rows of a table, one a line. */
function rowsText(label: string, rows: NonNullable<TableComparison['rows']>): string {
  return `${label}\n${rowLines(rows)
    .map((line) => `    ${line}\n`)
    .join('')}\n`;
}

/**
 * The peer's array of `{schema, name, source, target}`, each side `{rowcount, checksum}`. A side that was not read is
 * null; `difference` names what differs, `only-on-target` for a table that is no difference but worth knowing.
 */
export function comparisonJson(comparison: DataComparison): string {
  return `${JSON.stringify(tablesJson(comparison), null, 2)}\n`;
}

/** Of several databases: `{database, tables}` each, the tables as those of one. */
export function allComparisonsJson(comparisons: readonly DataComparison[]): string {
  const databases = comparisons.map((one) => ({ database: one.database, tables: tablesJson(one) }));
  return `${JSON.stringify(databases, null, 2)}\n`;
}

function tablesJson(comparison: DataComparison): unknown[] {
  const contents = (side: TableComparison['source']) =>
    side === null ? null : { rowcount: Number(side.rows), checksum: side.checksum };
  return [
    ...comparison.tables.map(({ schema, name, source, target, difference, rows, moving }) => ({
      schema,
      name,
      source: contents(source),
      target: contents(target),
      difference: difference?.kind ?? null,
      ...(rows === undefined ? {} : { rows }),
      ...(moving === undefined ? {} : { changing: moving.changing }),
    })),
    ...comparison.onlyOnTarget.map(({ schema, name }) => ({
      schema,
      name,
      source: null,
      target: null,
      difference: 'only-on-target',
    })),
  ];
}
