/** Which relations are a user's own: pieces of catalog queries. */

/** Schemas that are never copied: the system's, temporary ones, and our own. Speaks of `n`, a pg_namespace. */
export const userSchema = `n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'walferry')`;

/** Members of an extension come with it. Speaks of `c`, a pg_class. */
export const notOfExtension = `not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')`;
