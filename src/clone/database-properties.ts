/**
 * Settings of the database itself: ALTER DATABASE … SET, and ALTER ROLE … IN DATABASE … SET.
 *
 * They come before the rows, since functions in constraints and indexes may depend on them; those that would hinder
 * a restore (pg_restore's sessions have them too) come when everything is done.
 */
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { Problem } from './options.js';
import { attemptAlone } from './problems.js';

/** One setting. */
export type DatabaseProperty = {
  /** Null: for everybody. */
  readonly role: string | null;
  readonly name: string;
  readonly value: string;
};

const propertiesQuery = `
  select case s.setrole when 0 then null else pg_catalog.pg_get_userbyid(s.setrole) end as role,
    c.setting
  from pg_catalog.pg_db_role_setting s
  join pg_catalog.pg_database d on d.oid = s.setdatabase,
    lateral unnest(s.setconfig) with ordinality as c(setting, position)
  where d.datname = pg_catalog.current_database()
  order by s.setrole, c.position`;

/** The settings of the current database. */
export async function fetchDatabaseProperties(source: Session): Promise<DatabaseProperty[]> {
  const rows = await source.query(propertiesQuery);
  return rows.map((row) => {
    const setting = row['setting'] ?? '';
    const equals = setting.indexOf('=');
    return { role: row['role'] ?? null, name: setting.slice(0, equals), value: setting.slice(equals + 1) };
  });
}

// With these pg_restore and our COPY would fail, write nothing, or write elsewhere.
const hindering =
  /^(?:default_transaction_(?:read_only|isolation|deferrable)|role|session_authorization|row_security|session_replication_role|default_tablespace|default_table_access_method|check_function_bodies|default_toast_compression|transaction_timeout|idle_session_timeout|allow_system_table_mods|zero_damaged_pages|ignore_checksum_failure)$/;

/** When a property is set: `before` the rows, or `after` everything. Pure. */
export function propertyMoment({ name }: DatabaseProperty): 'before' | 'after' {
  return hindering.test(name.toLowerCase()) ? 'after' : 'before';
}

// As pg_dump's variable_is_guc_list_quote: their value is a list of quoted names, which is not one literal.
const listSettings = new Set([
  'local_preload_libraries',
  'search_path',
  'session_preload_libraries',
  'shared_preload_libraries',
  'temp_tablespaces',
  'unix_socket_directories',
]);

/** The statement that sets it on the target's database. Pure. */
export function propertyStatement(property: DatabaseProperty, database: string): string {
  const { role, name, value } = property;
  const at = quoteIdentifier(database);
  const alter =
    role === null ? `alter database ${at}` : `alter role ${quoteIdentifier(role)} in database ${at}`;
  // A name of an extension's setting has a dot, and is two identifiers.
  const setting = name.split('.').map(quoteIdentifier).join('.');
  const values = listSettings.has(name.toLowerCase()) ? readNameList(value) : [value];
  const text = values.map((one) => quoteLiteral(one).trim()).join(', ');
  return `${alter} set ${setting} to ${text === '' ? "''" : text};`;
}

/** `"$user", public` → its names. Unquoted ones are lower case already. */
function readNameList(text: string): string[] {
  const names: string[] = [];
  for (const [, quoted, plain] of text.matchAll(/"((?:[^"]|"")*)"|([^\s,"]+)/g)) {
    names.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'));
  }
  return names;
}

/**
 * A source that is read-only as a whole is mostly one that was frozen for a switch: its target is what the application is
 * to write to. What is said of single roles (for reports) is meant to last. Pure.
 */
export function whyNotCarried({ role, name, value }: DatabaseProperty): string | null {
  const readOnly = name.toLowerCase() === 'default_transaction_read_only' && role === null;
  if (!readOnly || !isOn(value)) return null;
  return 'the source is read-only as a whole, and the target is to take writes: set it there yourself where that is meant';
}

/** A setting's boolean as Postgres reads it. */
export function isOn(value: string | null): boolean {
  return value !== null && !/^(?:off?|f(?:a(?:l(?:se?)?)?)?|no?|0)$/i.test(value.trim());
}

function objectOf({ role, name }: DatabaseProperty): string {
  return `setting ${name}${role === null ? '' : ` of role ${role}`} in the database`;
}

/** Sets those of a moment, each for itself. Returns what was refused. */
export async function setDatabaseProperties(
  target: Session,
  properties: readonly DatabaseProperty[],
  moment: 'before' | 'after',
): Promise<Problem[]> {
  const wanted = properties.filter((one) => propertyMoment(one) === moment);
  if (wanted.length === 0) return [];
  const [row] = await target.query('select pg_catalog.current_database() as name');
  const problems: Problem[] = [];
  for (const property of wanted) {
    const kept = whyNotCarried(property);
    if (kept !== null) {
      problems.push({ object: objectOf(property), message: kept, sql: null });
      continue;
    }
    const sql = propertyStatement(property, row?.['name'] ?? '');
    const refused = await attemptAlone(target, sql);
    if (refused === null) continue;
    problems.push({ object: objectOf(property), message: refused, sql });
  }
  return problems;
}
