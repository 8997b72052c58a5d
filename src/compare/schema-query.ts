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
  readonly acl?: string;
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
    ...(scope.acls && acl !== undefined ? { privileges: aclText(acl) } : {}),
  };
  const list = Object.entries(properties).map(([name, sql]) => `'${name}', ${sql}`);
  return `
    select ${kind} as kind, 'pg_catalog.${catalog}'::pg_catalog.regclass::pg_catalog.oid as class_oid, ${oid} as oid,
      ${schema ?? 'null'} as schema, ${identity} as identity,
      pg_catalog.jsonb_build_object(${list.join(', ')})::text as properties
    ${from}`;
}

/** Granted rights, sorted: grantors are who happened to run the copy. */
function aclText(acl: string): string {
  return `(select pg_catalog.string_agg(case a.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(a.grantee) end
      || '=' || a.privilege_type || case when a.is_grantable then '*' else '' end, ', '
      order by case a.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(a.grantee) end collate "C",
        a.privilege_type collate "C")
    from pg_catalog.aclexplode(${acl}) a)`;
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
