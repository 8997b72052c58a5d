/**
 * Moments: readings of the same thing on both sides that belong together, while the target follows the source.
 *
 *   1 low      the source's WAL position, and who holds a lock on the table to write it
 *   2 source   read in a snapshot S, and behind it
 *   3 high     the source's WAL position
 *   4          until the target's position row stands at or behind `high`
 *   5 target   read in a snapshot, and in that the position row: `applied`
 *
 * What follows from that:
 *
 * - Everything that S sees was committed before `high`, so the target holds it: `applied` ≥ `high`. The target may hold
 *   more: what was committed behind S.
 * - `low` is known when none of the writers of 1 was left at 2: then S sees every transaction that wrote the table and
 *   whose commit ends at or before `low`. (A transaction's commit is in the WAL a little before other sessions see it,
 *   with a synchronous standby that is away even for long. But all this time it keeps its lock on the table.) Since a
 *   moment begins behind the end of the one before, its `low` is behind that one's `applied`.
 *
 * So two moments in a row settle a row that differs, which one of them alone cannot (settling.ts).
 */
import { Failure } from '../failure.js';
import { formatLsn, readLsn, type Lsn } from '../model/lsn.js';
import { ownPrefix } from '../model/message.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from '../postgres/connect.js';
import { fetchPosition } from '../postgres/position-row.js';
import { beginSql, type Pair } from './sides.js';

export type Moment<T> = {
  readonly source: T;
  readonly target: T;
  /** Null where somebody was writing the table all the while. */
  readonly low: Lsn | null;
  readonly high: Lsn;
  readonly applied: Lsn;
};

// On a standby everything that is replayed is seen, and what is received may be replayed by the time it is asked for.
const positionSql = `
  select case when pg_catalog.pg_is_in_recovery()
    then coalesce(greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()), '0/0')
    else pg_catalog.pg_current_wal_insert_lsn() end::text as lsn`;
const lowOnStandbySql = `select pg_catalog.pg_last_wal_replay_lsn()::text as lsn`;

const writersSql = `
  select distinct l.virtualtransaction as writer from pg_catalog.pg_locks l
  where l.locktype = 'relation' and l.granted
    and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
    and (l.relation = $1::pg_catalog.oid
      or l.relation in (select p.relid::pg_catalog.oid from pg_catalog.pg_partition_tree($1::pg_catalog.oid) p))
    and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    and l.pid is distinct from pg_catalog.pg_backend_pid()`;

/** A short transaction has ended by then; a long one is not waited for. */
const writersMs = 1000;
/**
 * Where it is a whole piece that is read: a server that is busy takes longer for a commit, and a table without `low` is
 * read again as a whole in the pause of a cutover, which is dearer than waiting here.
 */
export const patientWritersMs = 10_000;
const writersPauseMs = 20;

/** Takes moments of one stream. */
export class Moments {
  readonly #reached: TargetPosition;
  readonly #key: StreamKey;

  constructor(key: StreamKey, reached: TargetPosition) {
    this.#key = key;
    this.#reached = reached;
  }

  /** Reads on the source, then on the target once it is as far. `oid` is the table's on the source. */
  async read<T>(
    pair: Pair,
    oid: string,
    read: (session: Session) => Promise<T>,
    waitMs = writersMs,
  ): Promise<Moment<T>> {
    const low = await this.#low(pair.source, oid, waitMs);
    const { value: source, after: high } = await inTransaction(pair.source, async () => {
      const value = await read(pair.source);
      return { value, after: await fetchLsn(pair.source, positionSql) };
    });
    await this.#reached.until(high, pair.source);
    const { value: target, applied } = await inTransaction(pair.target, async () => {
      const position = await fetchPosition(pair.target, this.#key);
      return { applied: position, value: await read(pair.target) };
    });
    if (applied === null || applied < high) throw setBack(applied, high);
    return { source, target, low, high, applied };
  }

  async #low(source: Session, oid: string, waitMs: number): Promise<Lsn | null> {
    if (source.inRecovery) return await fetchLsn(source, lowOnStandbySql);
    const low = await fetchLsn(source, positionSql);
    const writers = async () =>
      new Set((await source.query(writersSql, [oid])).map((row) => row['writer'] ?? ''));
    const waitingFor = await writers();
    const until = Date.now() + waitMs;
    while (waitingFor.size > 0) {
      if (Date.now() >= until) return null;
      await pause(writersPauseMs);
      const still = await writers();
      for (const writer of waitingFor) if (!still.has(writer)) waitingFor.delete(writer);
    }
    return low;
  }
}

async function inTransaction<T>(session: Session, run: () => Promise<T>): Promise<T> {
  await session.query(beginSql);
  const value = await run();
  await session.query('commit');
  return value;
}

async function fetchLsn(session: Session, sql: string): Promise<Lsn> {
  const [row] = await session.query(sql, [], 'could not ask for the position');
  return readLsn(row?.['lsn'] ?? '');
}

async function pause(milliseconds: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

function setBack(applied: Lsn | null, high: Lsn): Failure {
  const where = applied === null ? 'is gone' : `stands at ${formatLsn(applied)}`;
  return new Failure(
    'target-set-back',
    `the position row of the target was at ${formatLsn(high)} or behind it, and now it ${where}`,
  );
}

/** How long a target that does not get on at all is waited for. */
const standstillMs = 60_000;
const lookEveryMs = 100;
/** After so long a mark is written on the source, so that something arrives. */
const markAfterMs = 500;

// Its commit puts everything before it on disk, where the stream can read it.
const markSql = `select pg_catalog.pg_logical_emit_message(true, '${ownPrefix}', 'compare')`;

/** Where the target stands: one session looks for all that wait. */
export class TargetPosition {
  readonly #session: Session;
  readonly #key: StreamKey;
  #applied: Lsn | null = null;
  #movedAt = Date.now();
  #looking: Promise<void> | null = null;

  constructor(session: Session, key: StreamKey) {
    this.#session = session;
    this.#key = key;
  }

  /**
   * Resolves once the target holds everything up to `lsn`. Throws `target-setup` when it does not get on for a minute.
   */
  async until(lsn: Lsn, source: Session): Promise<void> {
    const startedAt = Date.now();
    let marked = source.inRecovery;
    this.#movedAt = Math.max(this.#movedAt, startedAt);
    while (this.#applied === null || this.#applied < lsn) {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = null;
      });
      await this.#looking;
      if (this.#applied !== null && this.#applied >= lsn) return;
      if (!marked && Date.now() - startedAt >= markAfterMs) {
        marked = true;
        // Who may not write one waits for the next keepalive.
        await source.query(markSql).catch(() => {});
      }
      if (Date.now() - this.#movedAt >= standstillMs) throw standstill(this.#applied, lsn);
      await pause(lookEveryMs);
    }
  }

  async #look(): Promise<void> {
    const applied = await fetchPosition(this.#session, this.#key);
    if (applied !== this.#applied) this.#movedAt = Date.now();
    this.#applied = applied;
  }
}

function standstill(applied: Lsn | null, lsn: Lsn): Failure {
  const where = applied === null ? 'has no position' : `stands at ${formatLsn(applied)}`;
  return new Failure(
    'target-setup',
    `the target does not get on: it ${where}, and has to reach ${formatLsn(lsn)} to be compared`,
    {
      remedy:
        'See that its run goes on and applies (`walferry list progress`). Once it has ended and nobody writes, compare again.',
    },
  );
}
