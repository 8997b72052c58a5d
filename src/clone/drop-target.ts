/** --drop-if-exists: what must go before pg_restore's own DROP statements can. */
import { quoteIdentifier } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { attemptAlone } from './problems.js';
import type { SchemaFile } from './schema-file.js';

/** The words of pg_identify_object, which begin an identity and are the DROP statement's own. */
const droppedFirst = ['event trigger', 'publication'] as const;

/**
 * Event triggers and publications of the source's names: they belong to no table and would outlive all of them, an
 * event trigger keeps its function from being dropped and fires at what we do. What may not be dropped stays.
 */
export async function dropDatabaseObjects(target: Session, file: SchemaFile): Promise<void> {
  for (const [, identity] of file.identities) {
    const type = droppedFirst.find((word) => identity.startsWith(`${word} `));
    if (type === undefined) continue;
    await attemptAlone(target, `drop ${type} if exists ${identity.slice(type.length + 1)}`);
  }
  await revokeDefaultPrivileges(target, file);
}

// On functions and types a grant to PUBLIC that is not in one schema may be the server's own, which a revoke would take
// away; on tables, sequences and schemas it has none.
const defaultPrivilegesQuery = `
  select distinct pg_catalog.pg_get_userbyid(d.defaclrole) as role, n.nspname as schema,
    case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
      when 'T' then 'types' when 'n' then 'schemas' end as objects,
    case a.grantee when 0 then null else pg_catalog.pg_get_userbyid(a.grantee) end as grantee,
    i.type || ' ' || i.identity as identity
  from pg_catalog.pg_default_acl d
  left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace,
    lateral pg_catalog.aclexplode(d.defaclacl) a,
    lateral pg_catalog.pg_identify_object('pg_catalog.pg_default_acl'::regclass, d.oid, 0) i
  where a.grantee <> d.defaclrole
    and (a.grantee <> 0 or n.oid is not null or d.defaclobjtype in ('r', 'S', 'n'))`;

/**
 * Default privileges that the source has too, and that an earlier clone has left: tables made under them would have
 * grants that the source's do not. They come back with the rest.
 */
async function revokeDefaultPrivileges(target: Session, file: SchemaFile): Promise<void> {
  const ours = new Set(file.identities.map(([, identity]) => identity));
  for (const row of await target.query(defaultPrivilegesQuery)) {
    const { role, schema, objects, grantee } = row;
    if (objects === null || !ours.has(row['identity'] ?? '')) continue;
    const where = schema === null ? '' : ` in schema ${quoteIdentifier(schema ?? '')}`;
    const from = grantee === null ? 'public' : quoteIdentifier(grantee ?? '');
    await attemptAlone(
      target,
      `alter default privileges for role ${quoteIdentifier(role ?? '')}${where} revoke all on ${objects} from ${from}`,
    );
  }
}
