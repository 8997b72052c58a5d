/** What a schema is made of: the kinds of objects, and one object with its properties as text. */

/** The kinds of objects, in the order in which they are told. */
export const objectKinds = [
  'schema',
  'extension',
  'collation',
  'type',
  'domain',
  'function',
  'procedure',
  'aggregate',
  'access method',
  'operator',
  'cast',
  'language',
  'transform',
  'conversion',
  'text search',
  'foreign-data wrapper',
  'server',
  'user mapping',
  'sequence',
  'table',
  'foreign table',
  'view',
  'materialized view',
  'constraint',
  'index',
  'statistics',
  'trigger',
  'rule',
  'policy',
  'event trigger',
  'default privileges',
] as const;
export type ObjectKind = (typeof objectKinds)[number];

/** A property of extensions that tells of the server, and is not compared: the version that CREATE EXTENSION takes. */
export const offeredVersion = 'offered version';

/** An object of one side. */
export type SchemaObject = {
  readonly kind: ObjectKind;
  /** The row of a system catalog that it is, for filters. */
  readonly classOid: number;
  readonly oid: number;
  /** Null where it is in no schema. */
  readonly schema: string | null;
  /** What names it among those of its kind, for people too: `public.t`, `public.t: t_pkey`. */
  readonly identity: string;
  /** By name; what is absent or null on both sides is equal. */
  readonly properties: Readonly<Record<string, string | null>>;
};

/** What is read beside the definitions. */
export type ObjectScope = {
  readonly comments: boolean;
  readonly owners: boolean;
  readonly acls: boolean;
  /** Where sequences stand. */
  readonly sequenceValues: boolean;
};
