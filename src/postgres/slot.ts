/**
 * The replication slot: made with its snapshot, looked at, dropped.
 *
 * Making one waits for every transaction of the whole cluster that was running at that moment, prepared ones
 * included; a second session tells which. The snapshot lives as long as the connection that made the slot: hold the
 * handle open until every copy has imported it.
 * https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-CREATE-REPLICATION-SLOT
 */
import { Failure, throwIfStopped } from '../failure.js';
import { silentLog, type Log } from '../log.js';
import { formatLsn, laterLsn, readLsn, type Lsn } from '../model/lsn.js';
import type { PluginName } from '../model/plugin.js';
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import { connect, type Session, type TextRow } from './connect.js';
import type { Conninfo } from './connection-string.js';
import { identifySource, type SourceIdentity } from './identify.js';
import { replicationRightRemedy, slotFailure } from './slot-failure.js';
import { sqlState } from './sqlstate.js';

export type CreateSlotOptions = {
  readonly conninfo: Conninfo;
  readonly name: string;
  readonly plugin: PluginName;
  readonly signal?: AbortSignal;
  readonly log?: Log;
  /** Told while the slot waits, at once and then whenever the list changes; the log says it as well. */
  readonly onWaiting?: (transactions: readonly WaitedFor[]) => void;
};

/** A transaction that must end before the slot is there. */
export type WaitedFor = {
  readonly xid: string;
  /** The session's process; null for a prepared transaction. */
  readonly pid: string | null;
  /** The prepared transaction's identifier; null for a session. */
  readonly gid: string | null;
  readonly user: string | null;
  readonly database: string | null;
  readonly application: string | null;
  /** When it began, as the server prints it; null when we may not see it. */
  readonly since: string | null;
};

/** A slot just made, and the connection that holds its snapshot. */
export type CreatedSlot = AsyncDisposable & {
  readonly name: string;
  /** Where the stream begins: every commit before it is in the snapshot, every later one in the stream. */
  readonly consistentPoint: Lsn;
  /** To be imported by the copying sessions while this handle is open. */
  readonly snapshot: string;
  readonly identity: SourceIdentity;
  /** Resolves with `snapshot-lost` should the connection break while it is held; never rejects. */
  readonly lost: Promise<Failure>;
  /** Gives the snapshot up. The slot stays. */
  close(): Promise<void>;
};

/** What pg_replication_slots says of a logical slot. */
export type SlotFacts = {
  readonly name: string;
  readonly plugin: string | null;
  readonly database: string | null;
  /** The process that reads from it. */
  readonly activePid: string | null;
  readonly restartLsn: Lsn | null;
  readonly confirmedFlushLsn: Lsn | null;
  /** `reserved`, `extended`, `unreserved`, `lost`; null when the slot reserves nothing. */
  readonly walStatus: string | null;
  /** Why it was invalidated, in the server's word; null where it was not, or the server (before 17) does not tell. */
  readonly invalidationReason: string | null;
};

/** How long a slot may take before its waiting is told; most are there within milliseconds. */
const tellWaitingAfterMs = 1000;
const lookAgainMs = 2000;
const connectionCheckMs = 2000;

/**
 * Makes the slot. Throws `slot-exists`, `source-setup` (wal_level, no free slot or walsender, plugin), `source-rights`,
 * `stopped`; in every such case no slot is left behind.
 */
export async function createSlot(options: CreateSlotOptions): Promise<CreatedSlot> {
  const { conninfo, name, log = silentLog, signal } = options;
  checkSlotName(name);
  const holder = await connectWalsender(conninfo, 'walferry slot', signal, log);
  const lost = new Promise<Failure>((resolve) => {
    holder.client.on('error', (error) => resolve(snapshotLost(name, error)));
    holder.client.once('end', () => resolve(snapshotLost(name, null)));
  });
  try {
    const identity = await identifySource(holder);
    const row = await createWatched(holder, options);
    const field = (column: string) => row[column] ?? '';
    return {
      name,
      consistentPoint: readLsn(field('consistent_point')),
      snapshot: field('snapshot_name'),
      identity,
      lost,
      close: () => holder.close(),
      [Symbol.asyncDispose]: () => holder.close(),
    };
  } catch (error) {
    await holder.close().catch(() => {});
    throw error;
  }
}

function snapshotLost(slot: string, cause: Error | null): Failure {
  return new Failure(
    'snapshot-lost',
    `the connection that held the snapshot of the replication slot "${slot}" is gone`,
    cause === null ? {} : { cause },
  );
}

/** The names the server accepts (ReplicationSlotValidateName); said before anything is connected. */
export function checkSlotName(name: string): void {
  if (!/^[a-z0-9_]{1,63}$/.test(name)) {
    throw new Failure(
      'usage',
      `"${name}" cannot be the name of a replication slot: 1 to 63 lower-case letters, digits and underscores are possible`,
    );
  }
}

/** A walsender connection; what the source refuses about it is told with its remedy. */
export async function connectWalsender(
  conninfo: Conninfo,
  applicationName: string,
  signal: AbortSignal | undefined,
  log: Log,
  stream = false,
): Promise<Session> {
  try {
    return await connect(conninfo, {
      side: 'source',
      applicationName,
      replication: true,
      bulk: stream,
      watched: stream,
      log,
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    throw walsenderFailure(error, conninfo);
  }
}

/** A refused walsender connection: the right to replicate, or no free walsender. */
export function walsenderFailure(error: unknown, conninfo: Conninfo): unknown {
  const state = sqlState(error);
  if (state === '53300') return slotFailure(error, 'start', '');
  if (state !== '42501') return error;
  return new Failure('source-rights', `the role "${conninfo.user}" may not replicate from the source`, {
    cause: error,
    remedy: replicationRightRemedy(conninfo.user),
  });
}

/** The statement, by what the server reads. Before 15 the options had no parentheses. */
export function createSlotCommand(name: string, plugin: PluginName, serverVersion: number): string {
  const options = serverVersion >= 150_000 ? `(SNAPSHOT 'export')` : 'EXPORT_SNAPSHOT';
  return `CREATE_REPLICATION_SLOT ${quoteIdentifier(name)} LOGICAL ${quoteIdentifier(plugin)} ${options}`;
}

/** Creates the slot on the holder's connection, while an ordinary session watches what it waits for. */
async function createWatched(holder: Session, options: CreateSlotOptions): Promise<TextRow> {
  const { conninfo, name, plugin, signal, log = silentLog } = options;
  throwIfStopped(signal);
  // Should this process be killed while the slot waits, the server is to notice, and give it up: else it would finish it
  // hours later, for nobody. The check is armed by the statement after it and goes on from there. (Since 14; our
  // sessions switch the time limits off that would end a held snapshot.)
  if (holder.serverVersion >= 140_000) {
    await holder.query(`set client_connection_check_interval = ${connectionCheckMs}`);
  }
  const [own] = await holder.query('select pg_catalog.pg_backend_pid()::text as pid');
  const pid = own?.['pid'] ?? '';
  const creating = holder.query(createSlotCommand(name, plugin, holder.serverVersion)).then(
    (rows) => ({ row: rows[0] ?? {} }),
    (error: unknown) => ({ error }),
  );
  const done = new AbortController();
  const watching = watch(conninfo, pid, done.signal, options).catch((error: unknown) => {
    log.debug('what the slot waits for cannot be told', { reason: String(error) });
  });
  const stopping = cancelOnStop(conninfo, pid, signal, done.signal, log);
  const result = await creating;
  done.abort();
  await Promise.all([watching, stopping]);
  if ('row' in result && signal?.aborted !== true) return result.row;
  // The server drops a slot that it could not finish. One that was finished in the moment of the stop is ours to drop.
  if ('row' in result) await dropOwn(conninfo, name, log);
  throwIfStopped(signal);
  throw slotFailure('error' in result ? result.error : null, 'create', name);
}

async function dropOwn(conninfo: Conninfo, name: string, log: Log): Promise<void> {
  await using session = await connect(conninfo, { side: 'source', applicationName: 'walferry slot', log });
  await dropSlot(session, name);
}

/**
 * A backend that waits for a transaction does not notice that its client has gone: it would finish the slot hours
 * later, for nobody. So a stop cancels it from a second connection, until it has answered.
 */
async function cancelOnStop(
  conninfo: Conninfo,
  pid: string,
  signal: AbortSignal | undefined,
  done: AbortSignal,
  log: Log,
): Promise<void> {
  if (signal === undefined) return;
  await either(signal, done);
  if (done.aborted) return;
  await using session = await connect(conninfo, { side: 'source', applicationName: 'walferry slot', log });
  while (!done.aborted) {
    await session.query('select pg_catalog.pg_cancel_backend($1::int)', [pid]);
    await pause(100, done);
  }
}

/** Transactions of the whole cluster that have written and are not ended. */
const openTransactions = `
  select l.transactionid::text as xid, l.pid::text as pid, p.gid,
         coalesce(a.usename, p.owner)::text as usename, coalesce(a.datname, p.database)::text as datname,
         a.application_name, coalesce(a.xact_start, p.prepared)::text as since
    from pg_catalog.pg_locks l
    left join pg_catalog.pg_stat_activity a on a.pid = l.pid
    left join pg_catalog.pg_prepared_xacts p on p.transaction = l.transactionid
   where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted
     and l.pid is distinct from pg_catalog.pg_backend_pid()`;

const oldestFirst = `order by coalesce(a.xact_start, p.prepared) nulls first, l.transactionid::text`;

const waitedForTransactions = `${openTransactions}
     and l.pid is distinct from $1::int
     and exists (select from pg_catalog.pg_locks w
                  where w.pid = $1::int and w.locktype = 'transactionid' and not w.granted)
   ${oldestFirst}`;

/** What a slot made now would wait for: transactions that have written and are not ended, in the whole cluster. */
export async function fetchRunningTransactions(session: Session): Promise<WaitedFor[]> {
  return (await session.query(`${openTransactions} ${oldestFirst}`)).map(readWaitedFor);
}

/** The transactions that keep the slot's backend waiting; empty when it does not wait. */
export async function fetchWaitedFor(session: Session, pid: string): Promise<WaitedFor[]> {
  return (await session.query(waitedForTransactions, [pid])).map(readWaitedFor);
}

function readWaitedFor(row: TextRow): WaitedFor {
  return {
    xid: row['xid'] ?? '',
    pid: row['pid'] ?? null,
    gid: row['gid'] ?? null,
    user: row['usename'] ?? null,
    database: row['datname'] ?? null,
    application: row['application_name'] ?? null,
    since: row['since'] ?? null,
  };
}

/** One transaction in words an operator can act on. */
export function describeWaitedFor(transaction: WaitedFor): string {
  const whose = `of ${transaction.user ?? 'a user'} in ${transaction.database ?? 'a database'}`;
  const since = transaction.since === null ? '' : ` since ${transaction.since}`;
  return transaction.gid === null
    ? `process ${transaction.pid ?? '?'} ${whose}${since}`
    : `the prepared transaction '${transaction.gid}' ${whose}${since}`;
}

async function watch(
  conninfo: Conninfo,
  pid: string,
  done: AbortSignal,
  options: CreateSlotOptions,
): Promise<void> {
  await pause(tellWaitingAfterMs, done);
  if (done.aborted) return;
  const log = options.log ?? silentLog;
  await using session = await connect(conninfo, { side: 'source', applicationName: 'walferry slot', log });
  let told = '';
  while (!done.aborted) {
    const transactions = await fetchWaitedFor(session, pid);
    const names = transactions.map(describeWaitedFor).join('; ');
    if (transactions.length > 0 && names !== told) {
      told = names;
      log.warn(`the replication slot "${options.name}" waits for transactions to end: ${names}`);
      options.onWaiting?.(transactions);
    }
    await pause(lookAgainMs, done);
  }
}

/** Resolves after the time, or as soon as the signal is set. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, milliseconds);
    if (signal.aborted) finish();
    else signal.addEventListener('abort', finish, { once: true });
  });
}

function either(one: AbortSignal, other: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      one.removeEventListener('abort', finish);
      other.removeEventListener('abort', finish);
      resolve();
    };
    if (one.aborted || other.aborted) finish();
    else {
      one.addEventListener('abort', finish, { once: true });
      other.addEventListener('abort', finish, { once: true });
    }
  });
}

const slotFacts = `
  select slot_name, plugin, database, active_pid::text, restart_lsn::text, confirmed_flush_lsn::text, wal_status,
         pg_catalog.to_jsonb(s) ->> 'invalidation_reason' as reason
    from pg_catalog.pg_replication_slots s
   where slot_name = `;

/** What the source says of the slot now, over a session of either kind; null when there is none of this name. */
export async function fetchSlot(session: Session, name: string): Promise<SlotFacts | null> {
  // A literal, since a replication connection takes no parameters.
  const [row] = await session.query(slotFacts + quoteLiteral(name));
  if (row === undefined) return null;
  const lsn = (text: string | null | undefined) =>
    text === null || text === undefined ? null : readLsn(text);
  return {
    name,
    plugin: row['plugin'] ?? null,
    database: row['database'] ?? null,
    activePid: row['active_pid'] ?? null,
    restartLsn: lsn(row['restart_lsn']),
    confirmedFlushLsn: lsn(row['confirmed_flush_lsn']),
    walStatus: row['wal_status'] ?? null,
    invalidationReason: row['reason'] ?? null,
  };
}

/** What a stream's slot has to be. */
export type ExpectedSlot = { readonly name: string; readonly plugin: PluginName; readonly database: string };

/**
 * Throws `timeline-changed` when the source was promoted since the stream began. A slot made before 17 stays behind on
 * the old primary; one of 17 may have been copied along, but not the last transactions that walferry has: nobody can
 * say that the new primary has them too. Null: not known.
 */
export function checkTimeline(timeline: number, expected: number | null): void {
  if (expected === null || timeline === expected) return;
  throw new Failure(
    'timeline-changed',
    `the source is on timeline ${timeline}, and the stream began on timeline ${expected}: it was promoted since`,
  );
}

const timelineNow = `
  select case when pg_catalog.pg_is_in_recovery() then null
         else ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))
                ::bit(32)::int8::text end as timeline`;

/** The timeline that the source writes. Throws `source-setup` on a standby, which has none of its own. */
export async function fetchTimeline(session: Session): Promise<number> {
  const [row] = await session.query(timelineNow);
  const timeline = row?.['timeline'] ?? null;
  if (timeline !== null) return Number(timeline);
  throw new Failure('source-setup', 'the source is a standby: its changes cannot be followed', {
    remedy: 'Give the primary as --source.',
  });
}

type Invalidation = { readonly words: string; readonly remedy: string };

const removedWal: Invalidation = {
  words: 'the source has removed WAL that it needs (max_slot_wal_keep_size)',
  remedy: 'Raise max_slot_wal_keep_size on the source (-1 is no limit)',
};

/** By invalidation_reason of pg_replication_slots. */
const invalidations: Readonly<Record<string, Invalidation>> = {
  wal_removed: removedWal,
  // From 18 on.
  idle_timeout: {
    words: 'nobody has read from it for longer than the source allows (idle_replication_slot_timeout)',
    remedy: 'Raise idle_replication_slot_timeout on the source (0 is no limit)',
  },
  rows_removed: {
    words: 'the source has removed rows of its catalogs that it needs',
    remedy: 'Switch hot_standby_feedback on, if the source is a standby',
  },
  wal_level_insufficient: {
    words: 'wal_level was not logical for a time',
    remedy: 'Set wal_level = logical on the source',
  },
};

/** Throws `slot-lost` unless this is the stream's own, usable slot. That somebody reads from it is not looked at. */
export function checkSlotFacts(facts: SlotFacts | null, expected: ExpectedSlot): SlotFacts {
  const slot = `the replication slot "${expected.name}"`;
  if (facts === null) throw new Failure('slot-lost', `${slot} does not exist on the source`);
  if (facts.plugin !== expected.plugin) {
    const found = facts.plugin === null ? 'is a physical slot' : `uses the plugin ${facts.plugin}`;
    throw new Failure('slot-lost', `${slot} ${found}, and this stream needs ${expected.plugin}`);
  }
  if (facts.database !== expected.database) {
    throw new Failure(
      'slot-lost',
      `${slot} belongs to the database "${facts.database ?? ''}", not to "${expected.database}"`,
      { remedy: 'Check the database in --source; a slot can be read in its own database only.' },
    );
  }
  if (facts.walStatus === 'lost' || facts.restartLsn === null || facts.confirmedFlushLsn === null) {
    const { words, remedy } = invalidations[facts.invalidationReason ?? ''] ?? removedWal;
    throw new Failure('slot-lost', `${slot} was invalidated: ${words}`, {
      remedy: `${remedy}, then start again with --restart: the copy must be made anew from a new slot.`,
    });
  }
  return facts;
}

/**
 * Throws `slot-busy` while somebody reads from the slot. To be asked before the position, which the reader moves: once
 * it is gone, the position says whether something was taken.
 */
export function checkSlotFree(facts: SlotFacts): void {
  if (facts.activePid === null) return;
  throw new Failure(
    'slot-busy',
    `another process reads from the replication slot "${facts.name}": the source's process ${facts.activePid}`,
  );
}

/** Where a stream stands, to be compared with its slot. */
export type StreamPositions = {
  readonly confirmedFlush: Lsn;
  /** Up to where the journal holds everything, fsynced. */
  readonly journalDurable: Lsn;
  /** What the target's position row says. */
  readonly applied: Lsn;
};

/**
 * START_REPLICATION below the slot's confirmed position is silently moved forward to it. So a slot that is ahead of
 * everything held here was acknowledged by somebody else, and the transactions in between are gone: `slot-ahead`.
 */
export function checkSlotPosition(positions: StreamPositions): void {
  const held = laterLsn(positions.journalDurable, positions.applied);
  if (positions.confirmedFlush <= held) return;
  throw new Failure(
    'slot-ahead',
    `the replication slot stands at ${formatLsn(positions.confirmedFlush)}, but the work directory holds changes only ` +
      `up to ${formatLsn(positions.journalDurable)} and the target up to ${formatLsn(positions.applied)}: ` +
      `somebody else has acknowledged what lies in between`,
  );
}

/**
 * Whether the slot's plugin knows an option. It starts up to look at the slot, and stops before the first change, so
 * this costs no decoding. Throws `slot-busy`, `slot-lost` and the rest that starting to read would throw.
 */
export async function knowsPluginOption(
  session: Session,
  slot: string,
  [name, value]: readonly [name: string, value: string],
): Promise<boolean> {
  try {
    await session.query(
      `select 1 from pg_catalog.pg_logical_slot_peek_changes($1, '0/1', 1, variadic array[$2, $3]::text[])`,
      [slot, name, value],
    );
    return true;
  } catch (error) {
    // invalid_parameter_value: the plugin's own start-up refuses it.
    if (sqlState(error) === '22023') return false;
    throw slotFailure(error, 'start', slot);
  }
}

/**
 * Drops the slot; one that does not exist is no error. Throws `slot-busy` when somebody reads from it.
 * Returns whether there was one.
 */
export async function dropSlot(session: Session, name: string): Promise<boolean> {
  try {
    const rows = await session.query(
      `select pg_catalog.pg_drop_replication_slot(slot_name)
         from pg_catalog.pg_replication_slots where slot_name = $1`,
      [name],
    );
    return rows.length > 0;
  } catch (error) {
    if (sqlState(error) === '42704') return false;
    throw slotFailure(error, 'drop', name);
  }
}
