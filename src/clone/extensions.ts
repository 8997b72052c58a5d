/**
 * Extensions: which the target must offer before anything is copied, which are made in a given version, and the rows
 * of their configuration tables, which are the user's although the tables are the extension's.
 */
import { readFileSync } from 'node:fs';
import { Failure, systemReason } from '../failure.js';
import type { Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import { arrayLiteral, quoteIdentifier, quoteLiteral, quoteQualified } from '../model/sql.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from '../postgres/connect.js';
import { joinCopy } from '../postgres/copy.js';
import { sqlState } from '../postgres/sqlstate.js';
import { configurationTask, fetchDoneTasks, recordDoneTask } from '../postgres/task-table.js';
import type { Problem, RestoreChoices } from './options.js';
import { attemptAlone, serverSentence } from './problems.js';

/** An extension of the source. */
export type ExtensionFacts = {
  readonly oid: number;
  readonly name: string;
  readonly schema: string;
  /** Tables first those that others refer to, then sequences. */
  readonly configuration: readonly ConfigurationTable[];
};

/** A table or sequence of the extension whose rows pg_dump would dump (pg_extension_config_dump). */
export type ConfigurationTable = {
  readonly schema: string;
  readonly name: string;
  readonly kind: 'table' | 'sequence';
  readonly columns: readonly string[];
  /** `WHERE …` of the rows that are the user's; empty for all. */
  readonly condition: string;
};

const extensionsQuery = `
  select e.oid, e.extname as name, n.nspname as schema,
    (select pg_catalog.json_agg(pg_catalog.json_build_object('oid', c.oid::bigint, 'schema', cn.nspname,
        'name', c.relname, 'kind', case c.relkind when 'S' then 'sequence' else 'table' end,
        'condition', coalesce(e.extcondition[k.position], ''),
        'columns', (select coalesce(pg_catalog.json_agg(a.attname order by a.attnum), '[]'::json)
          from pg_catalog.pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''))
        order by k.position)
      from unnest(e.extconfig) with ordinality as k(oid, position)
      join pg_catalog.pg_class c on c.oid = k.oid and c.relkind in ('r', 'p', 'S')
      join pg_catalog.pg_namespace cn on cn.oid = c.relnamespace)::text as configuration
  from pg_catalog.pg_extension e
  join pg_catalog.pg_namespace n on n.oid = e.extnamespace
  where e.oid >= 16384
  order by e.oid`;

// Which configuration table refers to which.
const referencesQuery = `
  select distinct k.conrelid as referring, k.confrelid as referenced
  from pg_catalog.pg_constraint k
  where k.contype = 'f' and k.conrelid <> k.confrelid
    and k.conrelid in (select unnest(extconfig) from pg_catalog.pg_extension)`;

type ReadTable = ConfigurationTable & { readonly oid: number };

/** The extensions that were installed in this database, in the order in which they were. */
export async function fetchExtensions(source: Session): Promise<ExtensionFacts[]> {
  const rows = await source.query(extensionsQuery);
  const tables = (text: string | null | undefined) => JSON.parse(text ?? '[]') as ReadTable[];
  const referenced = new Map<number, number[]>();
  if (rows.some((row) => row['configuration'] !== null)) {
    for (const row of await source.query(referencesQuery)) {
      const referring = Number(row['referring']);
      referenced.set(referring, [...(referenced.get(referring) ?? []), Number(row['referenced'])]);
    }
  }
  return rows.map((row) => ({
    oid: Number(row['oid']),
    name: row['name'] ?? '',
    schema: row['schema'] ?? '',
    configuration: orderByReferences(tables(row['configuration']), referenced).map(
      ({ oid: _oid, ...table }) => table,
    ),
  }));
}

/** Referenced tables before those that refer to them; sequences last. Pure. */
export function orderByReferences<Table extends { readonly oid: number; readonly kind: string }>(
  tables: readonly Table[],
  referenced: ReadonlyMap<number, readonly number[]>,
): Table[] {
  const ordered: Table[] = [];
  const visited = new Set<number>();
  const visit = (table: Table) => {
    if (visited.has(table.oid)) return;
    visited.add(table.oid);
    for (const oid of referenced.get(table.oid) ?? []) {
      const other = tables.find((one) => one.oid === oid);
      if (other !== undefined) visit(other);
    }
    ordered.push(table);
  };
  tables.forEach(visit);
  return ordered.toSorted((a, b) => Number(a.kind === 'sequence') - Number(b.kind === 'sequence'));
}

/** One entry of a `--requirements` file. */
export type ExtensionRequirement = { readonly name: string; readonly version: string };

/** Reads a `--requirements` file: `[{"name": "postgis", "version": "3.4.0"}]`. Throws `usage`. */
export function loadRequirements(file: string): ExtensionRequirement[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const why = error instanceof SyntaxError ? 'is not JSON' : `cannot be read${systemReason(error)}`;
    throw new Failure('usage', `the requirements file ${file} ${why}`, { cause: error });
  }
  const requirements = readRequirements(parsed);
  if (requirements !== null) return requirements;
  throw new Failure(
    'usage',
    `the requirements file ${file} must hold a list such as [{"name": "postgis", "version": "3.4.0"}]`,
  );
}

function readRequirements(parsed: unknown): ExtensionRequirement[] | null {
  if (!Array.isArray(parsed)) return null;
  const requirements: ExtensionRequirement[] = [];
  for (const one of parsed as unknown[]) {
    if (typeof one !== 'object' || one === null) return null;
    const { name, version } = one as Record<string, unknown>;
    if (typeof name !== 'string' || typeof version !== 'string') return null;
    requirements.push({ name, version });
  }
  return requirements;
}

/** Whether an object of the source is copied at all. */
type IsKept = (classOid: number, oid: number) => boolean;

const versionsQuery = `
  select v.name, v.version, v.installed,
    (v.version = a.default_version)::text as is_default
  from pg_catalog.pg_available_extension_versions v
  join pg_catalog.pg_available_extensions a on a.name = v.name`;

// What is no member of an extension and cannot exist without one that is: a column of its type, an index by its
// operator class, another extension. Parts (a column's default) count as what they are a part of: keys and indexes of the
// extension's own tables, and checks of its domains, are no members, and come with it.
const dependentsQuery = `
  select distinct e.extname as extension, d.classid as class, d.objid as object,
    pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) as description
  from pg_catalog.pg_extension e
  join pg_catalog.pg_depend m on m.refclassid = 'pg_catalog.pg_extension'::regclass and m.refobjid = e.oid
    and m.deptype = 'e'
  join pg_catalog.pg_depend d on d.refclassid = m.classid and d.refobjid = m.objid and d.deptype in ('n', 'a')
  where e.extname = any ($1::text[])
    -- An operator class's own rows hang on the class, not on the extension.
    and d.classid not in ('pg_catalog.pg_amop'::regclass, 'pg_catalog.pg_amproc'::regclass)
    and not exists (
      select from pg_catalog.pg_depend o
      where o.classid = d.classid and o.objid = d.objid and o.deptype in ('e', 'i'))
    and not exists (
      select from pg_catalog.pg_depend p
      join pg_catalog.pg_depend w on w.classid = p.refclassid and w.objid = p.refobjid and w.deptype = 'e'
      where p.classid = d.classid and p.objid = d.objid and p.deptype = 'a'
        and p.refclassid in ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_type'::regclass))
  order by 1, 4`;

const labelsShown = 5;

/**
 * Says before anything is copied what of the extensions the target cannot have. An extension that is missing and
 * that nothing needs is only reported, when its CREATE EXTENSION fails. Throws `target-setup`.
 */
export async function expectExtensions(
  source: Session,
  target: Session,
  extensions: readonly ExtensionFacts[],
  choices: Pick<RestoreChoices, 'skipExtensions' | 'requirements'>,
  isKept: IsKept,
): Promise<void> {
  if (extensions.length === 0) return;
  const versions = await target.query(versionsQuery);
  const offered = new Set(versions.map((row) => row['name']));
  const rows = await target.query('select extname from pg_catalog.pg_extension');
  const installed = new Set(rows.map((row) => row['extname']));
  const problems: string[] = [];
  for (const { name, version } of choices.skipExtensions === true ? [] : (choices.requirements ?? [])) {
    if (installed.has(name) || !extensions.some((one) => one.name === name)) continue;
    if (versions.some((row) => row['name'] === name && row['version'] === version)) continue;
    const others = versions.filter((row) => row['name'] === name).map((row) => row['version'] ?? '');
    const has =
      others.length === 0
        ? 'it has none'
        : `it has ${others.toSorted((a, b) => (a < b ? -1 : 1)).join(', ')}`;
    problems.push(
      `extension ${name} is required in version ${version}, which the target does not offer: ${has}`,
    );
  }
  const missing = extensions
    .map(({ name }) => name)
    .filter((name) => !installed.has(name) && (choices.skipExtensions === true || !offered.has(name)));
  const needed = await fetchExtensionNeeds(source, missing, isKept);
  for (const [name, dependents] of needed) {
    const shown = dependents
      .slice(0, labelsShown)
      .map(({ label }) => label)
      .join(', ');
    const more = dependents.length > labelsShown ? ` and ${dependents.length - labelsShown} more` : '';
    const lacks = choices.skipExtensions === true ? 'does not have' : 'does not offer';
    problems.push(`the target ${lacks} extension ${name}, which is needed by ${shown}${more}`);
  }
  if (problems.length === 0) return;
  throw new Failure('target-setup', problems.join('\n'), {
    remedy:
      choices.skipExtensions === true
        ? 'Create it on the target first, or leave out what needs it with --filters.'
        : 'Install it on the target, or leave out what needs it with --filters.',
  });
}

/** What of the source, as it is kept, cannot exist without these extensions: descriptions, by the extension. */
export async function fetchExtensionNeeds(
  source: Session,
  names: readonly string[],
  isKept: IsKept,
): Promise<Map<string, { readonly classOid: number; readonly label: string }[]>> {
  const needed = new Map<string, { readonly classOid: number; readonly label: string }[]>();
  if (names.length === 0) return needed;
  for (const row of await source.query(dependentsQuery, [arrayLiteral(names)])) {
    const classOid = Number(row['class']);
    if (!isKept(classOid, Number(row['object']))) continue;
    const extension = row['extension'] ?? '';
    const one = { classOid, label: row['description'] ?? '' };
    needed.set(extension, [...(needed.get(extension) ?? []), one]);
  }
  return needed;
}

const extensionSchemasQuery = `
  select n.oid
  from pg_catalog.pg_namespace n
  where n.nspname <> 'public' and n.oid >= 16384
    and exists (select from pg_catalog.pg_extension e where e.extnamespace = n.oid)
    and not exists (
      select from pg_catalog.pg_depend d
      where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid = n.oid and d.deptype = 'n'
        and d.classid <> 'pg_catalog.pg_extension'::regclass
        and not exists (
          select from pg_catalog.pg_depend m
          where m.classid = d.classid and m.objid = d.objid and m.deptype = 'e'))`;

/** OIDs of the schemas in which there is nothing but what extensions brought. */
export async function fetchExtensionSchemas(source: Session): Promise<Set<number>> {
  return new Set((await source.query(extensionSchemasQuery)).map((row) => Number(row['oid'])));
}

const schemaThereQuery = 'select from pg_catalog.pg_namespace where nspname = $1';

/**
 * Makes the extensions of which a version is required, and `first` ones; the rest comes with the dump. A schema that is
 * not there is made too: asked for each anew, since an extension may bring that of another. What is refused is
 * reported; whatever needs it fails for itself.
 */
export async function createExtensions(
  target: Session,
  extensions: readonly ExtensionFacts[],
  requirements: readonly ExtensionRequirement[],
  first: ReadonlySet<string>,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const { name, schema } of extensions) {
    const version = requirements.find((one) => one.name === name)?.version;
    if (version === undefined && !first.has(name)) continue;
    const pinned = version === undefined ? '' : ` version ${quoteLiteral(version).trim()}`;
    if ((await target.query(schemaThereQuery, [schema])).length === 0) {
      const make = `create schema ${quoteIdentifier(schema)};`;
      const refused = await attemptAlone(target, make);
      if (refused !== null) problems.push({ object: `schema ${schema}`, message: refused, sql: make });
    }
    const sql = `create extension if not exists ${quoteIdentifier(name)} with schema ${quoteIdentifier(schema)}${pinned} cascade;`;
    const refused = await attemptAlone(target, sql);
    if (refused !== null) problems.push({ object: `extension ${name}`, message: refused, sql });
  }
  return problems;
}

export type ConfigurationCopy = {
  /** Inside of the snapshot. */
  readonly source: Session;
  readonly target: Session;
  readonly key: StreamKey;
  /** The later generation that the snapshot is of, when it is not the one that the run began with. */
  readonly generation?: number | undefined;
  /** --drop-if-exists: rows that are there are replaced. */
  readonly replace: boolean;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
};

/** Copies the configuration tables' rows. What the role may not do is reported, table by table. */
export async function copyConfiguration(
  extensions: readonly ExtensionFacts[],
  copy: ConfigurationCopy,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  const done = await fetchDoneTasks(copy.target, copy.key);
  const open = extensions.flatMap((extension) =>
    extension.configuration.flatMap((table) => {
      const task = configurationTask(extension.name, quoteQualified(table.schema, table.name));
      return done.has(task) ? [] : [{ extension, table, task }];
    }),
  );
  if (copy.replace) {
    // Those that refer to others first. What is refused is seen when its rows are still there.
    for (const { table } of open.toReversed()) {
      if (table.kind === 'table') await attemptAlone(copy.target, `delete ${ownRows(table)}`);
    }
  }
  for (const { extension, table, task } of open) {
    const message = await copyConfigurationTable(table, task, copy);
    if (message === null) continue;
    problems.push({
      object: `rows of ${relationLabel(table)} of extension ${extension.name}`,
      message,
      sql: null,
    });
  }
  return problems;
}

/** `from … where …` of the rows that are the user's. */
function ownRows({ schema, name, condition }: ConfigurationTable): string {
  return `from only ${quoteQualified(schema, name)} ${condition}`;
}

// 42501 rights, 42P01 and 42703: another version of the extension has no such table or column.
const reportedStates = new Set(['42501', '42P01', '42703', '3F000']);

async function copyConfigurationTable(
  table: ConfigurationTable,
  task: string,
  { source, target, key, generation, log, signal }: ConfigurationCopy,
): Promise<string | null> {
  const label = relationLabel(table);
  const name = quoteQualified(table.schema, table.name);
  await source.query('savepoint walferry_configuration');
  await target.query('begin');
  try {
    let result = { bytes: 0, rows: 0 };
    if (table.kind === 'sequence') {
      const [row] = await source.query(`select last_value, is_called from ${name}`);
      await target.query('select pg_catalog.setval($1::regclass, $2::bigint, $3::boolean)', [
        name,
        row?.['last_value'] ?? null,
        row?.['is_called'] ?? null,
      ]);
    } else {
      const rows = ownRows(table);
      const [held] = await target.query(`select exists (select ${rows}) as held`);
      if (held?.['held'] === 't') {
        await target.query('rollback');
        return 'the target has rows of its own there, which stay as they are';
      }
      // Asked first, so that a refusal does not break the COPY, and the sessions with it.
      await source.query(`select from only ${name} limit 0`);
      const [may] = await target.query(`select pg_catalog.has_table_privilege($1, 'insert') as insert`, [
        name,
      ]);
      if (may?.['insert'] !== 't') {
        await target.query('rollback');
        return `permission denied for table ${label}`;
      }
      const columns = table.columns.map(quoteIdentifier).join(', ');
      result = await joinCopy({
        source,
        copyOut: `copy (select ${columns} ${rows}) to stdout`,
        target,
        copyIn: `copy ${name} (${columns}) from stdin`,
        label,
        signal,
      });
    }
    await recordDoneTask(target, key, { name: task, generation, ...result });
    await target.query('commit');
    log.notice(`copied ${label}`, { rows: result.rows });
    return null;
  } catch (error) {
    if (!reportedStates.has(sqlState(error) ?? '')) throw error;
    await target.query('rollback');
    await source.query('rollback to savepoint walferry_configuration');
    return serverSentence(error);
  }
}
