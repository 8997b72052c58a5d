import type { Relation } from './relation.js';
import type { Key, Row } from './row.js';

/** One insert, as the stream gives it. */
export type Insert = { readonly kind: 'insert'; readonly relation: Relation; readonly row: Row };

/**
 * One update. `key` is the identity the row had before, when the source sent it (the key changed, or REPLICA
 * IDENTITY FULL); null means that the identity did not change and stands in `row`.
 */
export type Update = {
  readonly kind: 'update';
  readonly relation: Relation;
  readonly key: Key | null;
  readonly row: Row;
};

/** One delete; `key` is the identity of the row that went. */
export type Delete = { readonly kind: 'delete'; readonly relation: Relation; readonly key: Key };

/**
 * One TRUNCATE of one or more tables. `cascade` is what the user wrote; it is never replayed, because the list
 * already names every table it reached. `restartIdentity` is null when the plugin does not tell (wal2json).
 */
export type Truncate = {
  readonly kind: 'truncate';
  readonly relations: readonly Relation[];
  readonly restartIdentity: boolean | null;
  readonly cascade: boolean | null;
};

export type Change = Insert | Update | Delete | Truncate;
