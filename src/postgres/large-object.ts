/**
 * Large objects by SQL functions, which need no rights on pg_largeobject and travel over any connection:
 * contents come as bytea in hexadecimal, a piece at a time. On the source everything is read in the caller's
 * transaction, so with an imported snapshot it is the snapshot's.
 * https://www.postgresql.org/docs/current/lo-funcs.html
 */
import type { Session } from './connect.js';

/** Consecutive large objects, by their OIDs. */
export type LargeObjectRange = { readonly first: string; readonly last: string; readonly count: number };

const rangesQuery = `
  select min(oid) as first, max(oid) as last, count(*) as count
  from (select oid, (row_number() over (order by oid) - 1) / $1::bigint as range
    from pg_catalog.pg_largeobject_metadata) numbered
  group by range order by 1`;

/** All large objects, in ranges of so many: the same ones each time that the same snapshot is asked. */
export async function fetchLargeObjectRanges(session: Session, size: number): Promise<LargeObjectRange[]> {
  const rows = await session.query(rangesQuery, [String(size)], 'could not list the large objects');
  return rows.map((row) => ({
    first: row['first'] ?? '',
    last: row['last'] ?? '',
    count: Number(row['count']),
  }));
}

/** Whether the database has any. */
export async function holdsLargeObjects(session: Session): Promise<boolean> {
  const [row] = await session.query('select exists (select from pg_catalog.pg_largeobject_metadata) as held');
  return row?.['held'] === 't';
}

const unreadableQuery = `
  select count(*) as count, min(l.oid) as example
  from pg_catalog.pg_largeobject_metadata l
  where not pg_catalog.pg_has_role(l.lomowner, 'usage')
    and pg_catalog.current_setting('lo_compat_privileges') = 'off'
    and not exists (
      select from pg_catalog.aclexplode(l.lomacl) a
      where a.privilege_type = 'SELECT'
        and case a.grantee when 0 then true else pg_catalog.pg_has_role(a.grantee, 'usage') end)`;

/** How many large objects our role may not read, and one of them. */
export async function fetchUnreadableLargeObjects(
  session: Session,
): Promise<{ readonly count: number; readonly example: string | null }> {
  const [row] = await session.query(unreadableQuery);
  return { count: Number(row?.['count'] ?? 0), example: row?.['example'] ?? null };
}

// 262144 is INV_READ, 2 is SEEK_END. `offset 0` keeps each object from being opened more than once.
const sizesQuery = `
  select m.oid, pg_catalog.lo_lseek64(o.fd, 0, 2) as bytes, pg_catalog.lo_close(o.fd) as closed
  from pg_catalog.pg_largeobject_metadata m,
    lateral (select pg_catalog.lo_open(m.oid, 262144) as fd offset 0) o
  where m.oid between $1::oid and $2::oid
  order by m.oid`;

export type LargeObjectSize = { readonly oid: string; readonly bytes: number };

/** The sizes of a range. */
export async function fetchLargeObjectSizes(
  session: Session,
  { first, last }: LargeObjectRange,
): Promise<LargeObjectSize[]> {
  const rows = await session.query(sizesQuery, [first, last], 'could not open the large objects');
  return rows.map((row) => ({ oid: row['oid'] ?? '', bytes: Number(row['bytes']) }));
}

/** Contents as the server prints a bytea (`\x…`). */
export type LargeObjectContent = { readonly oid: string; readonly content: string };

/** Whole contents of a few small ones. */
export async function readLargeObjects(
  session: Session,
  oids: readonly string[],
): Promise<LargeObjectContent[]> {
  const rows = await session.query(
    'select oid, pg_catalog.lo_get(oid) as content from unnest($1::oid[]) as oid',
    [`{${oids.join(',')}}`],
    'could not read the large objects',
  );
  return rows.map((row) => ({ oid: row['oid'] ?? '', content: row['content'] ?? '' }));
}

/** A piece of one. */
export async function readLargeObject(
  session: Session,
  oid: string,
  offset: number,
  bytes: number,
): Promise<string> {
  const [row] = await session.query(
    'select pg_catalog.lo_get($1::oid, $2::bigint, $3::integer) as content',
    [oid, String(offset), String(bytes)],
    `could not read large object ${oid}`,
  );
  return row?.['content'] ?? '';
}

/** Makes a few with their contents, under the same OIDs. Fails where one exists already. */
export async function createLargeObjects(
  session: Session,
  objects: readonly LargeObjectContent[],
): Promise<void> {
  await session.query(
    `select count(pg_catalog.lo_from_bytea(o.oid, o.content))
     from unnest($1::oid[], $2::bytea[]) as o(oid, content)`,
    [
      `{${objects.map(({ oid }) => oid).join(',')}}`,
      `{${objects.map(({ content }) => `"\\${content}"`).join(',')}}`,
    ],
    'could not create the large objects',
  );
}

/** Makes an empty one under this OID. */
export async function createLargeObject(session: Session, oid: string): Promise<void> {
  await session.query('select pg_catalog.lo_create($1::oid)', [oid], `could not create large object ${oid}`);
}

/** Writes a piece of one. */
export async function writeLargeObject(
  session: Session,
  oid: string,
  offset: number,
  content: string,
): Promise<void> {
  await session.query(
    'select pg_catalog.lo_put($1::oid, $2::bigint, $3::bytea)',
    [oid, String(offset), content],
    `could not write large object ${oid}`,
  );
}

/** Those of the OIDs that the server has. */
export async function fetchExistingLargeObjects(
  session: Session,
  { first, last }: LargeObjectRange,
): Promise<string[]> {
  const rows = await session.query(
    'select oid from pg_catalog.pg_largeobject_metadata where oid between $1::oid and $2::oid order by oid',
    [first, last],
  );
  return rows.map((row) => row['oid'] ?? '');
}

/** Removes them. */
export async function unlinkLargeObjects(session: Session, oids: readonly string[]): Promise<void> {
  await session.query(
    'select count(pg_catalog.lo_unlink(oid)) from unnest($1::oid[]) as oid',
    [`{${oids.join(',')}}`],
    'could not drop large objects',
  );
}

/** Tries every function that a copy needs, and leaves nothing behind. Throws the server's refusal. */
export async function tryLargeObjects(session: Session): Promise<void> {
  await session.query('begin');
  try {
    await session.query(
      `select pg_catalog.lo_put(oid, 1, '\\x00'), pg_catalog.lo_create(0)
       from (select pg_catalog.lo_from_bytea(0, '') as oid offset 0) made`,
    );
  } finally {
    await session.query('rollback').catch(() => []);
  }
}

/** A large object that has more to it than its content. */
export type LargeObjectProperties = {
  readonly oid: string;
  readonly owner: string;
  readonly comment: string | null;
  /** Null where only the owner has rights. */
  readonly privileges: readonly LargeObjectPrivilege[] | null;
};

export type LargeObjectPrivilege = {
  /** Null for PUBLIC. */
  readonly grantee: string | null;
  readonly privilege: string;
  readonly grantable: boolean;
};

const propertiesQuery = `
  select l.oid, pg_catalog.pg_get_userbyid(l.lomowner) as owner,
    pg_catalog.obj_description(l.oid, 'pg_largeobject') as comment,
    (select pg_catalog.json_agg(pg_catalog.json_build_object(
        'grantee', case a.grantee when 0 then null else pg_catalog.pg_get_userbyid(a.grantee) end,
        'privilege', a.privilege_type, 'grantable', a.is_grantable))
      from pg_catalog.aclexplode(l.lomacl) a)::text as privileges
  from pg_catalog.pg_largeobject_metadata l
  where l.oid between $1::oid and $2::oid
  order by l.oid`;

/** Owner, comment and privileges of a range. */
export async function fetchLargeObjectProperties(
  session: Session,
  { first, last }: LargeObjectRange,
): Promise<LargeObjectProperties[]> {
  const rows = await session.query(propertiesQuery, [first, last]);
  return rows.map((row) => ({
    oid: row['oid'] ?? '',
    owner: row['owner'] ?? '',
    comment: row['comment'] ?? null,
    privileges: JSON.parse(row['privileges'] ?? 'null') as LargeObjectPrivilege[] | null,
  }));
}
