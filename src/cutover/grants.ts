/**
 * The privileges to write to the copied tables, to the views over them and to sequences, as they were granted: by whom, to
 * whom, with or without the right to grant on, on the table or on a column. Taken away and given back exactly.
 *
 * A privilege can only be granted by the owner, or by somebody whom the owner (directly or not) gave it to with the
 * right to grant on. So they are given back in the order in which they could have come about, each in the name of its
 * grantor, and taken away in the opposite one.
 */
import type { GrantRecord } from '../catalog/cutover.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { notOfExtension, userSchema } from '../postgres/schema-scope.js';

/**
 * Grants to the owner itself are none of the freeze's: owners keep their rights. `bases`: a table itself, and what a view
 * or its rules reach, through other views too: who may write to the view writes there with the rights of its owner.
 */
const grantsQuery = `
  with recursive reached (view, base) as (
    select r.ev_class, d.refobjid
      from pg_catalog.pg_rewrite r
      join pg_catalog.pg_class v on v.oid = r.ev_class and v.relkind = 'v' and v.oid >= 16384
      join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
       and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid <> r.ev_class
    union
    select t.view, d.refobjid
      from reached t join pg_catalog.pg_rewrite r on r.ev_class = t.base
      join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
       and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid <> r.ev_class
  ), tables as (
    select c.oid, n.nspname, c.relname, c.relowner, c.relacl, c.relkind,
           case when c.relkind <> 'v' then pg_catalog.json_build_array(pg_catalog.json_build_array(n.nspname, c.relname))
                else (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(bn.nspname, b.relname)), '[]')
                        from reached t join pg_catalog.pg_class b on b.oid = t.base and b.relkind in ('r', 'p')
                        join pg_catalog.pg_namespace bn on bn.oid = b.relnamespace
                       where t.view = c.oid) end as bases
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'S') and c.relpersistence <> 't'
       and ${userSchema}
       and ${notOfExtension}
  ), granted as (
    select t.*, null::name as column, 0 as attnum, a.*
      from tables t, pg_catalog.aclexplode(t.relacl) a
    union all
    select t.*, c.attname, c.attnum, a.*
      from tables t join pg_catalog.pg_attribute c on c.attrelid = t.oid and not c.attisdropped,
           pg_catalog.aclexplode(c.attacl) a
  )
  select nspname as schema, relname as "table", "column", pg_catalog.pg_get_userbyid(grantor) as grantor,
         case when grantee <> 0 then pg_catalog.pg_get_userbyid(grantee) end as grantee,
         privilege_type as privilege, is_grantable::text as grantable,
         (grantor = relowner)::text as by_owner, bases::text as bases, (relkind = 'S')::text as of_sequence,
         (case when grantor = relowner then pg_catalog.pg_has_role(grantor, 'usage')
               else pg_catalog.pg_has_role(grantor, $1) end)::text as may_act
    from granted
   where privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'USAGE') and grantee <> relowner
   order by nspname, relname, attnum, grantor <> relowner, grantor, grantee, privilege_type`;

export type FoundGrant = GrantRecord & {
  /** Whether our role may revoke and grant in the name of the grantor. */
  readonly mayAct: boolean;
  /** `grant … on table` takes a sequence too. */
  readonly ofSequence: boolean;
};

/**
 * Every privilege to write to a kept table, to a view that reaches one, or to take values of a kept sequence, that
 * somebody other than its owner holds, the owner's grants first.
 */
export async function fetchGrants(
  session: Session,
  { keeps, keepsSequence }: { readonly keeps: Keeps; readonly keepsSequence: Keeps },
): Promise<FoundGrant[]> {
  // `set role` to somebody else: membership was enough before 16.
  const toAct = session.serverVersion >= 160_000 ? 'set' : 'member';
  const rows = await session.query(grantsQuery, [toAct], 'could not read the privileges');
  const kept = rows.filter((row) =>
    (JSON.parse(row['bases'] ?? '[]') as [string, string][]).some(([schema, name]) =>
      (row['of_sequence'] === 'true' ? keepsSequence : keeps)({ schema, name }),
    ),
  );
  const found = kept.map((row) => ({
    schema: row['schema'] ?? '',
    table: row['table'] ?? '',
    column: row['column'] ?? null,
    grantor: row['grantor'] ?? '',
    grantee: row['grantee'] ?? null,
    privilege: row['privilege'] ?? '',
    grantable: row['grantable'] === 'true',
    byOwner: row['by_owner'] === 'true',
    mayAct: row['may_act'] === 'true',
    ofSequence: row['of_sequence'] === 'true',
  }));
  return inGrantOrder(found);
}

/**
 * Such that every grantor holds its privilege by what stands before: the owner's grants, then those of whom they were
 * given to, and so on. Those that depend on nothing that is here (a grant option held by other means) come last.
 */
export function inGrantOrder<Grant extends GrantRecord>(grants: readonly Grant[]): Grant[] {
  const ordered: Grant[] = [];
  let waiting = [...grants];
  const holds = (grant: Grant) =>
    grant.byOwner ||
    ordered.some(
      (one) =>
        one.grantable &&
        one.grantee === grant.grantor &&
        one.privilege === grant.privilege &&
        one.schema === grant.schema &&
        one.table === grant.table &&
        (one.column === null || one.column === grant.column),
    );
  for (;;) {
    const next = waiting.filter(holds);
    if (next.length === 0) return [...ordered, ...waiting];
    ordered.push(...next);
    waiting = waiting.filter((grant) => !next.includes(grant));
  }
}

const place = ({ schema, table }: GrantRecord) => quoteQualified(schema, table);
const what = ({ privilege, column }: GrantRecord) =>
  column === null ? privilege : `${privilege} (${quoteIdentifier(column)})`;
const whom = ({ grantee }: GrantRecord) => (grantee === null ? 'public' : quoteIdentifier(grantee));

/** Statements go to the server so many at a time: thousands of tables must not cost a round trip each. */
const atOnce = 200;

async function runAll(session: Session, statements: readonly string[], failing: string): Promise<void> {
  for (let from = 0; from < statements.length; from += atOnce) {
    await session.run(statements.slice(from, from + atOnce).join(';\n'), [], failing);
  }
}

/**
 * The statements that take them away. First what was granted on, the last first, each in the name of its grantor: a
 * column's privilege that comes from a grant on the table would outlive it. Then the owners' grants.
 */
export function revokeStatements(grants: readonly GrantRecord[]): string[] {
  const revoke = (grant: GrantRecord) => `revoke ${what(grant)} on table ${place(grant)} from ${whom(grant)}`;
  const onward = grants.filter(({ byOwner }) => !byOwner).toReversed();
  const first = grants.filter(({ byOwner }) => byOwner);
  return [
    ...onward.flatMap((grant) => [
      `set role ${quoteIdentifier(grant.grantor)}`,
      `${revoke(grant)} cascade`,
      'reset role',
    ]),
    ...first.map((grant) => `${revoke(grant)} cascade`),
  ];
}

/** Takes them all away, in the transaction that is open. */
export async function revokeGrants(session: Session, grants: readonly GrantRecord[]): Promise<void> {
  await runAll(session, revokeStatements(grants), 'could not revoke the privileges to write');
}

/** The statements that give them back, each in the name of its grantor. */
export function grantStatements(grants: readonly GrantRecord[]): string[] {
  return grants.flatMap((grant) => {
    const option = grant.grantable ? ' with grant option' : '';
    const statement = `grant ${what(grant)} on table ${place(grant)} to ${whom(grant)}${option}`;
    // What somebody grants who may act for the owner is granted by the owner.
    return grant.byOwner
      ? [statement]
      : [`set role ${quoteIdentifier(grant.grantor)}`, statement, 'reset role'];
  });
}

/** Of the tables $1 and the roles $2 (JSON lists), those that are gone. */
const goneQuery = `
  select t.name as "table", null as role from pg_catalog.json_array_elements_text($1::json) as t (name)
   where pg_catalog.to_regclass(t.name) is null
  union all
  select null, r.name from pg_catalog.json_array_elements_text($2::json) as r (name)
   where not exists (select from pg_catalog.pg_roles where rolname = r.name)`;

/** Gives them back in one transaction. A table or a role that is gone meanwhile is named and passed over. */
export async function putGrantsBack(
  session: Session,
  grants: readonly GrantRecord[],
  log: Log,
): Promise<void> {
  const tables = [...new Set(grants.map(place))];
  const roles = [
    ...new Set(grants.flatMap(({ grantor, grantee }) => (grantee === null ? [grantor] : [grantor, grantee]))),
  ];
  const gone = await session.query(goneQuery, [JSON.stringify(tables), JSON.stringify(roles)]);
  const goneTables = new Set(gone.map((row) => row['table']));
  const goneRoles = new Set(gone.map((row) => row['role']));
  const isGone = (grant: GrantRecord) =>
    goneTables.has(place(grant)) ||
    goneRoles.has(grant.grantor) ||
    (grant.grantee !== null && goneRoles.has(grant.grantee));
  for (const grant of grants.filter(isGone)) {
    log.warn(`not put back, since the table or a role is gone: ${grantStatements([grant]).join('; ')}`);
  }
  await session.query('begin');
  try {
    const statements = grantStatements(grants.filter((grant) => !isGone(grant)));
    await runAll(session, statements, 'could not put back the privileges to write');
    await session.query('commit');
  } catch (error) {
    await session.query('rollback').catch(() => {});
    throw error;
  }
}
