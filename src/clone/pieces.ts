/**
 * In what pieces rows are copied: a large table in its parts, small tables together, everything else as it is. Those
 * after which the most is done come first, the table's indexes included, since what begins last would be waited for
 * alone. Whoever is free takes the next one, so that the parts of a table are worked on by all. Pure.
 */
import type { PartPlan, TablePlan } from './plan.js';

/** Parts that are copied in one transaction. */
export type CopyPiece = { readonly parts: readonly { readonly table: TablePlan; readonly part: PartPlan }[] };

/** Below this size a table's own transaction and round trips cost more than its rows. */
const smallBytes = 256 * 1024;

/** So many are lost, and copied one by one, when one of them cannot be copied; and so many locks are held. */
const togetherAtMost = 50;

/** Pieces per worker of small tables: fewer would leave workers without work at the end. */
const piecesPerWorker = 4;

export function planPieces(
  left: ReadonlyMap<TablePlan, readonly PartPlan[]>,
  workers: number,
): readonly CopyPiece[] {
  const singles: { table: TablePlan; part: PartPlan }[] = [];
  const small: { table: TablePlan; part: PartPlan }[] = [];
  for (const [table, parts] of left) {
    for (const part of parts) {
      const isSmall = part.condition === null && part.bytes <= smallBytes;
      (isSmall ? small : singles).push({ table, part });
    }
  }
  singles.sort((a, b) => costOf(b) - costOf(a));
  small.sort((a, b) => b.part.bytes - a.part.bytes);
  const together = Math.min(togetherAtMost, Math.ceil(small.length / (workers * piecesPerWorker)));
  const pieces: CopyPiece[] = singles.map((one) => ({ parts: [one] }));
  for (let from = 0; from < small.length; from += together) {
    pieces.push({ parts: small.slice(from, from + together) });
  }
  return pieces;
}

/** Of a part its own rows, and its share of what its table's indexes take. */
function costOf({ table, part }: { readonly table: TablePlan; readonly part: PartPlan }): number {
  const indexes = table.indexes.reduce((total, { cost }) => total + cost, 0);
  return part.bytes + indexes / table.parts.length;
}
