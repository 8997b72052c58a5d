/**
 * `clone --all-databases`: the roles once, then every database of the source's server that is no template, one after
 * the other, each as a clone of its own in `<work directory>/db/<name>/`. A database that the target lacks is made
 * as it is on the source.
 *
 * One after the other, since each uses all the jobs it is allowed; each has its own snapshot, taken when its turn
 * comes: no snapshot reaches over databases anyway, and one that is held for all of them holds back vacuum.
 */
import { join } from 'node:path';
import { closeCatalog, openCatalog } from '../catalog/database.js';
import { takeLocks } from '../catalog/lock.js';
import { databaseDirectory } from '../catalog/work-directory.js';
import type { Problem } from '../clone/options.js';
import { attemptAlone, forgetProblems, loadProblems, recordProblems } from '../clone/problems.js';
import { copyRoles } from '../clone/roles.js';
import { makeSchemaFolder } from '../clone/schema-file.js';
import { loadCloneSummary, type CloneSummary } from '../clone/summary.js';
import { asFailure, Failure, isStop, throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import { leftOutBecause } from '../postgres/catalog-lists.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { runClone, type CloneRunOptions } from './clone-run.js';
import { loadJobs } from './clone-settings.js';

/** What was done for one database. */
export type DatabaseSummary = {
  readonly database: string;
  readonly directory: string;
  readonly summary: CloneSummary;
};

export type AllDatabasesResult = {
  readonly databases: readonly DatabaseSummary[];
  /** Of the server itself: roles, databases. Those of a database are in its summary. */
  readonly problems: readonly Problem[];
};

/**
 * Clones all of them, or goes on with it. What fails for one database does not keep the others from being cloned
 * (but with --fail-fast): all failures are thrown together at the end.
 */
export async function cloneAllDatabases(options: CloneRunOptions): Promise<AllDatabasesResult> {
  const { directory, log, signal, source, target, roles } = options;
  const locks = takeLocks(directory, ['clone']);
  try {
    await makeSchemaFolder(directory);
    if (!options.request.resume) forgetProblems(directory);
    const { databases, serverVersion } = await lookAtServer(source, { log, signal });
    for (const { name, leftOut } of databases) {
      if (leftOut !== null) log.warn(`database ${name} is left out: ${leftOut}`);
    }
    if (roles !== null && roles !== undefined) {
      recordProblems(directory, await copyRoles({ source, target, serverVersion, log, signal, ...roles }));
    }
    const summaries: DatabaseSummary[] = [];
    const failures: Failure[] = [];
    for (const database of databases.filter((one) => one.leftOut === null)) {
      throwIfStopped(signal);
      try {
        const summary = await cloneOne(database, options);
        if (summary !== null) summaries.push(summary);
      } catch (error) {
        const failure = asFailure(error);
        if (isStop(failure) || options.failFast) throw failure;
        log.error(`${database.name}: ${failure.message}`);
        failures.push(
          new Failure(failure.code, `database ${database.name}: ${failure.message}`, { cause: error }),
        );
      }
    }
    throwTogether(failures);
    return { databases: summaries, problems: loadProblems(directory) };
  } finally {
    locks.release();
  }
}

/** In a session that is gone before the first clone begins, which has none to spare. */
async function lookAtServer(
  source: Conninfo,
  options: Pick<CloneRunOptions, 'log' | 'signal'>,
): Promise<{ readonly databases: readonly DatabaseFacts[]; readonly serverVersion: number }> {
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry databases',
    ...options,
  });
  return { databases: await fetchDatabases(session), serverVersion: session.serverVersion };
}

function throwTogether(failures: readonly Failure[]): void {
  const [first, second] = failures;
  if (first === undefined) return;
  if (second === undefined) throw first;
  const list = failures.map((failure) => `\n  ${failure.message}`).join('');
  throw new Failure(first.code, `${failures.length} databases could not be cloned:${list}`, { cause: first });
}

/** Null where there is nothing to do: `postgres` is empty mostly, and on a target as Neon nothing may be made in it. */
async function cloneOne(database: DatabaseFacts, options: CloneRunOptions): Promise<DatabaseSummary | null> {
  const { name } = database;
  const { source, target, signal } = options;
  const directory = databaseDirectory(options.directory, name);
  const log = namedLog(options.log, name);
  await using session = await connect(target, {
    side: 'target',
    applicationName: 'walferry databases',
    log,
    signal,
  });
  const isThere = (await session.query(existsQuery, [name])).length > 0;
  if (isThere && (await isEmpty({ ...source, database: name }, { log, signal }))) {
    log.info('the database holds nothing, and is on the target already: nothing to do');
    return null;
  }
  if (isThere) log.info('the database is on the target already');
  else recordProblems(options.directory, await createDatabase(session, database, options));
  await session.close();
  const result = await runClone({
    ...options,
    source: { ...source, database: name },
    target: { ...target, database: name },
    directory,
    journalDirectory: join(directory, 'cdc'),
    roles: null,
    log,
  });
  return { database: name, directory, summary: result?.summary ?? loadSummary(directory) };
}

// What initdb makes has lower OIDs (FirstNormalObjectId of the server); most of the rest depends on its schema.
const emptyQuery = `
  select 1 from pg_catalog.pg_database d
  where d.datname = pg_catalog.current_database()
    and not exists (
      select from pg_catalog.pg_depend
      where classid <> 'pg_catalog.pg_database'::pg_catalog.regclass and objid >= 16384)
    and not exists (
      select oid from pg_catalog.pg_namespace where oid >= 16384
      union all select oid from pg_catalog.pg_extension where oid >= 16384
      union all select oid from pg_catalog.pg_foreign_data_wrapper
      union all select oid from pg_catalog.pg_publication)
    and not exists (select from pg_catalog.pg_largeobject_metadata)
    and not exists (select from pg_catalog.pg_default_acl)
    and not exists (select from pg_catalog.pg_db_role_setting s where s.setdatabase = d.oid)`;

/** Whether nobody has made anything in the database: no schema, nothing in the schemas that are there, no settings. */
async function isEmpty(source: Conninfo, options: Pick<CloneRunOptions, 'log' | 'signal'>): Promise<boolean> {
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry databases',
    ...options,
  });
  return (await session.query(emptyQuery)).length > 0;
}

/** What a complete run in a directory did. */
function loadSummary(directory: string): CloneSummary {
  const catalog = openCatalog(directory);
  try {
    return loadCloneSummary(catalog, loadJobs(catalog), loadProblems(directory));
  } finally {
    closeCatalog(catalog);
  }
}

function namedLog(log: Log, name: string): Log {
  const named =
    (level: keyof Log): Log[typeof level] =>
    (message, fields) =>
      log[level](`${name}: ${message}`, fields);
  return {
    error: named('error'),
    warn: named('warn'),
    info: named('info'),
    notice: named('notice'),
    debug: named('debug'),
  };
}

/** A database of the source's server, and what it was made with. */
export type DatabaseFacts = {
  readonly name: string;
  readonly owner: string;
  readonly encoding: string;
  readonly collate: string;
  readonly ctype: string;
  readonly provider: 'libc' | 'icu' | 'builtin';
  /** Of ICU and of the built-in provider. */
  readonly locale: string | null;
  readonly icuRules: string | null;
  readonly connectionLimit: number;
  /** Why it is not cloned; null where it is. */
  readonly leftOut: string | null;
};

// The provider's columns are as old as 15, and two of them have changed their names since.
const databasesQuery = `
  select d.datname as name, pg_catalog.pg_get_userbyid(d.datdba) as owner,
    pg_catalog.pg_encoding_to_char(d.encoding) as encoding, d.datcollate as collate, d.datctype as ctype,
    f.facts ->> 'datlocprovider' as provider,
    coalesce(f.facts ->> 'datlocale', f.facts ->> 'daticulocale') as locale,
    f.facts ->> 'daticurules' as icu_rules, d.datconnlimit as connection_limit,
    ${leftOutBecause} as left_out
  from pg_catalog.pg_database d, lateral (select pg_catalog.to_jsonb(d) as facts) f
  where not d.datistemplate
  order by d.datname`;

async function fetchDatabases(source: Session): Promise<DatabaseFacts[]> {
  return (await source.query(databasesQuery)).map((row) => ({
    name: row['name'] ?? '',
    owner: row['owner'] ?? '',
    encoding: row['encoding'] ?? '',
    collate: row['collate'] ?? '',
    ctype: row['ctype'] ?? '',
    provider: row['provider'] === 'i' ? 'icu' : row['provider'] === 'b' ? 'builtin' : 'libc',
    locale: row['locale'] ?? null,
    icuRules: row['icu_rules'] ?? null,
    connectionLimit: Number(row['connection_limit'] ?? -1),
    leftOut: row['left_out'] ?? null,
  }));
}

const existsQuery = 'select 1 from pg_catalog.pg_database where datname = $1';

/**
 * Makes the database. What the target cannot give (an owner that is not there, a locale that its
 * system does not have) is left out one by one and reported. Throws `target-rights` and the like when nothing helps.
 */
async function createDatabase(
  target: Session,
  database: DatabaseFacts,
  { noOwner, log }: CloneRunOptions,
): Promise<Problem[]> {
  const whole = { owner: !noOwner, locale: true };
  const reduced = [
    whole,
    { owner: false, locale: true },
    { owner: !noOwner, locale: false },
    { owner: false, locale: false },
  ];
  let refused: string | null = null;
  for (const choice of reduced) {
    const sql = createStatement(database, choice);
    const message = await attemptAlone(target, sql);
    if (message === null) {
      log.info(`created database ${database.name}`);
      return refused === null ? [] : droppedProperties(database, whole, choice, refused);
    }
    refused ??= message;
  }
  await target.query(
    createStatement(database, { owner: false, locale: false }),
    [],
    'could not create the database',
  );
  return [];
}

type Choice = { readonly owner: boolean; readonly locale: boolean };

/** CREATE DATABASE with what is chosen of its properties. Pure. */
export function createStatement(database: DatabaseFacts, { owner, locale }: Choice): string {
  const literal = (text: string) => quoteLiteral(text).trim();
  const words = [`create database ${quoteIdentifier(database.name)} template template0`];
  words.push(`encoding ${literal(database.encoding)}`);
  if (locale) {
    words.push(`lc_collate ${literal(database.collate)} lc_ctype ${literal(database.ctype)}`);
    const name = literal(database.locale ?? '');
    if (database.provider === 'icu') words.push(`locale_provider icu icu_locale ${name}`);
    if (database.provider === 'builtin') words.push(`locale_provider builtin builtin_locale ${name}`);
    if (database.icuRules !== null) words.push(`icu_rules ${literal(database.icuRules)}`);
  }
  if (owner) words.push(`owner ${quoteIdentifier(database.owner)}`);
  if (database.connectionLimit !== -1) words.push(`connection limit ${database.connectionLimit}`);
  return words.join(' ');
}

function droppedProperties(
  database: DatabaseFacts,
  wanted: Choice,
  made: Choice,
  message: string,
): Problem[] {
  const object = `database ${database.name}`;
  const problems: Problem[] = [];
  if (wanted.owner && !made.owner) {
    const sql = `alter database ${quoteIdentifier(database.name)} owner to ${quoteIdentifier(database.owner)};`;
    problems.push({ object: `owner of ${object}`, message, sql });
  }
  if (wanted.locale && !made.locale) {
    const was = `${database.collate}${database.locale === null ? '' : `, ${database.provider} ${database.locale}`}`;
    problems.push({ object, message: `it has the target's own locale, not ${was}: ${message}`, sql: null });
  }
  return problems;
}
