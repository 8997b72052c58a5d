/**
 * Which tables can be copied in binary format: what one server's send functions write must be what the other's
 * receive functions read, to the last bit of meaning. Decided by the types of a table's columns:
 *
 * 1. no send or receive function: no.
 * 2. OIDs of objects in the value (regclass and its like), which are others on the target: no. The text is a name.
 * 3. a send function that does not write all that the text says, or writes what is read differently: no.
 * 4. an array, or a composite, names its element types by OID: only the server's own types have the same on both.
 * 5. a domain is its base type, an enum its label.
 * 6. the server's own types: safe between servers of one major version.
 * 7. types of extensions and of users: only where somebody asks for it, since the two sides may have other versions.
 */
import type { Session } from './connect.js';
import { notOfExtension, userSchema } from './schema-scope.js';

/** `safe`: as good as text. `possible`: where it is asked for. */
export type BinaryVerdict = 'safe' | 'possible';

export type BinaryTable = {
  readonly verdict: BinaryVerdict;
  /** Names and types of the columns that hold data: the target's must be the same. */
  readonly columns: string;
};

/** What is known of a type; `oid`s as numbers. */
export type TypeFacts = {
  readonly oid: number;
  readonly kind: 'base' | 'composite' | 'domain' | 'enum' | 'range' | 'other';
  /** Name of the send function; null when one of the two is missing. */
  readonly send: string | null;
  /** Base type of a domain, element type of an array, members of a composite. */
  readonly parts: readonly number[];
};

/** Case 2 and 3. */
const unsafeSends = new Set([
  'regclasssend',
  'regcollationsend',
  'regconfigsend',
  'regdictionarysend',
  'regnamespacesend',
  'regoperatorsend',
  'regopersend',
  'regproceduresend',
  'regprocsend',
  'regrolesend',
  'regtypesend',
  // Lexemes in an order that depends on the server's own comparison.
  'tsvectorsend',
  'tsquerysend',
  // Writes an encoding into the document.
  'xml_send',
]);

/** Objects made after initdb have OIDs from here on; below, they are the same on all servers of one version. */
const firstOwnOid = 16_384;

/** The verdict on each type; null: text only. */
export function judgeTypes(types: readonly TypeFacts[]): Map<number, BinaryVerdict | null> {
  const byOid = new Map(types.map((type) => [type.oid, type]));
  const verdicts = new Map<number, BinaryVerdict | null>();
  const judge = (oid: number): BinaryVerdict | null => {
    const known = verdicts.get(oid);
    if (known !== undefined) return known;
    const type = byOid.get(oid);
    // A type inside of itself ends here.
    verdicts.set(oid, null);
    const verdict = type === undefined ? null : judgeType(type, judge);
    verdicts.set(oid, verdict);
    return verdict;
  };
  for (const { oid } of types) judge(oid);
  return verdicts;
}

function judgeType(type: TypeFacts, judge: (oid: number) => BinaryVerdict | null): BinaryVerdict | null {
  const own = type.oid >= firstOwnOid;
  if (type.send === null || unsafeSends.has(type.send)) return null; // 1, 2, 3
  const parts = type.parts.map(judge);
  if (parts.includes(null)) return null;
  const worst = parts.includes('possible') ? 'possible' : 'safe';
  if (type.kind === 'domain') return worst; // 5
  if (type.kind === 'enum') return 'safe'; // 5
  if (type.parts.length > 0) {
    // 4; a composite without columns has no parts.
    return type.parts.some((oid) => oid >= firstOwnOid) ? null : worst;
  }
  if (type.kind === 'other') return null;
  return own ? 'possible' : 'safe'; // 6, 7
}

const columnTypes = `
  select a.attrelid as table_oid, a.attname, a.atttypid, a.atttypmod
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension}
    and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''`;

// Arrays are known by their send function: other types have a typelem as well, whose values are no arrays.
const typesQuery = `
  select t.oid, t.typtype as kind,
    case when t.typsend <> 0 and t.typreceive <> 0
      then (select p.proname from pg_catalog.pg_proc p where p.oid = t.typsend) end as send,
    case
      when t.typtype = 'd' then t.typbasetype::text
      when t.typsend = 'pg_catalog.array_send'::pg_catalog.regproc then t.typelem::text
      when t.typtype = 'c' then (select pg_catalog.string_agg(distinct a.atttypid::text, ',')
        from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)
    end as parts
  from pg_catalog.pg_type t where t.oid = any ($1::pg_catalog.oid[])`;

const kinds: Readonly<Record<string, TypeFacts['kind']>> = {
  b: 'base',
  c: 'composite',
  d: 'domain',
  e: 'enum',
  r: 'range',
  m: 'range',
};

/** Names and types of columns, as one text; speaks of `attname`, `atttypid`, `atttypmod`. */
export const columnList = `pg_catalog.string_agg(
    pg_catalog.format('%I %s', attname, pg_catalog.format_type(atttypid, atttypmod)), ', ' order by attname)`;

const tablesQuery = `
  select table_oid, pg_catalog.string_agg(distinct atttypid::text, ',') as types, ${columnList} as columns
  from (${columnTypes}) as columns group by table_oid`;

/** The tables for which binary format comes into question at all, by OID. */
export async function fetchBinaryTables(session: Session): Promise<Record<string, BinaryTable>> {
  const rows = await session.query(tablesQuery);
  const typesOf = (list: string | null | undefined) => (list ?? '').split(',').filter(Boolean).map(Number);
  const verdicts = judgeTypes(
    await fetchTypes(session, new Set(rows.flatMap((row) => typesOf(row['types'])))),
  );
  const tables: Record<string, BinaryTable> = {};
  for (const row of rows) {
    const own = typesOf(row['types']).map((oid) => verdicts.get(oid) ?? null);
    if (own.includes(null)) continue;
    tables[row['table_oid'] ?? ''] = {
      verdict: own.includes('possible') ? 'possible' : 'safe',
      columns: row['columns'] ?? '',
    };
  }
  return tables;
}

/** These types and all that they are made of: one query for each step inwards. */
async function fetchTypes(session: Session, used: ReadonlySet<number>): Promise<TypeFacts[]> {
  const types = new Map<number, TypeFacts>();
  for (let wanted = [...used]; wanted.length > 0;) {
    const found = (await session.query(typesQuery, [`{${wanted.join(',')}}`])).map((row): TypeFacts => ({
      oid: Number(row['oid']),
      kind: kinds[row['kind'] ?? ''] ?? 'other',
      send: row['send'] ?? null,
      parts: (row['parts'] ?? '').split(',').filter(Boolean).map(Number),
    }));
    for (const type of found) types.set(type.oid, type);
    wanted = [...new Set(found.flatMap(({ parts }) => parts))].filter((oid) => !types.has(oid));
    if (found.length === 0) break;
  }
  return [...types.values()];
}
