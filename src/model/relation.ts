/**
 * A relation: a table as the stream describes it.
 */

/** What the source logs of the old row: its REPLICA IDENTITY. */
export type ReplicaIdentity = 'default' | 'nothing' | 'full' | 'index';

export type RelationColumn = {
  readonly name: string;
  /** The type's OID on the source; null when the plugin does not tell. Never used on the target. */
  readonly typeOid: number | null;
};

/**
 * A table as the stream describes it at one time. A relation that changes (DDL) is a new object: changes
 * point at the description they were written under.
 */
export type Relation = {
  readonly schema: string;
  readonly name: string;
  readonly identity: ReplicaIdentity;
  readonly columns: readonly RelationColumn[];
  /** Positions in `columns` of the replica identity; every column under FULL, none under NOTHING. */
  readonly key: readonly number[];
};

/** `schema.name`, quoted where needed, for messages to the operator. */
export function relationLabel(relation: { readonly schema: string; readonly name: string }): string {
  const part = (name: string) =>
    /^[a-z_][a-z0-9_$]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
  return `${part(relation.schema)}.${part(relation.name)}`;
}
