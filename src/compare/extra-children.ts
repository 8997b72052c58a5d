/**
 * Partitions and inheriting tables that only the target has, of a table that both sides have: whoever reads that one
 * sees their rows, which the source lacks.
 */
import { relationLabel } from '../model/relation.js';
import { quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { ComparisonPlan, TableComparison } from './comparison.js';

/** Those that hold rows, as differences. */
export async function compareExtraChildren(
  target: Session,
  { extraChildren }: Pick<ComparisonPlan, 'extraChildren'>,
): Promise<TableComparison[]> {
  const differing: TableComparison[] = [];
  for (const { schema, name } of extraChildren) {
    const count = `select count(*)::text as rows from only ${quoteQualified(schema, name)}`;
    const [row] = await target.query(count, [], `could not read ${relationLabel({ schema, name })}`);
    const rows = BigInt(row?.['rows'] ?? 0);
    if (rows === 0n) continue;
    differing.push({
      schema,
      name,
      source: { rows: 0n, checksum: '' },
      target: { rows, checksum: '' },
      difference: { kind: 'rows' },
      rows: { key: null, missing: 0, extra: Number(rows), different: 0, complete: true, shown: [] },
    });
  }
  return differing;
}

/** Told as a difference, such a table is not told as one that only the target has. */
export function withoutDiffering(
  { onlyOnTarget }: Pick<ComparisonPlan, 'onlyOnTarget'>,
  differing: readonly TableComparison[],
): ComparisonPlan['onlyOnTarget'] {
  const labels = new Set(differing.map(relationLabel));
  return onlyOnTarget.filter((table) => !labels.has(relationLabel(table)));
}
