/**
 * How far the pieces of a clone are, added up by SQLite: whoever looks every second at a clone of twenty thousand
 * tables must not read every row of it.
 */
import type { Catalog } from './database.js';

export type TaskTotals = {
  readonly total: number;
  readonly done: number;
  readonly running: number;
};

export type CopyTotals = {
  /** A table that is copied in parts counts as one, and is done with its last part. */
  readonly tables: TaskTotals;
  readonly indexes: TaskTotals;
  /** Bytes of rows as they went over the wire: of finished pieces, and of those under way. */
  readonly copiedBytes: number;
  /** The same of the tables that are finished, and what those take on the source's disk: how alike the two are. */
  readonly finishedCopied: number;
  readonly finishedSize: number;
  /** What the tables that hold rows to be copied take on the source's disk. */
  readonly size: number;
};

export type TableStanding = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** On the source's disk. */
  readonly size: number;
  readonly copied: number;
  readonly rows: number;
  readonly parts: TaskTotals;
  readonly indexes: TaskTotals;
  /** Milliseconds since 1970; null where nothing has begun. */
  readonly startedAtMs: number | null;
};

const copies = `
  select count(*) as tables, coalesce(sum(t.parts_done = t.parts), 0) as tables_done,
         coalesce(sum(t.running > 0), 0) as tables_running, coalesce(sum(t.copied), 0) as copied,
         coalesce(sum(r.bytes), 0) as size,
         coalesce(sum(case when t.parts_done = t.parts then t.copied end), 0) as finished_copied,
         coalesce(sum(case when t.parts_done = t.parts then r.bytes end), 0) as finished_size
    from (select relation_oid, count(*) as parts, count(done_at) as parts_done,
                 sum(started_at is not null and done_at is null) as running, sum(bytes) as copied
            from task where kind = 'copy' group by relation_oid) t
    left join relation r on r.oid = t.relation_oid`;

const indexes = `
  select count(*) as indexes, count(done_at) as indexes_done,
         coalesce(sum(started_at is not null and done_at is null), 0) as indexes_running
    from task where kind = 'index'`;

/** Null before a clone has planned its tasks. */
export function loadCopyTotals(catalog: Catalog): CopyTotals | null {
  const read = (sql: string) => catalog.database.prepare<[], Readonly<Record<string, number>>>(sql).get();
  const row = { ...read(copies), ...read(indexes) };
  const of = (name: string) => row[name] ?? 0;
  if (of('tables') === 0 && of('indexes') === 0) return null;
  return {
    tables: { total: of('tables'), done: of('tables_done'), running: of('tables_running') },
    indexes: { total: of('indexes'), done: of('indexes_done'), running: of('indexes_running') },
    copiedBytes: of('copied'),
    finishedCopied: of('finished_copied'),
    finishedSize: of('finished_size'),
    size: of('size'),
  };
}

type TableRow = Readonly<Record<string, number>> & {
  readonly schema: string;
  readonly name: string;
  readonly started_at: string | null;
};

/** Of a clone of very many tables only these are looked at: those that are worked on, and the largest. */
const perTable = `
  with shown as (
    select relation_oid as oid from task where kind = 'copy' and done_at is null and started_at is not null
    union select relation_oid from task where kind = 'index' and done_at is null and started_at is not null
    union select oid from (select oid from relation order by bytes desc limit :atMost))
  select s.oid, coalesce(r.schema, '') as schema, coalesce(r.name, '') as name, coalesce(r.bytes, 0) as size,
         sum(case when t.kind = 'copy' then t.bytes else 0 end) as copied,
         sum(case when t.kind = 'copy' then t.rows else 0 end) as rows,
         sum(t.kind = 'copy') as parts, sum(t.kind = 'copy' and t.done_at is not null) as parts_done,
         sum(t.kind = 'copy' and t.started_at is not null and t.done_at is null) as parts_running,
         sum(t.kind = 'index') as indexes, sum(t.kind = 'index' and t.done_at is not null) as indexes_done,
         sum(t.kind = 'index' and t.started_at is not null and t.done_at is null) as indexes_running,
         min(t.started_at) as started_at
    from shown s join task t on t.relation_oid = s.oid and t.kind in ('copy', 'index')
    left join relation r on r.oid = s.oid
   group by s.oid
   order by (parts_running > 0 or indexes_running > 0) desc, (parts_done = parts and indexes_done = indexes),
            size desc, s.oid
   limit :atMost`;

/** Those that are worked on first, then those that wait, then those that are done; the largest of each first. */
export function loadTableStandings(catalog: Catalog, atMost: number): TableStanding[] {
  return catalog.database
    .prepare<[{ atMost: number }], TableRow>(perTable)
    .all({ atMost })
    .map((row) => {
      const of = (name: string) => row[name] ?? 0;
      return {
        oid: of('oid'),
        schema: row.schema,
        name: row.name,
        size: of('size'),
        copied: of('copied'),
        rows: of('rows'),
        parts: { total: of('parts'), done: of('parts_done'), running: of('parts_running') },
        indexes: { total: of('indexes'), done: of('indexes_done'), running: of('indexes_running') },
        startedAtMs: row.started_at === null ? null : Date.parse(row.started_at),
      };
    });
}
