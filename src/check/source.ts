/** The source, whether it is followed or not: what can be read, what is going on there, what a clone leaves out. */
import { expectRowTypesHold } from '../clone/column-order.js';
import { expectNoneHalfDetached, expectReadable } from '../clone/requirements.js';
import { expectReadableLargeObjects } from '../clone/large-objects.js';
import { expectReadableSequences } from '../clone/sequences.js';
import { keptSequencesOf } from '../filter/scope.js';
import { Failure } from '../failure.js';
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import { mayBeNull } from '../postgres/nullable.js';
import { holdsLargeObjects } from '../postgres/large-object.js';
import { hiddenMappings, notOfExtension, userSchema } from '../postgres/schema.js';
import type { Session } from '../postgres/connect.js';
import { fetchSystemIdentifier } from '../postgres/system-identifier.js';
import { asked, counted, fail, pass, some, warn, type Finding } from './finding.js';
import type { RunWish, SourceView } from './options.js';
import { numberSetting, type ServerFacts } from './server-facts.js';

/** What the source must let us do. */
export async function checkSourceRights(view: SourceView, wish: RunWish): Promise<Finding[]> {
  const { session, tables } = view;
  const withRows = tables.filter((table) => table.kind === 'table');
  return [
    await asked('source.tables', 'tables', () => {
      expectReadable(tables, wish.source.user);
      return `all ${counted(withRows.length, 'table')} can be read, row security hides none of their rows`;
    }),
    await asked('source.sequences', 'sequences', async () => {
      const keeps = view.filter === null ? () => true : keptSequencesOf(view.filter.scope());
      await expectReadableSequences(session, keeps, wish.source.user);
      return 'all of them can be read';
    }),
    ...(wish.restore.skipLargeObjects === true || !(await holdsLargeObjects(session))
      ? []
      : [
          await asked('source.large-objects', 'large objects', async () => {
            await expectReadableLargeObjects(session);
            return 'all of them can be read';
          }),
        ]),
  ];
}

const nullableIdentitiesQuery = `
  select c.oid, n.nspname as schema, c.relname as name, x.relname as index,
    (select nn.conname from pg_catalog.pg_constraint nn where nn.conrelid = c.oid and nn.contype = 'n'
      and nn.conkey[1] = a.attnum) as constraint
  from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_class c on c.oid = i.indrelid and c.relreplident = 'i'
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_attribute a on a.attrelid = c.oid
    and a.attnum in (select i.indkey[k] from pg_catalog.generate_series(0, i.indnkeyatts - 1) k)
  where i.indisreplident and ${userSchema} and ${mayBeNull('a')}
  order by 2, 3`;

/**
 * From 18 on, REPLICA IDENTITY USING INDEX accepts a column whose NOT NULL is NOT VALID; but the target, as pg_restore,
 * has the index before that constraint, and refuses it then. Told only where there is one.
 */
export async function checkIdentityIndexes({ session, tables }: SourceView): Promise<Finding[]> {
  const kept = new Set(tables.map(({ oid }) => oid));
  const rows = (await session.query(nullableIdentitiesQuery)).filter((row) => kept.has(Number(row['oid'])));
  const [first] = rows;
  if (first === undefined) return [];
  const labels = rows.map((row) => relationLabel({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
  const table = `alter table ${quoteQualified(first['schema'] ?? '', first['name'] ?? '')}`;
  return [
    fail(
      'source.identity-indexes',
      'identity indexes',
      new Failure(
        'source-setup',
        `the NOT NULL of a column of the replica identity is NOT VALID, and the target does not take such an index as identity: ${some(labels)}`,
        {
          remedy: `On the source: ${table} validate constraint ${quoteIdentifier(first['constraint'] ?? '')}; or: ${table} replica identity full;`,
        },
      ),
    ),
  ];
}

/** Told only where there is one. */
export async function checkHalfDetached({ session, tables }: SourceView): Promise<Finding[]> {
  const finding = await asked('source.half-detached', 'partitions', async () => {
    await expectNoneHalfDetached(session, tables);
    return 'none is half detached';
  });
  return finding.verdict === 'fail' ? [finding] : [];
}

/** Told only where a table gets another order of columns, or must not. */
export async function checkColumnOrder({ session, tables }: SourceView): Promise<Finding[]> {
  const id = 'source.column-order';
  const title = 'column order';
  const finding = await asked(id, title, async () => {
    const remark = await expectRowTypesHold(session, tables);
    return remark === null ? 'as on the source' : warn(id, title, remark);
  });
  return finding.verdict === 'pass' ? [] : [finding];
}

/** A clone's own key; a stream's comes from its replication connection. Told only where it is kept from us. */
export async function checkIdentity(session: Session): Promise<Finding[]> {
  const finding = await asked('source.identity', 'identity', () => fetchSystemIdentifier(session));
  return finding.verdict === 'fail' ? [finding] : [];
}

/** What may be in the way of a clone, and does not forbid it. Pure. */
export function judgeSource(facts: ServerFacts, tables: SourceView['tables'], follow: boolean): Finding[] {
  return [judgeStandby(facts, tables, follow), judgeLocks(facts, tables.length)].flatMap((one) => one ?? []);
}

function judgeStandby(facts: ServerFacts, tables: SourceView['tables'], follow: boolean): Finding | null {
  // That it cannot be followed is a stream's own line.
  if (!facts.inRecovery || follow) return null;
  const unlogged = tables.filter((table) => table.kind === 'table' && table.persistence === 'unlogged');
  const delay = numberSetting(facts, 'max_standby_streaming_delay') ?? 0;
  const cancelled = delay >= 0 && facts.settings.get('hot_standby_feedback')?.now !== 'on';
  const reasons = [
    ...(cancelled
      ? [`it ends queries that hold back replay for ${Math.round(delay / 1000)} s, and with them a long copy`]
      : []),
    ...(unlogged.length > 0
      ? [`it does not have the rows of unlogged tables (${some(unlogged.map(relationLabel))})`]
      : []),
  ];
  if (reasons.length === 0) return pass('source.standby', 'standby', 'the copy holds back its replay');
  return warn(
    'source.standby',
    'standby',
    `the source is a standby: ${reasons.join('; ')}`,
    cancelled
      ? 'On the standby, for the time of the copy: alter system set max_standby_streaming_delay = -1; select pg_reload_conf();'
      : 'Copy them from the primary.',
  );
}

/** pg_dump locks every table in one transaction. */
function judgeLocks(facts: ServerFacts, tables: number): Finding | null {
  const number = (name: string) => numberSetting(facts, name) ?? 0;
  const perTransaction = number('max_locks_per_transaction');
  const room = perTransaction * (number('max_connections') + number('max_prepared_transactions'));
  if (tables < room * 0.8) return null;
  return warn(
    'source.locks',
    'locks',
    `pg_dump locks ${counted(tables, 'table')} in one transaction, and the server has room for about ${room} locks`,
    `alter system set max_locks_per_transaction = ${Math.max(perTransaction * 2, Math.ceil((tables * 1.5) / Math.max(1, room / perTransaction)))}; then restart the source`,
  );
}

// Sessions that hold or wait for a lock that shuts readers out, by the table.
const exclusiveLocksQuery = `
  select n.nspname as schema, c.relname as name, l.pid, l.granted,
    coalesce(a.xact_start, a.query_start) < pg_catalog.clock_timestamp() - interval '5 seconds' as old
  from pg_catalog.pg_locks l
  join pg_catalog.pg_database d on d.oid = l.database and d.datname = pg_catalog.current_database()
  join pg_catalog.pg_class c on c.oid = l.relation
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join pg_catalog.pg_stat_activity a on a.pid = l.pid
  where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and c.relkind in ('r', 'p') and ${userSchema}
  order by 1, 2`;

// What a clone does not make, or only a superuser may.
const leftOutQuery = (serverVersion: number) => `
  select 'subscription' as kind, s.subname as name from pg_catalog.pg_subscription s
  join pg_catalog.pg_database d on d.oid = s.subdbid and d.datname = pg_catalog.current_database()
  union all
  select 'event trigger', evtname from pg_catalog.pg_event_trigger t
  where not exists (select from pg_catalog.pg_depend e
    where e.classid = 'pg_catalog.pg_event_trigger'::regclass and e.objid = t.oid and e.deptype = 'e')
  union all
  select 'publication', pubname from pg_catalog.pg_publication where puballtables
  ${
    serverVersion < 150_000
      ? ''
      : `union all select distinct 'schema publication', p.pubname
    from pg_catalog.pg_publication p join pg_catalog.pg_publication_namespace s on s.pnpubid = p.oid`
  }
  union all
  select 'invalid index', pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(x.relname)
  from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_class c on c.oid = i.indrelid and c.relkind = 'r' and c.relpersistence <> 't'
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where not i.indisvalid and ${userSchema} and ${notOfExtension}
  union all
  select 'user mapping', h.name from (${hiddenMappings}) h
  order by 1, 2`;

export type LeftOut = {
  readonly kind:
    | 'subscription'
    | 'event trigger'
    | 'publication'
    | 'schema publication'
    | 'invalid index'
    | 'user mapping';
  readonly name: string;
};

/** What is going on on the source, and what of it a clone does not bring. */
export async function checkSourceObjects(
  session: Session,
  targetSuperuser: boolean | null,
): Promise<Finding[]> {
  const leftOut = (await session.query(leftOutQuery(session.serverVersion))) as unknown as LeftOut[];
  const locks = await session.query(exclusiveLocksQuery);
  const held = locks.map((row) => ({
    table: relationLabel({ schema: row['schema'] ?? '', name: row['name'] ?? '' }),
    pid: row['pid'] ?? '?',
  }));
  return [...judgeExclusiveLocks(held), ...judgeLeftOut(leftOut, targetSuperuser)];
}

export function judgeExclusiveLocks(
  locks: readonly { readonly table: string; readonly pid: string }[],
): Finding[] {
  if (locks.length === 0) return [];
  const pids = [...new Set(locks.map(({ pid }) => pid))];
  const tables = [...new Set(locks.map(({ table }) => table))];
  return [
    warn(
      'source.exclusive-locks',
      'exclusive locks',
      `processes ${pids.join(', ')} change ${some(tables)} (DDL, TRUNCATE or VACUUM FULL): the copy waits for them, and a table that is rewritten after the snapshot cannot be copied`,
      'Start when they are done, and change no tables between start and end.',
    ),
  ];
}

/** Pure. `targetSuperuser`: null where the target is not known. */
export function judgeLeftOut(all: readonly LeftOut[], targetSuperuser: boolean | null): Finding[] {
  const of = (kind: LeftOut['kind']) => all.filter((one) => one.kind === kind).map(({ name }) => name);
  const findings: Finding[] = [];
  const subscriptions = of('subscription');
  if (subscriptions.length > 0) {
    findings.push(
      warn(
        'source.subscriptions',
        'subscriptions',
        `not copied, since a copy would begin to receive: ${some(subscriptions)}`,
        'Create them on the target after the switch.',
      ),
    );
  }
  const indexes = of('invalid index');
  if (indexes.length > 0) {
    findings.push(
      warn(
        'source.invalid-indexes',
        'invalid indexes',
        `not copied, what CREATE INDEX CONCURRENTLY left: ${some(indexes)}`,
        `Drop them, or: reindex index concurrently ${indexes[0]};`,
      ),
    );
  }
  const mappings = of('user mapping');
  if (mappings.length > 0) {
    findings.push(
      warn(
        'source.user-mappings',
        'user mappings',
        `made without their options (user, password, …), which our role may not read: ${some(mappings)}`,
        'On the target, behind the clone: alter user mapping for … server … options (add password …);',
      ),
    );
  }
  if (targetSuperuser === true) return findings;
  const superusers = [
    ...of('event trigger').map((name) => `event trigger ${name}`),
    ...of('publication').map((name) => `publication ${name} (for all tables)`),
    ...of('schema publication').map((name) => `the schemas of publication ${name}`),
  ];
  if (superusers.length > 0) {
    findings.push(
      warn(
        'source.superuser-objects',
        'left to superusers',
        `only a superuser can make them: ${some(superusers)}; what is refused is listed at the end of the run with its SQL`,
        'Have somebody run that SQL on the target afterwards.',
      ),
    );
  }
  return findings;
}
