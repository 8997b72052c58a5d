/**
 * The target: what our role may do there, tried for real in one transaction that is rolled back, and what is there
 * already. A lock that is not to be had within two seconds is no refusal of a right, but it is told.
 */
import { clearLargeObjects, fetchLargeObjectRefusal, refusedLargeObjects } from '../clone/large-objects.js';
import { attemptStatement } from '../clone/problems.js';
import { expectIndexNames, expectNoTables, fetchTaken, listLabels } from '../clone/requirements.js';
import { Failure } from '../failure.js';
import { relationLabel } from '../model/relation.js';
import { arrayLiteral, quoteIdentifier } from '../model/sql.js';
import { catalogOids } from '../postgres/dump.js';
import { holdsLargeObjects } from '../postgres/large-object.js';
import { userSchema } from '../postgres/schema.js';
import { holdsTargetSchema, targetSchemaStatements } from '../postgres/target-schema.js';
import type { Session } from '../postgres/connect.js';
import { asked, counted, fail, pass, warn, type Finding } from './finding.js';
import type { RunWish, SourceView } from './options.js';
import type { ServerFacts } from './server-facts.js';

/** Holds what is tried, and is never committed. */
export const trialSchema = `walferry_trial_${process.pid}`;

/** Runs `work` in a transaction of the target that is rolled back whatever happens. */
export async function inTrial<Result>(target: Session, work: () => Promise<Result>): Promise<Result> {
  await target.query('begin');
  try {
    await target.query(`set local lock_timeout to '2s'`);
    return await work();
  } finally {
    await target.query('rollback').catch(() => []);
  }
}

/** As attemptStatement, and takes it back at once: another run must not wait for what is only tried. */
async function tryStatement(target: Session, sql: string): Promise<string | null> {
  await target.query('savepoint walferry_trial');
  const refused = await attemptStatement(target, sql);
  await target.query('rollback to savepoint walferry_trial');
  return refused;
}

/** Whether sessions can write at all: pg_restore's do not switch this off, as ours do. Pure. */
export function judgeWritable(facts: ServerFacts): Finding | null {
  const title = 'writing';
  if (facts.inRecovery) {
    const failure = new Failure('target-setup', 'the target is a standby, which nobody can write to', {
      remedy: 'Give the primary as --target.',
    });
    return fail('target.writable', title, failure);
  }
  if (facts.settings.get('default_transaction_read_only')?.start !== 'on') return null;
  const { role, database } = facts;
  const failure = new Failure(
    'target-setup',
    'new sessions are read-only (default_transaction_read_only = on): pg_restore could make nothing',
    {
      // A session that is read-only itself could not do it.
      remedy: `begin read write; alter role ${quoteIdentifier(role.name)} in database ${quoteIdentifier(database.name)} set default_transaction_read_only = off; commit;`,
    },
  );
  return fail('target.writable', title, failure);
}

// What a clone makes in a schema; an extension's own comes with it. Without tables and sequences a run ends; the rest is
// reported where it is refused.
const madeInSchemas = `
  select o.class, o.oid, n.nspname as name, o.rows from pg_catalog.pg_namespace n, lateral (
    select 'pg_catalog.pg_class'::regclass::oid as class, c.oid, c.relkind in ('r', 'p', 'S') as rows
    from pg_catalog.pg_class c
    where c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c')
    union all
    select 'pg_catalog.pg_proc'::regclass, p.oid, false from pg_catalog.pg_proc p where p.pronamespace = n.oid
    union all
    select 'pg_catalog.pg_type'::regclass, t.oid, false from pg_catalog.pg_type t
    where t.typnamespace = n.oid and t.typrelid = 0 and t.typcategory <> 'A') o
  where ${userSchema} and not exists (select from pg_catalog.pg_depend d
    where d.classid = o.class and d.objid = o.oid and d.deptype = 'e')`;

const filledQuery = `
  select made.name, bool_or(made.rows) as rows from (${madeInSchemas}) made group by made.name`;

const schemasQuery = `
  select n.oid, n.nspname as name from pg_catalog.pg_namespace n where ${userSchema} order by 2`;

const namespaceClass = 2615;

/** A schema of the source that a clone makes where it is not there. */
export type UsedSchema = {
  readonly name: string;
  /** What is made in it that no extension brings: tables or sequences, only other things, nothing. */
  readonly holds: 'rows' | 'others' | 'nothing';
};

/** The schemas of the source that are copied. */
export async function fetchUsedSchemas({ session, keeps, filter }: SourceView): Promise<UsedSchema[]> {
  const schemas = await session.query(schemasQuery);
  const made = await session.query(filter === null ? filledQuery : madeInSchemas);
  const holds = new Map<string, UsedSchema['holds']>();
  for (const row of made) {
    const name = row['name'] ?? '';
    if (filter !== null && !keeps(Number(row['class']), Number(row['oid']))) continue;
    holds.set(name, row['rows'] === 't' || holds.get(name) === 'rows' ? 'rows' : 'others');
  }
  return schemas
    .map((row) => ({ oid: Number(row['oid']), name: row['name'] ?? '' }))
    .filter(({ oid }) => keeps(namespaceClass, oid))
    .map(({ name }) => ({ name, holds: holds.get(name) ?? 'nothing' }));
}

/** Our own schema, from an earlier run: of which version, and whether we may read it. Not inside of a transaction. */
export function checkOwnSchema(target: Session): Promise<Finding> {
  return asked('target.own-schema', 'schema walferry', async () =>
    (await holdsTargetSchema(target)) ? ownSchemaThere : 'the run makes it',
  );
}

const ownSchemaThere = 'it is there, of this version';

const recordStatement = `
  insert into walferry.task (stream, system_identifier, database, name, bytes, rows)
  values ('${trialSchema}', '', '', '', 0, 0)`;

/**
 * Making schemas, tables and rows, in the trial. `schemas`: those of the source; empty where it is not known.
 */
export async function tryTargetRights(
  target: Session,
  facts: ServerFacts,
  own: Finding,
  schemas: readonly UsedSchema[],
): Promise<Finding[]> {
  const role = quoteIdentifier(facts.role.name);
  const database = quoteIdentifier(facts.database.name);
  const findings: Finding[] = own.verdict === 'fail' ? [own] : [];
  const ownIsThere = own.reason === ownSchemaThere;
  const existing = await fetchSchemas(
    target,
    schemas.map(({ name }) => name),
  );
  const missing = schemas.filter(({ name }) => !existing.has(name));
  const there = schemas.filter(({ name, holds }) => holds !== 'nothing' && existing.has(name));
  const needsSchemas = !ownIsThere || missing.length > 0;
  const made = await attemptStatement(target, `create schema ${trialSchema}`);
  if (made !== null && needsSchemas) {
    const failure = new Failure('target-rights', `our role may not make a schema: ${made}`, {
      remedy: `As its owner: grant create on database ${database} to ${role};`,
    });
    findings.push(fail('target.schemas', 'new schemas', failure));
  }
  const unmade = await tryStatement(target, ownIsThere ? recordStatement : targetSchemaStatements);
  // Where no schema can be made, that is the line above.
  if (unmade !== null && own.verdict !== 'fail' && (ownIsThere || made === null)) {
    const failure = new Failure('target-rights', `our role may not write to the schema walferry: ${unmade}`, {
      remedy: 'Use the role that made it, or drop the schema walferry if no run needs it any more.',
    });
    findings.push(fail(own.id, own.title, failure));
  }
  const refused: (UsedSchema & { words: string })[] = [];
  for (const schema of there) {
    const words = await tryStatement(
      target,
      `create table ${quoteIdentifier(schema.name)}.${trialSchema} (id int primary key)`,
    );
    if (words !== null) refused.push({ ...schema, words });
  }
  findings.push(...judgeRefusedSchemas(refused, role));
  if (made === null) {
    const words = await attemptStatement(target, rowsStatement);
    if (words !== null) {
      const failure = new Failure('target-rights', `our role may not make and fill a table: ${words}`);
      findings.push(fail('target.rows', 'new tables', failure));
    }
  }
  if (findings.some(({ verdict }) => verdict === 'fail')) return findings;
  return [
    pass(
      'target.rights',
      'rights',
      `schemas, tables, rows, indexes and keys can be made (tried${there.length > 0 ? `, also in ${there.map(({ name }) => name).join(', ')}` : ''})`,
    ),
  ];
}

function judgeRefusedSchemas(
  refused: readonly (UsedSchema & { readonly words: string })[],
  role: string,
): Finding[] {
  const id = 'target.tables-in-schemas';
  const title = 'tables in schemas';
  return (['rows', 'others'] as const).flatMap((holds) => {
    const own = refused.filter((one) => one.holds === holds);
    const [first] = own;
    if (first === undefined) return [];
    const names = own.map(({ name }) => quoteIdentifier(name)).join(', ');
    const reason = `our role may not make anything in schema ${names}: ${first.words}`;
    const remedy = `As its owner: grant create on schema ${names} to ${role};`;
    if (holds === 'rows') return [fail(id, title, new Failure('target-rights', reason, { remedy }))];
    return [
      warn(id, title, `${reason}; it holds no table, and what is refused is listed at the end`, remedy),
    ];
  });
}

const namedSchemasQuery = `select nspname as name from pg_catalog.pg_namespace where nspname = any ($1::name[])`;

async function fetchSchemas(target: Session, names: readonly string[]): Promise<Set<string>> {
  return new Set(
    (await target.query(namedSchemasQuery, [arrayLiteral(names)])).map((row) => row['name'] ?? ''),
  );
}

const rowsStatement = `
  create table ${trialSchema}.parent (id int primary key);
  create table ${trialSchema}.child (id int, note text);
  insert into ${trialSchema}.parent values (1);
  insert into ${trialSchema}.child values (1, 'row');
  create index on ${trialSchema}.child (note);
  alter table ${trialSchema}.child add foreign key (id) references ${trialSchema}.parent not valid;
  analyze ${trialSchema}.child`;

const indexNamesQuery = `
  select x.oid, n.nspname as schema, x.relname as name, i.indrelid as table
  from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_namespace n on n.oid = x.relnamespace
  where ${userSchema}`;

async function fetchIndexNames({
  session,
  tables,
  keeps,
}: SourceView): Promise<{ schema: string; name: string }[]> {
  const ours = new Set(tables.map(({ oid }) => oid));
  return (await session.query(indexNamesQuery))
    .filter((row) => ours.has(Number(row['table'])) && keeps(catalogOids.relation, Number(row['oid'])))
    .map((row) => ({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
}

/** What of the source's names is taken on the target. */
export async function checkTaken(target: Session, view: SourceView, wish: RunWish): Promise<Finding[]> {
  const { tables } = view;
  const findings: Finding[] = [];
  const others = (await fetchTaken(target, tables)).filter((one) => !one.isTable);
  if (others.length > 0) {
    const failure = new Failure(
      'target-not-empty',
      `views or other relations have the names of ${counted(others.length, 'table')}: ${listLabels(others.map(({ table }) => relationLabel(table)))}`,
      { remedy: 'Drop or rename them.' },
    );
    return [fail('target.names', 'names', failure)];
  }
  findings.push(
    await asked('target.tables', 'tables', async () => {
      if (!wish.dropIfExists) await expectNoTables(target, tables);
      else {
        const taken = await fetchTaken(target, tables);
        if (taken.length > 0) {
          return warn(
            'target.tables',
            'tables',
            `${counted(taken.length, 'table')} of the source's names will be DROPPED, with all rows and what depends on them: ${listLabels(taken.map(({ table }) => relationLabel(table)))}`,
          );
        }
      }
      return "none of the source's tables is there yet";
    }),
  );
  const named = await asked('target.names', 'names', async () => {
    await expectIndexNames(target, await fetchIndexNames(view), tables);
    return "none of the names of the source's indexes is taken";
  });
  if (named.verdict !== 'pass') findings.push(named);
  return findings;
}

/** Large objects, where the source has any and they are wanted. Not inside of a transaction. */
export async function checkLargeObjects(
  target: Session,
  view: SourceView,
  wish: RunWish,
): Promise<Finding[]> {
  if (wish.restore.skipLargeObjects === true || !(await holdsLargeObjects(view.session))) return [];
  const id = 'target.large-objects';
  const title = 'large objects';
  const refusal = await fetchLargeObjectRefusal(target);
  if (refusal !== null) {
    const { message } = refusedLargeObjects(refusal);
    return [
      warn(
        id,
        title,
        message,
        'Move them to bytea columns first, or say that you know: --skip-large-objects',
      ),
    ];
  }
  const clear = await asked(id, title, async () => {
    if (!wish.dropIfExists) await clearLargeObjects(view.session, target, false);
    return "can be made (tried), and none of the source's OIDs is taken";
  });
  if (wish.stream === null) return [clear];
  return [
    clear,
    warn(
      'stream.large-objects',
      'large objects',
      'copied once, changes to them cannot be followed: logical decoding does not carry them',
      'Do not write to them until the switch, or copy them again then: `walferry copy blobs`',
    ),
  ];
}

const limits = [
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'transaction_timeout',
];

/** Time limits of the role or the database: ours and pg_dump's sessions switch them off. Pure. */
export function judgeTimeouts(facts: ServerFacts): Finding {
  const id = `${facts.side}.timeouts` as const;
  const set = limits.flatMap((name) => {
    const value = facts.settings.get(name)?.start ?? '0';
    return value === '0' ? [] : [`${name} = ${value} ms`];
  });
  return pass(
    id,
    'time limits',
    set.length === 0 ? 'none' : `${set.join(', ')}: switched off in the run's own sessions`,
  );
}
