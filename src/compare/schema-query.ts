/** What the catalog queries of all kinds of objects share (schema-reading.ts): one shape, and pieces of SQL. */
import type { ObjectKind, ObjectScope } from './schema-objects.js';

/** That a row of the catalog is not an extension's. */
export const notMember = (catalog: string, oid: string) => `not exists (select from pg_catalog.pg_depend e
    where e.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and e.objid = ${oid} and e.deptype = 'e')`;

/** `"schema".name` as people write it. */
export const named = (schema: string, name: string) =>
  `pg_catalog.quote_ident(${schema}) || '.' || pg_catalog.quote_ident(${name})`;

/** One kind of object: where it is in the catalogs, in pieces of SQL. */
export type Facts = {
  readonly kind: string;
  /** The catalog and the row's oid. */
  readonly catalog: string;
  readonly oid: string;
  /** `n.nspname`, or null. */
  readonly schema: string | null;
  readonly identity: string;
  /** SQL name → SQL expression of type text. */
  readonly properties: Readonly<Record<string, string>>;
  readonly owner?: string;
  /** The column, and SQL for what acldefault() calls the kind. Needs an owner. */
  readonly acl?: { readonly column: string; readonly kind: string };
  /** From and where. */
  readonly from: string;
};

/** The query of one kind. */
export function query(facts: Facts, scope: ObjectScope): string {
  const { kind, catalog, oid, schema, identity, from, owner, acl } = facts;
  const properties: Record<string, string> = {
    ...facts.properties,
    ...(scope.comments ? { comment: `pg_catalog.obj_description(${oid}, '${catalog}')` } : {}),
    ...(scope.owners && owner !== undefined ? { owner: `pg_catalog.pg_get_userbyid(${owner})` } : {}),
    ...(scope.acls && acl !== undefined && owner !== undefined
      ? { privileges: aclText(acl.column, owner, acl.kind) }
      : {}),
  };
  const list = Object.entries(properties).map(([name, sql]) => `'${name}', ${sql}`);
  return `
    select ${kind} as kind, 'pg_catalog.${catalog}'::pg_catalog.regclass::pg_catalog.oid as class_oid, ${oid} as oid,
      ${schema ?? 'null'} as schema, ${identity} as identity,
      pg_catalog.jsonb_build_object(${list.join(', ')})::text as properties
    ${from}`;
}

/**
 * Granted rights where they are not what Postgres gives by itself, sorted. The owner is called so, whoever it is;
 * grantors are who happened to run the copy. `kind`: SQL for acldefault's letter.
 */
export function aclText(acl: string, owner: string, kind: string): string {
  const granted = `pg_catalog.aclexplode(${acl})`;
  const usual = `pg_catalog.aclexplode(pg_catalog.acldefault(${kind}, ${owner}))`;
  const text = `case when g.grantee = 0 then 'public' when g.grantee = ${owner} then 'owner'
      else pg_catalog.pg_get_userbyid(g.grantee) end
    || '=' || g.privilege_type || case when g.is_grantable then '*' else '' end`;
  const butIn = (rights: string) => `not exists (select from ${rights} o where o.grantee = g.grantee
    and o.privilege_type = g.privilege_type and o.is_grantable = g.is_grantable)`;
  return `(select pg_catalog.string_agg(r.word, ', ' order by r.word collate "C") from (
      select ${text} as word from ${granted} g where ${butIn(usual)}
      union all
      select 'not ' || ${text} from ${usual} g where ${acl} is not null and ${butIn(granted)}) r)`;
}

/** A kind that is the same for all rows. */
export const literal = (kind: ObjectKind) => `'${kind}'`;
/** A word where a flag is set, else null. */
export const words = (flag: string, word: string) => `case when ${flag} then '${word}' end`;
/** An array of options, sorted. */
export const options = (column: string) =>
  `(select pg_catalog.string_agg(o, ', ' order by o collate "C") from pg_catalog.unnest(${column}) o)`;

/** When a trigger or a rule fires, where that is not as usual. */
export function enabledText(letter: string): string {
  return `case ${letter} when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' end`;
}
