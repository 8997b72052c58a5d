/**
 * A filter at work on a clone: the source's schema and the dump's entries without what is left out, and what is to be
 * said before anything is copied.
 */
import { Failure } from '../failure.js';
import type { FilterFile } from '../filter/parse.js';
import type { ObjectFilter } from '../filter/decide.js';
import { resolveFilter } from '../filter/resolve.js';
import type { Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import { quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { DumpEntry } from '../postgres/dump.js';
import { fetchDependencies, fetchFilterFacts, fetchObjectNames } from '../postgres/filter-facts.js';
import type { SourceSchema } from '../postgres/schema.js';
import { fetchBrokenKeys } from './held-keys.js';

/**
 * Resolves a filter on a session with an open transaction, and says what it finds. Throws `usage` and
 * `filter-mismatch`.
 */
export async function resolveOnSource(session: Session, file: FilterFile, log: Log): Promise<ObjectFilter> {
  const { filter, remarks } = await resolveFilter(file, {
    facts: (rules) => fetchFilterFacts(session, rules),
    dependencies: (objects) => fetchDependencies(session, objects),
    names: (objects) => fetchObjectNames(session, objects),
  });
  for (const remark of [...file.warnings, ...remarks.map((one) => `${file.file}: ${one}`)])
    log.notice(remark);
  return filter;
}

/** pg_dump's word for the contents of a materialized view. */
const refreshKind = 'MATERIALIZED VIEW DATA';

/** The schema of what is copied. */
export function filterSchema(schema: SourceSchema, filter: ObjectFilter): SourceSchema {
  const tables = schema.tables.filter(({ oid }) => filter.decideRelation(oid).schema);
  const kept = new Set(tables.map(({ oid }) => oid));
  return {
    ...schema,
    tables,
    columns: Object.fromEntries(Object.entries(schema.columns).filter(([oid]) => kept.has(Number(oid)))),
    indexes: schema.indexes.filter(
      ({ oid, tableOid, constraint }) =>
        kept.has(tableOid) &&
        filter.decideIndex(oid).kept &&
        (constraint === null || filter.decideConstraint(constraint.oid).kept),
    ),
    foreignKeys: schema.foreignKeys.filter(({ oid }) => filter.decideConstraint(oid).kept),
  };
}

/** OIDs of the tables that are made and not filled. */
export function tablesWithoutRows(schema: Pick<SourceSchema, 'tables'>, filter: ObjectFilter): number[] {
  return schema.tables.flatMap(({ oid }) => {
    const decision = filter.decideRelation(oid);
    return decision.schema && !decision.data ? [oid] : [];
  });
}

/**
 * Dump ids of what is not restored. Entries that are no object themselves (comments, attachments, …) follow the
 * object that they are about: see restore-plan.ts.
 */
export function leftOutEntries(entries: readonly DumpEntry[], filter: ObjectFilter): number[] {
  const byId = new Map(entries.map((entry) => [entry.dumpId, entry]));
  const isUnrefreshed = (entry: DumpEntry) =>
    entry.kind === refreshKind &&
    entry.dependencies.some((id) => filter.unrefreshed(byId.get(id)?.oid ?? -1) !== null);
  const isDisowning = (entry: DumpEntry) =>
    entry.kind === 'SEQUENCE OWNED BY' &&
    entry.dependencies.some((id) => filter.isDisowned(byId.get(id)?.oid ?? -1));
  return entries.flatMap((entry) => {
    const out = entry.catalogOid !== 0 && filter.leavesOut(entry.catalogOid, entry.oid);
    return out || isUnrefreshed(entry) || isDisowning(entry) ? [entry.dumpId] : [];
  });
}

/** What pg_dump is not to touch: it would need rights on what is left out anyway. */
export function dumpExclusions(
  schema: SourceSchema,
  filter: ObjectFilter,
): { readonly schemas: string[]; readonly tables: string[] } {
  const schemas = filter.emptySchemas();
  const whole = new Set(schemas);
  const unreadable = schema.tables.filter(
    (table) => !table.readable && !whole.has(table.schema) && !filter.decideRelation(table.oid).schema,
  );
  return { schemas, tables: unreadable.map((table) => quoteQualified(table.schema, table.name)) };
}

/**
 * A foreign key of rows that are copied to rows that are not would fail after the last row: it is said before the
 * first. Throws `filter-mismatch` with all of them. The session is in the snapshot.
 */
export async function expectKeysHold(
  session: Session,
  { tables }: Pick<SourceSchema, 'tables'>,
  file: FilterFile,
  filter: ObjectFilter,
): Promise<void> {
  const keys = await fetchBrokenKeys(session, {
    tables,
    isKept: (oid) => filter.decideConstraint(oid).kept,
    rowsOf: ({ oid }) => (filter.decideRelation(oid).data ? 'all' : 'none'),
  });
  if (keys.length === 0) return;
  const broken = keys.map(({ name, child, parent, whole }) => {
    const at = relationLabel(parent);
    const where = whole
      ? `its rows point at ${at}, whose rows`
      : `rows of it point at partitions of ${at} that`;
    return `foreign key ${name} of ${relationLabel(child)} cannot hold: ${where} are not copied`;
  });
  throw new Failure(
    'filter-mismatch',
    [`the filters of ${file.file} do not fit the source`, ...broken].join('\n'),
    {
      remedy:
        'Name these tables in [exclude-table-data] too, or leave out in [exclude-table] the tables that they point at: the keys go with them.',
    },
  );
}
