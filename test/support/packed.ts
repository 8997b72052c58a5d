/** Changes with packed rows (packed-row.ts), for tests that make their changes by hand, and their equality. */
import type { Change } from '../../src/model/change.js';
import { packedInsert, packedUpdate, isPackable, packedOf } from '../../src/model/packed-row.js';

/** The change as the stream would mostly bring it: its row packed, where it can be. */
export function asPacked(change: Change): Change {
  if (change.kind !== 'insert' && change.kind !== 'update') return change;
  const { relation, row } = change;
  if (change.kind === 'update' && change.key !== null) return change;
  const cells = row.map((cell) => (cell === null ? '\\N' : cell));
  const fits = row.every(
    (cell) => cell === null || (typeof cell === 'string' && [...Buffer.from(cell)].every(isPackable)),
  );
  if (!fits || row.length === 0 || Buffer.from(cells.join('')).includes('\ufffd')) return change;
  // Not at the buffer's beginning, and not up to its end.
  const bytes = Buffer.from(`before\t${cells.join('\t')}\tbehind`);
  const packed = { bytes, start: 'before\t'.length, end: bytes.length - '\tbehind'.length };
  return change.kind === 'insert' ? packedInsert(relation, packed) : packedUpdate(relation, packed);
}

/** The change without anything packed. */
export function asCells(change: Change): Change {
  if ((change.kind !== 'insert' && change.kind !== 'update') || packedOf(change) === undefined) return change;
  const { relation, row } = change;
  return change.kind === 'insert'
    ? { kind: 'insert', relation, row }
    : { kind: 'update', relation, key: change.key, row };
}
