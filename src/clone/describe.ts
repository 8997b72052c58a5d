/**
 * What a clone would do, said before it does anything: reads the source's catalogs in one transaction that is read
 * only, and writes nowhere.
 */
import type { ObjectFilter } from '../filter/decide.js';
import type { FilterFile } from '../filter/parse.js';
import type { Log } from '../log.js';
import { partsByName, type PublishedPart } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';
import type { FilterRelation } from '../model/object-filter.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { fetchObjectNames } from '../postgres/filter-facts.js';
import { fetchPublicationParts } from '../postgres/published-parts.js';
import { fetchSourceSchema, type SourceSchema, type TableFacts } from '../postgres/schema.js';
import type { Session } from '../postgres/connect.js';
import type { SplitOptions } from '../postgres/table-splits.js';
import { expectKeysHold, filterSchema, resolveOnSource, tablesWithoutRows } from './filtered-schema.js';
import { planClone } from './plan.js';
import { expectKeysHoldInParts } from './published-keys.js';
import { withSplits } from './split-schema.js';
import { openInSnapshot, openSource } from './sessions.js';

export type DescribeOptions = {
  readonly source: Conninfo;
  /** A snapshot that somebody holds; null: the source as it is now. */
  readonly snapshot: string | null;
  readonly filters: FilterFile | null;
  /** Made by somebody else, and to be followed: what it does not carry of its tables is not copied. */
  readonly publication?: string | null | undefined;
  readonly split?: SplitOptions | null | undefined;
  readonly estimateTableSizes?: boolean | undefined;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
};

/** A table that is made on the target. */
export type PlannedTable = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** On the source's disk, without indexes. */
  readonly bytes: number;
  /** -1 when the source never analysed it. */
  readonly estimatedRows: number;
  /** In how many parts its rows are copied; 0 where they are not. */
  readonly parts: number;
  readonly indexes: number;
  /** Why it is copied, or why its rows are not; null where no rule speaks of it. */
  readonly rule: string | null;
  /** What of it a publication carries, where that is not all; null: the whole table. */
  readonly part: Pick<PublishedPart, 'columns' | 'rowFilter'> | null;
};

/** Something that is not made on the target. */
export type LeftOutObject = {
  /** `table`, `schema`, … */
  readonly kind: string;
  /** As SQL writes it. */
  readonly name: string;
  /** On the source's disk; null where it has no rows. */
  readonly bytes: number | null;
  readonly rule: string;
};

export type CloneDescription = {
  readonly database: string;
  /** In the order in which they are copied: those with the most to be done first, indexes included. */
  readonly tables: readonly PlannedTable[];
  readonly indexes: number;
  readonly foreignKeys: number;
  /** Of the tables whose rows are copied. */
  readonly bytes: number;
  readonly leftOut: readonly LeftOutObject[];
  /** Sentences about what is not copied for other reasons. */
  readonly remarks: readonly string[];
};

/** Describes the clone. Throws what the clone would throw before its first row: `usage`, `filter-mismatch`. */
export async function describeClone(options: DescribeOptions): Promise<CloneDescription> {
  const { source, snapshot, filters, log } = options;
  await using session =
    snapshot === null
      ? await openSource(source, 'plan', options)
      : await openInSnapshot(source, snapshot, 'plan', options);
  if (snapshot === null) await session.query('begin isolation level repeatable read read only');
  const whole = await fetchSourceSchema(session, { estimateSizes: options.estimateTableSizes === true });
  const filter = filters === null ? null : await resolveOnSource(session, filters, log);
  const kept = filter === null ? whole : filterSchema(whole, filter);
  const published = await fetchParts(session, whole.tables, filter, options.publication ?? null);
  const schema = { ...(await withSplits(session, kept, options.split)), parts: published.parts };
  if (filters !== null && filter !== null) await expectKeysHold(session, schema, filters, filter);
  await expectKeysHoldInParts(session, schema);
  const partOf = partsByName(schema.parts);
  const plan = planClone(schema, new Set(filter === null ? [] : tablesWithoutRows(schema, filter)));
  const tables = plan.tables.map(({ table, parts, withRows, indexes, finishing }): PlannedTable => {
    const { oid, name, bytes, estimatedRows } = table;
    const withConstraints = finishing.filter(({ builds }) => builds !== null).length;
    return {
      oid,
      schema: table.schema,
      name,
      bytes,
      estimatedRows,
      parts: withRows ? parts.length : 0,
      indexes: indexes.length + withConstraints,
      rule: filter?.decideRelation(oid).rule ?? null,
      part: partOf(table),
    };
  });
  return {
    database: source.database,
    tables,
    indexes: tables.reduce((total, table) => total + table.indexes, 0),
    foreignKeys: schema.foreignKeys.length,
    bytes: tables.reduce((total, table) => total + (table.parts > 0 ? table.bytes : 0), 0),
    leftOut: filter === null ? [] : await describeLeftOut(session, whole, filter),
    remarks: [...plan.remarks, ...published.remarks],
  };
}

/** What of the tables a publication carries, and what is to be said of it. Throws `source-setup`. */
async function fetchParts(
  session: Session,
  tables: readonly TableFacts[],
  filter: ObjectFilter | null,
  publication: string | null,
): Promise<{ readonly parts: readonly PublishedPart[]; readonly remarks: readonly string[] }> {
  if (publication === null) return { parts: [], remarks: [] };
  const candidates = tables.map((table) => ({
    ...table,
    copied: filter === null || filter.decideRelation(table.oid).data,
  }));
  const { parts, missing, warnings } = await fetchPublicationParts(session, publication, candidates);
  const lost = missing.map((label) => `changes of ${label} are lost: the publication leaves it out`);
  return { parts, remarks: [...lost, ...warnings] };
}

const kinds: Readonly<Record<FilterRelation['kind'], string>> = {
  table: 'table',
  partitioned: 'partitioned table',
  materialized: 'materialized view',
  foreign: 'foreign table',
  view: 'view',
};

/** Schemas, then relations, then what falls with them. */
async function describeLeftOut(
  session: Session,
  schema: SourceSchema,
  filter: ObjectFilter,
): Promise<LeftOutObject[]> {
  const sizes = new Map(schema.tables.map((table) => [table.oid, table.bytes]));
  const relations = filter.leftOutRelations();
  const known = new Set(relations.map(({ relation }) => relation.oid));
  const dependents = filter.dependents().filter(({ classOid, oid }) => classOid !== 1259 || !known.has(oid));
  const names = await fetchObjectNames(session, dependents);
  const object = (kind: string, name: string, rule: string | null, bytes: number | null = null) => ({
    kind,
    name,
    bytes,
    rule: rule ?? '',
  });
  const plainName = (name: string) => relationLabel({ schema: name, name: 'x' }).slice(0, -2);
  return [
    ...filter.leftOutSchemas().map(({ name, rule }) => object('schema', plainName(name), rule)),
    ...filter.leftOutExtensions().map(({ name, rule }) => object('extension', plainName(name), rule)),
    ...relations
      .filter(({ decision }) => !decision.schema)
      .map(({ relation, decision }) =>
        object(kinds[relation.kind], relationLabel(relation), decision.rule, sizes.get(relation.oid) ?? null),
      ),
    ...relations
      .filter(({ relation, decision }) => decision.schema && relation.kind === 'materialized')
      .map(({ relation, decision }) =>
        object('contents of materialized view', relationLabel(relation), decision.rule),
      ),
    ...filter.leftOutIndexes().map((index) => object('index', relationLabel(index), index.rule)),
    ...filter.leftOutSequences().map((one) => object('sequence', relationLabel(one), one.rule)),
    ...dependents.map(({ rule }, index) => {
      const name = names[index];
      return object(name?.type ?? '', name?.identity ?? '', rule);
    }),
  ];
}
