/**
 * The words of the filter file, and what it is resolved to: what the rooms that ask a server, decide and remember
 * share. The file is read in filter/parse.ts, decided in filter/decide.ts.
 */

/** The sections of a filter file, in the order in which they are documented and recorded. */
export const filterSections = [
  'include-only-schema',
  'exclude-schema',
  'include-only-table',
  'exclude-table',
  'exclude-table-data',
  'exclude-index',
  'include-only-extension',
  'exclude-extension',
] as const;
export type FilterSection = (typeof filterSections)[number];

/** A name as the catalog has it, or a POSIX regular expression that the server matches: case sensitive, unanchored. */
export type NameMatch =
  | { readonly kind: 'exact'; readonly name: string }
  | { readonly kind: 'pattern'; readonly pattern: string };

/** One entry of a filter file. */
export type FilterRule = {
  readonly section: FilterSection;
  readonly line: number;
  /** The entry as it was written. */
  readonly entry: string;
  /** Null for an extension, which is in no schema as far as its name goes. */
  readonly schema: NameMatch | null;
  /** The half behind the dot, or the extension; null for a schema. */
  readonly name: NameMatch | null;
};

/** What of the source the rules speak about. `view`s are left out with what they read, or where one is named. */
export type FilterRelation = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: 'table' | 'partitioned' | 'materialized' | 'foreign' | 'view';
  /** For a partition, its parent. */
  readonly partitionOf: number | null;
};

export type FilterSequence = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** The table that owns it, by OWNED BY or as an identity. */
  readonly owner: number | null;
  /** Tables with a column default that reads it. */
  readonly usedBy: readonly number[];
};

export type FilterIndex = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** The constraint that it is made for. */
  readonly constraintOid: number | null;
  readonly table: number;
  /** The partitioned indexes that it is a part of, and that are not valid without it. */
  readonly above: readonly number[];
};

/** What the source holds, as far as the rules need it, and what of it each rule matches (OIDs, by its position). */
export type FilterFacts = {
  readonly schemas: readonly { readonly oid: number; readonly name: string }[];
  readonly relations: readonly FilterRelation[];
  readonly sequences: readonly FilterSequence[];
  readonly extensions: readonly { readonly oid: number; readonly name: string; readonly schema: string }[];
  readonly matches: ReadonlyMap<number, readonly number[]>;
  /** The indexes that rules match. */
  readonly indexes: readonly FilterIndex[];
};

/** A row of a system catalog. */
export type CatalogObject = { readonly classOid: number; readonly oid: number };

/** What Postgres calls an object: `view`, `public.v`. */
export type ObjectName = { readonly type: string; readonly identity: string };

/** `object` cannot exist without `needs`. */
export type Dependency = {
  readonly object: CatalogObject;
  readonly needs: CatalogObject;
  /** It is a part of what it needs (a column's default, a table's index), not something of its own. */
  readonly part: boolean;
  /**
   * What is created by the same statement, for a column's default, a CHECK constraint and the like: a table or a
   * domain; null for everything else.
   */
  readonly inside: CatalogObject | null;
};

/**
 * The filter as a run remembers it, by names: what other processes of the run, without the file, need to know. Tables
 * that are made later are judged by `onlyTables` and the schemas.
 */
export type FilterScope = {
  /** Tables whose rows are not copied and whose changes are not followed. */
  readonly withoutRows: readonly (readonly [schema: string, name: string])[];
  /** With [include-only-table]: the tables whose rows are copied. */
  readonly onlyTables: readonly (readonly [schema: string, name: string])[] | null;
  readonly onlySchemas: readonly string[] | null;
  readonly excludedSchemas: readonly string[];
  /** Sequences that are left out. */
  readonly sequences: readonly (readonly [schema: string, name: string])[];
};
