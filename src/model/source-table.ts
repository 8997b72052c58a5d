/**
 * A table as the source's catalog describes it, for plugins whose stream does not: wal2json and test_decoding print
 * names and values, but not which columns identify a row, which are generated, or which were left out.
 */
import type { ReplicaIdentity } from './relation.js';
import type { SeenTransactions } from './seen-transactions.js';

export type SourceColumn = {
  readonly name: string;
  readonly typeOid: number;
  /** Computed by the server: never part of a row. */
  readonly generated: boolean;
  /** Whether its values have a variable length: only such a value may be stored out of line and left unsent. */
  readonly variable: boolean;
};

export type SourceTable = {
  /** What stays when the table is renamed. */
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly identity: ReplicaIdentity;
  /** All columns in the catalog's order, generated ones included. */
  readonly columns: readonly SourceColumn[];
  /** Names of the columns that identify a row under `default` and `index`; empty where nothing does. */
  readonly key: readonly string[];
  /** Columns that the identity's index only includes (INCLUDE): wal2json prints them beside the key. */
  readonly included: readonly string[];
};

/** What is known of the source's tables on one connection. */
export type SourceTables = {
  /** The tables that are followed, as they were when the slot was made: the target was copied from these. */
  readonly followed: readonly SourceTable[];
  /** Every table of the database now, followed or not. */
  readonly now: readonly SourceTable[];
  /** What `now` is up to date with. */
  readonly seen: SeenTransactions;
};
