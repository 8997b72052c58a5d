/** What `clone --plan` prints. Pure. */
import type { CloneDescription } from '../clone/describe.js';
import { relationLabel } from '../model/relation.js';
import { columns, prettySize } from './output.js';

/** Two tables, what is copied and what is not, and a sentence that sums them up. */
export function planText(plan: CloneDescription): string {
  const copied = plan.tables.filter((table) => table.parts > 0);
  const rowless = plan.tables.length - copied.length;
  const parts = copied.reduce((total, table) => total + table.parts, 0);
  const tables = columns(
    ['OID', 'Schema', 'Name', 'Parts', 'On-disk size', 'Est. Row Count', 'Indexes', 'Rule'],
    plan.tables.map((table) => [
      String(table.oid),
      table.schema,
      table.name,
      table.parts === 0 ? 'no rows' : String(table.parts),
      prettySize(table.bytes),
      String(table.estimatedRows),
      String(table.indexes),
      table.rule ?? '',
    ]),
  );
  const inPart = columns(
    ['Copied in part', 'Columns', 'Rows where'],
    plan.tables.flatMap(({ schema, name, part }) =>
      part === null || (part.columns === null && part.rowFilter === null)
        ? []
        : [[relationLabel({ schema, name }), part.columns?.join(', ') ?? 'all', part.rowFilter ?? 'all']],
    ),
  );
  const leftOut = columns(
    ['Kind', 'Left out', 'On-disk size', 'Rule'],
    plan.leftOut.map((one) => [
      one.kind,
      one.name,
      one.bytes === null ? '' : prettySize(one.bytes),
      one.rule,
    ]),
  );
  const sum = [
    `${copied.length} tables in ${parts} parts (${prettySize(plan.bytes)})`,
    `${rowless} tables without their rows`,
    `${plan.indexes} indexes`,
    `${plan.foreignKeys} foreign keys`,
  ].join(', ');
  return [
    `\n${tables}\n`,
    plan.tables.some(({ part }) => part !== null && (part.columns ?? part.rowFilter) !== null)
      ? `${inPart}\n`
      : '',
    plan.leftOut.length === 0 ? '' : `${leftOut}\n`,
    ...plan.remarks.map((remark) => `${remark}\n`),
    `To be copied from ${plan.database}: ${sum}; ${plan.leftOut.length} objects are left out.\n`,
    'Nothing was done.\n',
  ].join('');
}

/** The same as JSON, with names as the list commands have them. */
export function planJson(plan: CloneDescription): string {
  return `${JSON.stringify(
    {
      database: plan.database,
      bytes: plan.bytes,
      'bytes-pretty': prettySize(plan.bytes),
      indexes: plan.indexes,
      'foreign-keys': plan.foreignKeys,
      tables: plan.tables.map((table) => ({
        oid: table.oid,
        schema: table.schema,
        name: table.name,
        reltuples: table.estimatedRows,
        bytes: table.bytes,
        'bytes-pretty': prettySize(table.bytes),
        'exclude-data': table.parts === 0,
        parts: table.parts,
        indexes: table.indexes,
        rule: table.rule,
        columns: table.part?.columns ?? null,
        'row-filter': table.part?.rowFilter ?? null,
      })),
      'left-out': plan.leftOut.map(({ kind, name, bytes, rule }) => ({ kind, name, bytes, rule })),
      remarks: plan.remarks,
    },
    null,
    2,
  )}\n`;
}
