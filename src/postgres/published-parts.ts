/**
 * What a publication made by somebody else carries of each table. pgoutput sends the rows and columns that it names,
 * and turns an update that moves a row into the filter into an insert, one that moves it out into a delete; so the copy
 * and the comparison need only go by the same columns and rows. What could not be right that way is refused beforehand:
 *
 *   1 an operation that is not published is lost
 *   2 a column that is left out and takes neither null nor a default: no row could be inserted on the target
 *   3 a column of the replica identity that is left out: an update or a delete would name no row
 *   4 a partition under its root's name whose replica identity is another one than the root's: the stream says which
 *     columns identify a row of the root, and sends those of the partition
 *   5 a root of whose partitions a filter file leaves some out: their changes come under the root's name as well
 *
 * https://www.postgresql.org/docs/current/logical-replication-publication.html
 */
import { Failure } from '../failure.js';
import type { PublishedPart } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier } from '../model/sql.js';
import type { Session } from './connect.js';

/** A table of the source: a partitioned one, or one with rows; and whether its rows are copied. */
export type CandidateTable = {
  readonly oid: number;
  readonly kind: 'table' | 'partitioned';
  readonly schema: string;
  readonly name: string;
  readonly copied: boolean;
};

type ShapeColumn = {
  readonly name: string;
  readonly generated: boolean;
  /** It takes no null, and nothing fills it in. */
  readonly required: boolean;
  /** Its values may be stored out of line, and then an update that leaves them alone does not send them. */
  readonly toastable: boolean;
};

/** A table, and as which entry of the publication its changes come: its own, or that of a partitioned table above it. */
export type CarriedTable = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly ShapeColumn[];
  /** The columns of its replica identity, in the order of their names; 'full', or none. */
  readonly identity: 'full' | readonly string[];
  readonly carrier: {
    readonly oid: number;
    readonly schema: string;
    readonly name: string;
    readonly identity: 'full' | readonly string[];
  };
  /** What the publication names; null: it names none. */
  readonly listed: readonly string[] | null;
  readonly rowFilter: string | null;
};

/** What is to be known of a publication before a stream is read through it. */
export type PublicationParts = {
  /** The tables that are not moved as a whole under their own names, and the roots that stand for some. */
  readonly parts: readonly PublishedPart[];
  /** Tables whose rows are copied and that it does not carry, as labels. */
  readonly missing: readonly string[];
  /** Sentences about what is right only under a condition. */
  readonly warnings: readonly string[];
};

const operationsQuery = `
  select pubinsert and pubupdate and pubdelete and pubtruncate as whole
    from pg_catalog.pg_publication where pubname = $1`;

// Column lists and row filters: from 15 on.
const listsSince = 150_000;

/** Columns of the replica identity; null for FULL. Speaks of a pg_class. */
const identityOf = (table: string) => `
  case when ${table}.relreplident = 'f' then null else coalesce((
    select pg_catalog.json_agg(a.attname order by a.attname)
      from pg_catalog.pg_index i
      cross join pg_catalog.unnest(i.indkey::int2[]) with ordinality as k(attnum, nth)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = ${table}.oid and k.nth <= i.indnkeyatts and i.indisvalid and i.indimmediate
       and (${table}.relreplident = 'i' and i.indisreplident or ${table}.relreplident = 'd' and i.indisprimary)
    ), '[]') end`;

// A table is carried under its own name, or under that of the highest partitioned table above it that is named.
const carriedQuery = (serverVersion: number) => {
  const lists =
    serverVersion >= listsSince
      ? 'pg_catalog.to_json(t.attnames) as listed, t.rowfilter as row_filter'
      : 'null::pg_catalog.json as listed, null::text as row_filter';
  return `
  with carrier as (
    select c.oid, n.nspname, c.relname, ${identityOf('c')} as identity, ${lists}
      from pg_catalog.pg_publication_tables t
      join pg_catalog.pg_namespace n on n.nspname = t.schemaname
      join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
     where t.pubname = $1
  ), candidate as (
    select w.oid, w.oid as carried_as, 1 as height from pg_catalog.unnest($2::pg_catalog.oid[]) as w(oid)
    union
    select w.oid, a.relid, a.height from pg_catalog.unnest($2::pg_catalog.oid[]) as w(oid)
      cross join pg_catalog.pg_partition_ancestors(w.oid) with ordinality as a(relid, height)
  )
  select distinct on (c.oid) c.oid, n.nspname as schema, c.relname as name, ${identityOf('c')}::text as identity,
    (select pg_catalog.json_agg(pg_catalog.json_build_object(
              'name', a.attname, 'generated', a.attgenerated <> '',
              'required', (a.attnotnull or y.typnotnull) and not a.atthasdef and a.attidentity = ''
                and y.typdefault is null,
              'toastable', a.attlen = -1 and a.attstorage <> 'p') order by a.attnum)::text
       from pg_catalog.pg_attribute a join pg_catalog.pg_type y on y.oid = a.atttypid
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
    r.oid as carrier_oid, r.nspname as carrier_schema, r.relname as carrier_name,
    r.identity::text as carrier_identity, r.listed::text as listed, r.row_filter
    from candidate d
    join carrier r on r.oid = d.carried_as
    join pg_catalog.pg_class c on c.oid = d.oid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   order by c.oid, d.height desc`;
};

/**
 * What the publication carries of these tables. Throws `source-setup` when there is no such publication, and with
 * everything that makes it impossible to go by it.
 */
export async function fetchPublicationParts(
  session: Session,
  publication: string,
  tables: readonly CandidateTable[],
): Promise<PublicationParts> {
  const label = quoteIdentifier(publication);
  const [found] = await session.query(operationsQuery, [publication]);
  if (found === undefined) {
    throw new Failure('source-setup', `the source has no publication named ${label}`, {
      remedy: 'Publications must exist before the slot is made. Check --publication.',
    });
  }
  if (found['whole'] !== 't') {
    // 1
    throw new Failure('source-setup', `the publication ${label} does not publish every operation`, {
      remedy: `What is not published is lost. As its owner: alter publication ${label} set (publish = 'insert, update, delete, truncate'); or leave --publication out.`,
    });
  }
  const rowTables = tables.filter(({ kind }) => kind === 'table');
  const oids = `{${rowTables.map(({ oid }) => oid).join(',')}}`;
  const rows = await session.query(carriedQuery(session.serverVersion), [publication, oids]);
  const identity = (text: string | null | undefined) =>
    (text ?? null) === null ? 'full' : (JSON.parse(text ?? '[]') as string[]);
  const carried = rows.map((row): CarriedTable => ({
    oid: Number(row['oid']),
    schema: row['schema'] ?? '',
    name: row['name'] ?? '',
    columns: JSON.parse(row['columns'] ?? '[]') as ShapeColumn[],
    identity: identity(row['identity']),
    carrier: {
      oid: Number(row['carrier_oid']),
      schema: row['carrier_schema'] ?? '',
      name: row['carrier_name'] ?? '',
      identity: identity(row['carrier_identity']),
    },
    listed: JSON.parse(row['listed'] ?? 'null') as string[] | null,
    rowFilter: row['row_filter'] ?? null,
  }));
  const { problems, ...parts } = judgeParts(carried, tables);
  if (problems.length === 0) return parts;
  throw new Failure(
    'source-setup',
    [`the publication ${label} cannot be followed:`, ...problems].join('\n'),
    { remedy: 'Have its owner change it, or leave --publication out: then all columns and rows are moved.' },
  );
}

/** Decides; the numbers are those of the head of this file. Pure. */
export function judgeParts(
  carried: readonly CarriedTable[],
  tables: readonly CandidateTable[],
): PublicationParts & { readonly problems: readonly string[] } {
  const copied = new Map(tables.map((table) => [table.oid, table.copied]));
  const problems: string[] = [];
  const warnings: string[] = [];
  const risky: string[] = [];
  const parts: PublishedPart[] = [];
  const roots = new Map<number, CarriedTable[]>();
  for (const table of carried) {
    const { carrier, rowFilter } = table;
    const root = carrier.oid === table.oid ? null : { schema: carrier.schema, name: carrier.name };
    if (root !== null) roots.set(carrier.oid, [...(roots.get(carrier.oid) ?? []), table]);
    if (copied.get(table.oid) !== true) continue;
    const columns = movedColumns(table);
    problems.push(...judgeColumns(table, columns)); // 2, 3
    if (root !== null) problems.push(...judgeRoot(table)); // 4
    if (rowFilter !== null) risky.push(...judgeOutOfLine(table, columns));
    if (columns === null && rowFilter === null && root === null) continue;
    const { schema, name } = table;
    parts.push({ schema, name, columns, rowFilter, root });
  }
  for (const leaves of roots.values()) {
    const [first] = leaves;
    if (first === undefined) continue;
    const { oid, schema, name } = first.carrier;
    const label = relationLabel(first.carrier);
    const left = leaves.filter((leaf) => copied.get(leaf.oid) !== true);
    if (left.length === leaves.length && copied.get(oid) !== true) continue;
    if (left.length > 0 || copied.get(oid) !== true) {
      // 5
      problems.push(
        `${label}: it publishes partitions under this name, and the filters leave out ${left.map(relationLabel).join(', ') || label}, whose changes cannot be told from the others'`,
      );
      continue;
    }
    warnings.push(
      `${label} is published under its own name: the source does not send a TRUNCATE of a single partition. Truncate none until the switch`,
    );
    parts.push({ schema, name, columns: movedColumns(first), rowFilter: first.rowFilter, root: null });
  }
  if (risky.length > 0) {
    warnings.push(
      `an update of the key that moves a row into the row filter does not send values that are stored out of line, and would stop the stream; with replica identity full it sends them: ${[...new Set(risky)].join(', ')}`,
    );
  }
  const known = new Set(carried.map(({ oid }) => oid));
  const missing = tables.filter(({ oid, kind, copied: is }) => kind === 'table' && is && !known.has(oid));
  return { parts, missing: missing.map(relationLabel), warnings, problems };
}

/** Null where that is all of them: generated columns are not moved. */
function movedColumns({ columns, listed }: CarriedTable): readonly string[] | null {
  if (listed === null) return null;
  const plain = columns.filter(({ generated }) => !generated).map(({ name }) => name);
  const moved = plain.filter((name) => listed.includes(name));
  return moved.length === plain.length ? null : moved;
}

function judgeColumns(table: CarriedTable, moved: readonly string[] | null): string[] {
  if (moved === null) return [];
  const label = relationLabel(table);
  const problems: string[] = [];
  const left = table.columns.filter(({ name, generated }) => !generated && !moved.includes(name));
  const required = left.filter((column) => column.required).map(({ name }) => quoteIdentifier(name));
  if (required.length > 0) {
    problems.push(
      `${label}: its column list leaves out ${required.join(', ')}, NOT NULL without a default: no row could be inserted on the target`,
    );
  }
  const key = table.identity === 'full' ? left.map(({ name }) => name) : table.identity;
  const lost = key.filter((name) => !moved.includes(name)).map(quoteIdentifier);
  if (lost.length > 0) {
    problems.push(
      `${label}: its column list leaves out ${lost.join(', ')} of the replica identity: an update or a delete would name no row, and the source refuses it`,
    );
  }
  if (moved.length === 0) problems.push(`${label}: its column list holds no column that can be moved`);
  return problems;
}

function judgeRoot({ carrier, identity, ...table }: CarriedTable): string[] {
  const [own, ofRoot] = [JSON.stringify(identity), JSON.stringify(carrier.identity)];
  const label = relationLabel(table);
  if (carrier.identity.length === 0) {
    return [
      `${relationLabel(carrier)}: it publishes the partition ${label} under this name, which has no replica identity`,
    ];
  }
  if (own === ofRoot) return [];
  return [
    `${label}: it is published under the name of ${relationLabel(carrier)}, whose replica identity is another one`,
  ];
}

/** The table, with the columns that an update of its key may leave unsent where it moves a row into the filter. */
function judgeOutOfLine(table: CarriedTable, moved: readonly string[] | null): string[] {
  const { identity, carrier } = table;
  if (identity === 'full') return [];
  const risky = table.columns.filter(
    ({ name, toastable, generated }) =>
      toastable && !generated && !identity.includes(name) && (moved === null || moved.includes(name)),
  );
  if (risky.length === 0) return [];
  return [`${relationLabel(carrier)} (${risky.map(({ name }) => quoteIdentifier(name)).join(', ')})`];
}
