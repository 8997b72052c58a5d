/**
 * Functions that would write although the privileges to write are revoked: SECURITY DEFINER, VOLATILE, of an owner who
 * keeps his rights (he owns tables, or is a superuser), callable by somebody who does not. What they do nobody can know:
 * they are named, for who knows the application.
 */
import type { Session } from '../postgres/connect.js';
import { userSchema } from '../postgres/schema-scope.js';

export type DefinerFunction = {
  /** `schema.name(argument types)`. */
  readonly label: string;
  readonly owner: string;
};

/** Those of extensions, and those that only triggers call, are not the application's to call. */
const definersQuery = `
  with owners (oid, name) as (
    select o.oid, o.rolname from pg_catalog.pg_roles o
     where o.rolsuper or pg_catalog.pg_has_role(o.oid, 'pg_write_all_data', 'usage') or exists (
       select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and c.relpersistence <> 't' and c.oid >= 16384
          and ${userSchema}
          and pg_catalog.pg_has_role(o.oid, c.relowner, 'usage'))
  )
  select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(p.proname) || '(' ||
         pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' as label, o.name as owner
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    join owners o on o.oid = p.proowner
   where p.prosecdef and p.provolatile = 'v' and p.oid >= 16384
     and p.prorettype not in ('pg_catalog.trigger'::regtype, 'pg_catalog.event_trigger'::regtype)
     and ${userSchema}
     and not exists (
       select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
     and exists (
       select from pg_catalog.pg_roles r
        where r.rolcanlogin and not r.rolsuper and not pg_catalog.pg_has_role(r.oid, p.proowner, 'usage')
          and pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'connect')
          and pg_catalog.has_schema_privilege(r.oid, n.oid, 'usage')
          and pg_catalog.has_function_privilege(r.oid, p.oid, 'execute'))
   order by 1`;

export async function fetchDefiners(session: Session): Promise<DefinerFunction[]> {
  const rows = await session.query(definersQuery, [], 'could not list SECURITY DEFINER functions');
  return rows.map((row) => ({ label: row['label'] ?? '', owner: row['owner'] ?? '' }));
}

/** So many are named; the rest is counted. */
const named = 10;

/** `public.sell(integer) (of shop), public.refund(integer) (of shop) and 4 more`. */
export function describeDefiners(functions: readonly DefinerFunction[]): string {
  const shown = functions.slice(0, named).map(({ label, owner }) => `${label} (of ${owner})`);
  const rest = functions.length - shown.length;
  return shown.join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
