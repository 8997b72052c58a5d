/** Where to cut a table by a column: quantiles of a sample of its blocks. */
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { ListedTable } from './comparison.js';
import type { CutOrder } from './pieces.js';

// Enough blocks that a piece's size is off by a few percent, and never a handful only.
const sampledPagesAtLeast = 400;
const sampledPagesPerPiece = 20;

/** Ascending, distinct values between which about equally many rows lie. */
export async function fetchBounds(
  source: Session,
  table: ListedTable,
  { column }: CutOrder,
  pieces: number,
): Promise<string[]> {
  const fractions = Array.from({ length: pieces - 1 }, (_, index) => (index + 1) / pieces);
  const wanted = Math.max(sampledPagesAtLeast, sampledPagesPerPiece * pieces);
  const percent = Math.min(100, Math.max(0.0001, (100 * wanted) / Math.max(table.pages, 1)));
  const rows = await source.query(
    `select bound::text from (
       select distinct pg_catalog.unnest(pg_catalog.percentile_disc($1::float8[])
         within group (order by t.${quoteIdentifier(column)})) as bound
       from only ${quoteQualified(table.schema, table.name)} as t tablesample system (${percent}) repeatable (1)) as b
     where bound is not null order by b.bound`,
    [`{${fractions.join(',')}}`],
    `could not look for the bounds of the pieces of ${relationLabel(table)}`,
  );
  return rows.flatMap((row) => row['bound'] ?? []);
}
