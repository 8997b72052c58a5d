/**
 * A target that does something of its own when rows change: foreign keys, triggers and rules that are there already
 * (DESIGN 6). What they do the source has done, and its changes come through the stream: done again they would find
 * rows gone (ON DELETE CASCADE), or write twice. So they are off while changes are applied.
 *
 * 1. Where the role may, the applier's sessions have session_replication_role = replica: nothing of the target changes.
 *    What fires even so (ENABLE ALWAYS, ENABLE REPLICA) is disabled as in 2.
 * 2. Else the owner disables triggers and rules and drops foreign keys. Each is written to `walferry.guard` in the same
 *    transaction, exactly as it was; so whatever happens, what is off is recorded.
 * 3. GENERATED ALWAYS AS IDENTITY becomes BY DEFAULT, or no UPDATE could set it (DESIGN 11.17).
 *
 * `restoreGuarded` puts everything back, one object a transaction together with its record, so that it may be
 * interrupted and repeated. A foreign key is added NOT VALID, which takes no time: from then on new rows are checked.
 * `validateGuarded` has its old rows checked, which reads the tables, and keeps nobody from writing: after a switch, not
 * within its pause.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import { quoteLiteral } from '../model/sql.js';
import type { StreamKey } from '../model/stream-key.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { streamKeyParameters } from '../postgres/position-row.js';
import { sqlState } from '../postgres/sqlstate.js';
import { firesIn, type TableName } from './target-table.js';

export type GuardOptions = {
  readonly target: Conninfo;
  readonly key: StreamKey;
  /** A session on the target that is open already; without, one of its own is opened. */
  readonly session?: Session | undefined;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** What is off: one row of walferry.guard. `name` and `relation` are quoted. */
type Guarded = {
  readonly kind: 'trigger' | 'rule' | 'identity' | 'foreign-key' | 'validation';
  readonly relation: string;
  readonly name: string;
  /** A trigger's or rule's `O`, `A` or `R`; a foreign key's definition. */
  readonly state: string;
  /** Of a foreign key. */
  readonly comment: string | null;
};

/** In the order in which they are put back. */
const kinds: readonly Guarded['kind'][] = ['identity', 'rule', 'trigger', 'foreign-key'];

const createTable = `
  create table if not exists walferry.guard (
    stream text not null,
    system_identifier text not null,
    database text not null,
    kind text not null,
    relation text not null,
    name text not null,
    state text not null,
    comment text,
    primary key (stream, system_identifier, database, kind, relation, name)
  )`;

const tableExists = `select pg_catalog.to_regclass('walferry.guard')::text as guard`;

/** The tables $1.$2 and the partitions below them. */
const tables = `
  named (oid) as (
    select c.oid from unnest($1::text[], $2::text[]) w (schema, name)
    join pg_catalog.pg_namespace n on n.nspname = w.schema
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
  ), tables (oid) as (
    select oid from named
    union
    select t.relid from named, pg_catalog.pg_partition_tree(named.oid) t
  )`;

/** Everything that fires in this session. A key of a partition is its root's; only that can be dropped. */
const objectsQuery = `
  with recursive ${tables}, keys (oid, parent) as (
    select k.oid, k.conparentid from pg_catalog.pg_constraint k
    where k.contype = 'f' and (k.conrelid in (select oid from tables) or k.confrelid in (select oid from tables))
      and exists (select from pg_catalog.pg_trigger g where g.tgconstraint = k.oid and ${firesIn('g.tgenabled')})
    union
    select k.oid, k.conparentid from keys join pg_catalog.pg_constraint k on k.oid = keys.parent
  )
  select 'foreign-key' as kind, k.conrelid::pg_catalog.regclass::text as relation,
    pg_catalog.quote_ident(k.conname) as name, pg_catalog.pg_get_constraintdef(k.oid) as state,
    pg_catalog.obj_description(k.oid, 'pg_constraint') as comment
  from pg_catalog.pg_constraint k where k.oid in (select oid from keys where parent = 0)
  union all
  select 'trigger', g.tgrelid::pg_catalog.regclass::text, pg_catalog.quote_ident(g.tgname), g.tgenabled::text, null
  from pg_catalog.pg_trigger g
  where g.tgrelid in (select oid from tables) and not g.tgisinternal and ${firesIn('g.tgenabled')}
  union all
  select 'rule', r.ev_class::pg_catalog.regclass::text, pg_catalog.quote_ident(r.rulename), r.ev_enabled::text, null
  from pg_catalog.pg_rewrite r
  where r.ev_class in (select oid from tables) and r.ev_type <> '1' and ${firesIn('r.ev_enabled')}
  union all
  select 'identity', c.oid::pg_catalog.regclass::text, pg_catalog.quote_ident(a.attname), 'a', null
  from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
  where c.oid in (select oid from tables) and a.attidentity = 'a' and not a.attisdropped
    and (not c.relispartition or pg_catalog.current_setting('server_version_num')::int < 170000)
    and pg_catalog.pg_has_role(c.relowner, 'usage')
  order by 1, 2, 3`;

const rowSecurityQuery = `
  with ${tables}
  select oid::pg_catalog.regclass::text as relation from tables where pg_catalog.row_security_active(oid)`;

const recordStatement = `
  insert into walferry.guard (stream, system_identifier, database, kind, relation, name, state, comment)
  values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`;

/** How it is switched off. */
function offStatement({ kind, relation, name }: Guarded): string {
  switch (kind) {
    case 'trigger':
      return `alter table only ${relation} disable trigger ${name}`;
    case 'rule':
      return `alter table ${relation} disable rule ${name}`;
    case 'identity':
      return `alter table ${relation} alter column ${name} set generated by default`;
    case 'foreign-key':
      return `alter table ${relation} drop constraint ${name}`;
    case 'validation':
      break;
  }
  throw new Error('a validation is not switched off');
}

const enableWord: Readonly<Record<string, string>> = { O: '', A: 'always ', R: 'replica ' };

/** Tries session_replication_role; returns whether the role may set it. */
export async function maySetReplicaRole(session: Session): Promise<boolean> {
  try {
    await session.query('set session_replication_role = replica');
    return true;
  } catch (error) {
    if (sqlState(error) === '42501') return false;
    throw error;
  }
}

/**
 * Switches off what fires on these tables, and returns whether the applier's sessions are to have
 * session_replication_role = replica. Throws `target-setup` where row security applies to the role, `target-rights`
 * where it may not do what is needed.
 */
export async function guardTables(
  options: GuardOptions,
  names: readonly TableName[],
): Promise<{ readonly replicaRole: boolean }> {
  const { log, signal } = options;
  await using session = await openSession(options);
  const parameters = [names.map(({ schema }) => schema), names.map(({ name }) => name)].map(arrayLiteral);
  await refuseRowSecurity(session, parameters);
  const replicaRole = await maySetReplicaRole(session);
  const off = await withLocks(session, log, signal, () => switchOff(session, options, parameters, names));
  if (off.length > 0) {
    log.notice('switched off on the target until the end position is reached, or `walferry stream cleanup`', {
      objects: off.map(({ kind, relation, name }) => `${kind} ${name} of ${relation}`).join(', '),
    });
  }
  return { replicaRole };
}

async function switchOff(
  session: Session,
  { key }: GuardOptions,
  parameters: readonly string[],
  names: readonly TableName[],
): Promise<readonly Guarded[]> {
  const objects = (await session.query(objectsQuery, parameters)) as unknown as Guarded[];
  if (objects.length === 0) return [];
  try {
    await session.query(createTable);
    for (const object of objects) {
      const { kind, relation, name, state, comment } = object;
      await session.query(recordStatement, [
        ...streamKeyParameters(key),
        kind,
        relation,
        name,
        state,
        comment,
      ]);
      await session.query(offStatement(object), [], `could not switch off ${kind} ${name} of ${relation}`);
    }
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    throw new Failure(
      'target-rights',
      `target: foreign keys or triggers of ${names.map(relationLabel).join(', ')} would do again what the source has done, and the role may neither set session_replication_role nor alter these tables`,
      {
        cause: error,
        remedy:
          'Give a --target role that owns the tables, or may set session_replication_role; or drop them, and create them again at the end.',
      },
    );
  }
  return objects;
}

async function refuseRowSecurity(session: Session, parameters: readonly string[]): Promise<void> {
  const rows = await session.query(rowSecurityQuery, parameters);
  if (rows.length === 0) return;
  throw new Failure(
    'target-setup',
    `target: row security applies to this role on ${rows.map((row) => row['relation']).join(', ')}: rows would be hidden from it`,
    {
      remedy:
        'Use a role with BYPASSRLS, or `alter table … no force row level security` until the end position is reached.',
    },
  );
}

const recordsQuery = `
  select kind, relation, name, state, comment from walferry.guard
  where stream = $1 and system_identifier = $2 and database = $3`;

const forgetStatement = `
  delete from walferry.guard
  where stream = $1 and system_identifier = $2 and database = $3 and kind = $4 and relation = $5 and name = $6`;

const keyExists = `
  select from pg_catalog.pg_constraint
  where conrelid = pg_catalog.to_regclass($1) and pg_catalog.quote_ident(conname) = $2`;

/**
 * Puts back what was switched off for this stream. Does nothing where nothing is. Foreign keys are left to be validated
 * where that can be done later (`validateGuarded`).
 */
export async function restoreGuarded(options: GuardOptions): Promise<void> {
  await doRecorded(options, kinds, putBack, ({ kind, relation, name }) =>
    options.log.info(`put back ${kind} ${name} of ${relation}`),
  );
}

/** Validates the foreign keys that `restoreGuarded` has added NOT VALID. Throws what a row that breaks one says. */
export async function validateGuarded(options: GuardOptions): Promise<void> {
  await doRecorded(options, ['validation'], validate, ({ relation, name }) =>
    options.log.info(`validated foreign key ${name} of ${relation}`),
  );
}

/** Does `work` for each record of these kinds, in their order, each in a transaction in which the record goes. */
async function doRecorded(
  options: GuardOptions,
  wanted: readonly Guarded['kind'][],
  work: (session: Session, record: Guarded, stream: readonly string[]) => Promise<void>,
  say: (record: Guarded) => void,
): Promise<void> {
  const { key, log, signal } = options;
  if (options.session === undefined) {
    await using session = await openSession(options);
    return await doRecorded({ ...options, session }, wanted, work, say);
  }
  const { session } = options;
  const [exists] = await session.query(tableExists);
  if ((exists?.['guard'] ?? null) === null) return;
  const stream = streamKeyParameters(key);
  const records = (await session.query(recordsQuery, stream)) as unknown as Guarded[];
  for (const record of wanted.flatMap((kind) => records.filter((one) => one.kind === kind))) {
    throwIfStopped(signal);
    const { kind, relation, name } = record;
    await withLocks(session, log, signal, async () => {
      const [table] = await session.query('select pg_catalog.to_regclass($1)::text as found', [relation]);
      if ((table?.['found'] ?? null) === null) {
        log.warn(`${kind} ${name} is not put back: the target has no table ${relation} any more`);
      } else {
        await work(session, record, stream);
      }
      await session.query(forgetStatement, [...stream, kind, relation, name]);
    });
    say(record);
  }
}

/** One that somebody has dropped meanwhile has nothing to be validated. */
async function validate(session: Session, { relation, name }: Guarded): Promise<void> {
  if ((await session.query(keyExists, [relation, name])).length === 0) return;
  await session.query(
    `alter table ${relation} validate constraint ${name}`,
    [],
    `could not validate foreign key ${name} of ${relation}`,
  );
}

async function putBack(session: Session, record: Guarded, stream: readonly string[]): Promise<void> {
  const { kind, relation, name, state, comment } = record;
  const what = `could not put back ${kind} ${name} of ${relation}`;
  switch (kind) {
    case 'trigger':
      await session.query(
        `alter table only ${relation} enable ${enableWord[state] ?? ''}trigger ${name}`,
        [],
        what,
      );
      return;
    case 'rule':
      await session.query(`alter table ${relation} enable ${enableWord[state] ?? ''}rule ${name}`, [], what);
      return;
    case 'identity':
      await session.query(`alter table ${relation} alter column ${name} set generated always`, [], what);
      return;
    case 'validation':
      throw new Error('a validation is not put back');
    case 'foreign-key':
      break;
  }
  // Somebody may have added it again.
  if ((await session.query(keyExists, [relation, name])).length > 0) return;
  const [partitioned] = await session.query(
    `select (relkind = 'p')::text as is from pg_catalog.pg_class where oid = pg_catalog.to_regclass($1)`,
    [relation],
  );
  // NOT VALID is refused for partitioned tables before 18.
  const later =
    !state.endsWith(' NOT VALID') && (partitioned?.['is'] !== 'true' || session.serverVersion >= 180000);
  const definition = later ? `${state} not valid` : state;
  await session.query(`alter table ${relation} add constraint ${name} ${definition}`, [], what);
  if (comment !== null) {
    await session.query(`comment on constraint ${name} on ${relation} is ${quoteLiteral(comment)}`);
  }
  if (later) await session.query(recordStatement, [...stream, 'validation', relation, name, '', null]);
}

function openSession({ target, log, signal }: GuardOptions): Promise<Session> {
  return connect(target, { side: 'target', applicationName: 'walferry apply', log, signal });
}

/** While a lock waits for a long transaction everybody queues up behind it: better to let them by and try again. */
const lockTimeoutMs = 2000;
const lockTries = 30;
const longestPauseMs = 5000;

/** Runs `work` in a transaction of its own; again when a lock was not to be had. */
async function withLocks<T>(
  session: Session,
  log: Log,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    throwIfStopped(signal);
    await session.query('begin');
    try {
      await session.query(`set local lock_timeout to ${lockTimeoutMs}`);
      const result = await work();
      await session.query('commit');
      return result;
    } catch (error) {
      await session.query('rollback').catch(() => {});
      // 55P03 lock_timeout, 40P01 deadlock.
      if (!['55P03', '40P01'].includes(sqlState(error) ?? '') || tries === lockTries) throw error;
      log.notice('the target waits for a lock on a table; trying again', { tries });
      await sleep(Math.min(100 * 2 ** tries, longestPauseMs), undefined, { signal }).catch(() => {});
    }
  }
}

/** `{"a","b"}`: an array of text as the server reads it. */
function arrayLiteral(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replaceAll(/["\\]/g, (mark) => `\\${mark}`)}"`).join(',')}}`;
}
