/**
 * The tables that the target holds as a later snapshot saw them (DESIGN 7): transactions that the snapshot saw are in
 * the copy already, and are left out for that table. The others of the same transaction are applied as ever.
 */
import type { Lsn } from '../model/lsn.js';
import { zeroLsn } from '../model/lsn.js';
import type { SeenTransactions } from '../model/seen-transactions.js';
import { quoteQualified } from '../model/sql.js';
import type { TableName } from './target-table.js';

type Copied = { readonly seen: SeenTransactions; readonly lsn: Lsn };

export class CopiedLater {
  /** Behind the last transaction that any of the snapshots saw: from here on everything is applied. */
  readonly through: Lsn;
  readonly #byRelation: ReadonlyMap<string, Copied>;
  /** Asked for every change, by the object that the reader has of a relation: its name is put together once. */
  readonly #found = new WeakMap<TableName, SeenTransactions | 'all'>();

  constructor(byRelation: ReadonlyMap<string, Copied>) {
    this.#byRelation = byRelation;
    let through = zeroLsn;
    for (const { lsn } of byRelation.values()) if (lsn > through) through = lsn;
    this.through = through;
  }

  /** What the snapshot saw that the table was copied from; null where that was the slot's own, which saw nothing of the stream. */
  seenBy(relation: TableName): SeenTransactions | null {
    const known = this.#found.get(relation);
    if (known !== undefined) return known === 'all' ? null : known;
    const copied = this.#byRelation.get(quoteQualified(relation.schema, relation.name));
    this.#found.set(relation, copied?.seen ?? 'all');
    return copied?.seen ?? null;
  }
}
