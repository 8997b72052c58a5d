/**
 * Journal → target. `apply` reads transactions from a source of messages and applies them in groups until the end
 * position is reached, the source ends, or it is asked to stop.
 *
 * It works in *readings*. A reading begins at the position row: the source is opened there, and everything that ends
 * behind it is applied (reading.ts). Whatever goes wrong, the reading is thrown away, the position row is read, and a
 * new one begins there; so nothing that was sent need be kept, and there is one way to continue, not many. What a
 * reading learned on the way to its end is handed to the next (`Lessons`).
 *
 * After a statement failed, the next reading is careful: every transaction a group, every change a statement, so that
 * the change at fault is known. Should all go well this time, the order inside of a set was the problem (two unique
 * values that swap); it goes on as before behind the group that failed, and has learned to handle that table with care.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import { formatLsn, readLsn, type Lsn } from '../model/lsn.js';
import type { MessageSource } from '../model/message-source.js';
import { relationLabel } from '../model/relation.js';
import type { StreamKey } from '../model/stream-key.js';
import { connect, type Backend, type ConnectOptions, type Session } from '../postgres/connect.js';
import { backendStart } from '../postgres/connect-settings.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { generationsQuery, readGenerations } from '../postgres/generation.js';
import { positionQuery, streamKeyParameters } from '../postgres/position-row.js';
import { serverFailure } from '../postgres/sqlstate.js';
import { WireSession } from '../postgres/wire-session.js';
import { CopiedLater } from './copied-later.js';
import { countedRows, isConflict, isGuardError, isPassing } from './culprit.js';
import { GuardFirst, Reading, ReadAgain, freshLessons, type Lessons } from './reading.js';
import { guardTables } from './target-guards.js';
import type { TableName } from './target-table.js';
import { applierName, takeStreamLock } from './stream-lock.js';
import type { TouchLog } from './touches.js';
import { RelationPlans } from './relation-plans.js';
import { StopClock } from './stop-clock.js';

/** A source that may want to be closed when its reading ends. */
export type OpenedSource = MessageSource & { close?(): Promise<void> };

export type ApplyOptions = {
  /**
   * Opens the messages such that every transaction ending behind `from` comes whole; earlier ones may come too. Called
   * at the start and after every interruption.
   */
  readonly openSource: (from: Lsn) => Promise<OpenedSource>;
  readonly target: Conninfo;
  /** A session of `connectApplier` that is open already: the applier's first, and closed by it. */
  readonly session?: Session | null;
  readonly key: StreamKey;
  /** The end position, zeroLsn while none is set. Asked at every transaction's edge, and while idle. */
  readonly endpos: () => Lsn;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Told after each COMMIT reply. */
  readonly onApplied: (applied: Lsn) => void;
  /**
   * What fires on the target's tables is switched off before they are first changed (target-guards.ts); whoever runs
   * the stream puts it back with `restoreGuarded`. Without, it fires, and such tables are applied in strict order.
   */
  readonly guard?: boolean;
  /** Every change is a statement of its own, as if nothing could go together: to see whether that makes a difference. */
  readonly strict?: boolean;
  /** Told what is written. */
  readonly touches?: TouchLog;
  /** Whether somebody waits for the position row to move while there is nothing to apply; it then moves at once. */
  readonly awaited?: () => boolean;
  /** How long another session that applies the stream is waited for; 40 s unless told. */
  readonly lockForMs?: number;
  /** How long a lost target or a passing error is tried again without any progress; a minute unless told. */
  readonly retryForMs?: number;
  /** Between two tries at most; 5 s unless told. */
  readonly longestPauseMs?: number;
};

export type ApplyResult = {
  /** `endpos`: everything ending at or before the end position is applied. `end`: the source has ended. */
  readonly reason: 'endpos' | 'end';
  readonly applied: Lsn;
};

type Rows = Awaited<ReturnType<WireSession['query']>>;

/** Rows of the position, and of what was copied later: null where that is known. */
type Standing = { readonly position: Rows; readonly generations: Rows | null };

const defaultRetryForMs = 60_000;
const defaultLongestPauseMs = 5000;
const quietMs = 1000;

/** A guard that fails on a position that stands where it should has met another applier's lock: look again, not for ever. */
const guardTries = 3;

/**
 * Applies until the end. Throws a Failure: `row-missing`, `relation-missing`, `target-statement` and the like with the
 * change at fault; `position-moved`, `target-disconnected`, `stopped`, or what the source throws.
 */
export async function apply(options: ApplyOptions): Promise<ApplyResult> {
  return await new Applier(options).run();
}

/** A session on the target as the applier has them. Throws as `connect`. */
export function connectApplier(
  target: Conninfo,
  options: Pick<ConnectOptions, 'signal' | 'log' | 'retryForMs'>,
): Promise<Session> {
  return connect(target, { ...options, ...applierSession, watched: true });
}

class Applier {
  readonly #options: ApplyOptions;
  readonly #retryForMs: number;
  readonly #clock: StopClock;
  readonly #plans = new RelationPlans();
  /** Opened by the caller, and not used yet. */
  #given: Session | null;
  #session: WireSession | null = null;
  /** What a new session was asked behind the lock, until it is read. */
  #standing: Promise<Standing> | null = null;
  /** The session before, while its backend may still work through what it was sent. */
  #lostBackend: Backend | null = null;
  /** Which start of which server the session is on, and which one the position was last read from. */
  #serverStartedAt = '';
  #positionServer = '';
  /** What the position row may say; null before it was read for the first time. */
  #possible: readonly Lsn[] | null = null;
  #lessons: Lessons = freshLessons;
  /** Since when nothing was applied because of trouble; null while all is well. */
  #troubleSince: number | null = null;
  #pauseMs = 0;
  #guardFailures = 0;
  /** Read once: nothing is copied any more when changes are applied. Null where all is of the slot's own snapshot. */
  #copiedLater: CopiedLater | null | undefined;
  /** Tables that need no further look: `guardTables` has seen to them. */
  readonly #guarded = new Set<string>();
  #replicaRole = false;

  constructor(options: ApplyOptions) {
    this.#options = options;
    this.#given = options.session ?? null;
    this.#retryForMs = options.retryForMs ?? defaultRetryForMs;
    this.#clock = new StopClock(options.signal, () => this.#session?.close());
  }

  async run(): Promise<ApplyResult> {
    try {
      for (;;) {
        const result = await this.#read();
        if (result !== null) return result;
      }
    } finally {
      this.#clock.end();
      this.#session?.close();
      await this.#given?.close();
    }
  }

  /** One reading; null when another is needed. */
  async #read(): Promise<ApplyResult | null> {
    let reading: Reading | null = null;
    let source: OpenedSource | null = null;
    try {
      this.#clock.throwIfStopping();
      const session = await this.#connected();
      // Taken before it is waited for: an answer that failed is not the answer to the next question.
      const standing = this.#standing ?? this.#askStanding(session);
      this.#standing = null;
      const { position: rows, generations } = await standing;
      const position = this.#takePosition(rows);
      const copiedLater = this.#takeGenerations(generations);
      source = await this.#options.openSource(position);
      reading = new Reading({
        session,
        source,
        position,
        key: this.#options.key,
        plans: this.#plans,
        lessons: this.#lessons,
        guarded: this.#options.guard === true ? this.#guarded : null,
        strict: this.#options.strict ?? false,
        endpos: this.#options.endpos,
        clock: this.#clock,
        onApplied: (applied) => this.#progressed(applied),
        touches: this.#options.touches ?? null,
        copiedLater,
        awaited: this.#options.awaited ?? (() => false),
      });
      return { reason: await reading.run(), applied: reading.pipeline.applied };
    } catch (error) {
      await this.#recover(error, reading);
      return null;
    } finally {
      await source?.close?.();
    }
  }

  /** One round trip for both. */
  async #askStanding(session: WireSession): Promise<Standing> {
    const parameters = streamKeyParameters(this.#options.key);
    const [position, generations] = await Promise.all([
      session.query(positionQuery, parameters),
      this.#copiedLater === undefined ? session.query(generationsQuery, parameters) : null,
    ]);
    return { position, generations };
  }

  #takeGenerations(rows: Standing['generations']): CopiedLater | null {
    if (this.#copiedLater === undefined) {
      const isOne = rows === null || rows.length === 0;
      this.#copiedLater = isOne ? null : new CopiedLater(readGenerations(rows));
    }
    return this.#copiedLater;
  }

  #progressed(applied: Lsn): void {
    this.#troubleSince = null;
    this.#pauseMs = 0;
    this.#guardFailures = 0;
    this.#options.onApplied(applied);
  }

  async #connected(): Promise<WireSession> {
    if (this.#session !== null && this.#session.broken === null) return this.#session;
    this.#disconnect();
    const { target, log, signal } = this.#options;
    const given = this.#given;
    this.#given = null;
    const session =
      given === null
        ? await WireSession.open(target, {
            ...applierSession,
            signal,
            log,
            retryForMs: Math.max(0, this.#retryForMs - this.#troubledMs()),
          })
        : WireSession.over(given, target);
    this.#session = session;
    await this.#endLostBackend(session);
    const forMs = this.#options.lockForMs ?? lockForMs;
    // One round trip for all, where the lock is free. What stands behind it is asked when nobody else applies any more.
    const asked = [
      session.query(serverStartQuery),
      session.run(sessionSettings),
      this.#replicaRole ? session.run(replicaRoleSetting) : null,
    ] as const;
    const locked = takeStreamLock(session, this.#options.key, { forMs, signal, log });
    const standing = this.#askStanding(session);
    standing.catch(() => {});
    const [wasFree, [row]] = await Promise.all([locked, ...asked]);
    this.#serverStartedAt = row?.[0] ?? '';
    this.#standing = wasFree ? standing : null;
    return session;
  }

  /**
   * A connection that broke on our side only leaves a backend that goes on with what it has received: groups that
   * commit after the position row was read. It is ended first; where that is not possible the guard is enough, since
   * those positions are expected.
   */
  async #endLostBackend(session: WireSession): Promise<void> {
    const lost = this.#lostBackend;
    if (lost === null) return;
    const parameters = [String(lost.pid), lost.start, applierName];
    const until = Date.now() + lostBackendMs;
    while (Date.now() < until && (await session.query(endBackendQuery, parameters)).length > 0)
      await sleep(20);
    this.#lostBackend = null;
  }

  /** Where the position row stands, and whether that is where this applier left it (DESIGN 3.3). */
  #takePosition([row]: Standing['position']): Lsn {
    const { key } = this.#options;
    const text = row?.[0] ?? null;
    if (text === null) {
      throw new Failure('target-setup', `target: there is no position of the stream "${key.stream}"`, {
        remedy: 'Make it with `walferry stream setup`, or check --origin and --source.',
      });
    }
    const position = readLsn(text);
    const isOtherServer = this.#serverStartedAt !== this.#positionServer;
    this.#positionServer = this.#serverStartedAt;
    // One that failed over may not know yet what was switched off: every table is looked at again.
    if (isOtherServer) this.#guarded.clear();
    if (isOtherServer && this.#possible?.every((possible) => position < possible) === true) {
      // Nobody who applies moves it back: the target failed over to a server that had not got the last groups yet
      // (DESIGN 11.15). Rows and position went back together, and what is missing is still in the transform files.
      this.#options.log.warn(
        `the target was set back to ${formatLsn(position)}, as by a failover: applying again from there`,
      );
      this.#lessons = freshLessons;
      this.#lostBackend = null;
    } else if (this.#possible !== null && !this.#possible.includes(position)) {
      throw positionMoved(key, position);
    }
    this.#possible = [position];
    return position;
  }

  /** Decides what follows from a failure: throws it, or leaves everything ready for another reading. */
  async #recover(error: unknown, reading: Reading | null): Promise<void> {
    this.#plans.forgetAll();
    if (reading !== null) this.#lessons = reading.lessons;
    const failing = reading?.pipeline.failing ?? null;
    // A connection that was quiet for a while and then broke is new trouble, not more of the old.
    if (reading !== null && failing === null && reading.ageMs >= quietMs) this.#troubleSince = null;
    await this.#settle(reading);
    // 1. Asked to stop, and out of time.
    this.#clock.throwIfOver();
    // 2. The connection is lost: a new one, for as long as there is hope.
    const broken = this.#session?.broken ?? null;
    if (broken !== null) {
      this.#disconnect();
      this.#options.log.warn(`${broken.message}; connecting again`);
      return await this.#pause(broken);
    }
    // 3. Nothing was wrong with the target: the same source must be read again with what is known now.
    if (error instanceof ReadAgain) return;
    if (error instanceof GuardFirst) return await this.#guard(error.tables);
    // 4. No connection although there was one before: its name may lead nowhere for a moment, while it is another host's.
    if (error instanceof Failure && error.code === 'target-unreachable' && this.#possible !== null) {
      return await this.#pause(error);
    }
    // 5. Not a statement. What was sent before it is good, and committed by now.
    if (!(error instanceof pg.DatabaseError)) throw error;
    // 6. The guard: the position row, read again, tells whether somebody else is at work.
    if (isGuardError(error)) {
      this.#guardFailures += 1;
      if (this.#guardFailures < guardTries) return;
      throw new Failure(
        'position-moved',
        `target: ${this.#options.key.stream}: the position row is being moved`,
        {
          cause: error,
        },
      );
    }
    // 7. Deadlocks and the like.
    if (isPassing(error)) return await this.#pause(serverFailure(error, 'target', ''));
    // 8. A careful reading has said all it could (it throws Failures), and a group without rows has no change at fault.
    if (failing === null || failing.lastXid === null || this.#lessons.carefulThrough !== null) {
      throw serverFailure(error, 'target', '');
    }
    // 9. A set met two values that swap: from now on its relation's updates take the row out and put it back.
    if (isConflict(error)) this.#plans.contest(error.schema ?? '', error.table ?? '');
    // 10. Which change is it?
    this.#options.log.notice('a group failed on the target; applying its changes one by one', {
      from: formatLsn(failing.from),
      reason: countedRows(error) === null ? (error.code ?? '') : 'rows',
    });
    this.#lessons = { ...this.#lessons, carefulThrough: { xid: failing.lastXid, endLsn: null } };
  }

  /** With no transaction open: the locks that this takes would wait for our own. */
  async #guard(tables: readonly TableName[]): Promise<void> {
    const { target, key, log, signal } = this.#options;
    const { replicaRole } = await guardTables({ target, key, log, signal }, tables);
    if (replicaRole && !this.#replicaRole) await this.#session?.run(replicaRoleSetting);
    this.#replicaRole ||= replicaRole;
    for (const table of tables) this.#guarded.add(relationLabel(table));
  }

  /**
   * Ends what the reading has under way on the target. With every reply at hand, the position row can only be where
   * those say; where the connection is lost, each group whose COMMIT was sent may have been committed.
   */
  async #settle(reading: Reading | null): Promise<void> {
    try {
      if (this.#session !== null && this.#session.broken === null) await this.#session.settle();
    } catch (error) {
      if (this.#session?.broken === null) throw error;
    }
    if (reading === null) return;
    const { applied, unanswered } = reading.pipeline;
    const lost = this.#session === null || this.#session.broken !== null;
    this.#possible = lost ? [applied, ...unanswered] : [applied];
  }

  #disconnect(): void {
    this.#standing = null;
    if (this.#session === null) return;
    this.#lostBackend = this.#session.backend;
    this.#session.close();
    this.#session = null;
  }

  #troubledMs(): number {
    return this.#troubleSince === null ? 0 : Date.now() - this.#troubleSince;
  }

  /** Waits a little longer each time; gives up with `failure` when nothing was applied for too long. */
  async #pause(failure: Failure): Promise<void> {
    this.#troubleSince ??= Date.now();
    if (this.#troubledMs() >= this.#retryForMs) throw failure;
    // Not all that lost the same target come back in the same moment.
    await this.#clock.sleep(this.#pauseMs * (0.5 + Math.random() / 2));
    const { longestPauseMs = defaultLongestPauseMs } = this.#options;
    this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2 + 50);
  }
}

/** The server's own time zone: CHECK constraints of users are evaluated there. */
const applierSession = { side: 'target', applicationName: applierName, timeZone: 'server' } as const;

/** Longer than a server takes to see that our process's host is gone (tcp_keepalives below). */
const lockForMs = 40_000;

/** How long the backend of a lost connection may take to end. */
const lostBackendMs = 5000;

/**
 * Generic plans, and keys looked up by their index whatever the statistics say: they are those of an empty table when
 * the stream begins. JIT would take such costs for a long query. What is applied must be durable on the target.
 *
 * A backend that nobody waits for any more is to end soon, also while it waits for a lock, and when the host of its client
 * is gone without a word: whoever resumes waits for it. client_connection_check_interval is there from 14 on, and works on Linux.
 */
const sessionSettings = `
  set plan_cache_mode = force_generic_plan;
  set enable_seqscan = off;
  set enable_hashjoin = off;
  set enable_mergejoin = off;
  set jit = off;
  set tcp_keepalives_idle = 10;
  set tcp_keepalives_interval = 5;
  set tcp_keepalives_count = 3;
  select pg_catalog.set_config('client_connection_check_interval', '2s', false)
    where pg_catalog.current_setting('client_connection_check_interval', true) is not null
      and pg_catalog.version() like '%linux%';
  select pg_catalog.set_config('synchronous_commit', 'on', false)
    where pg_catalog.current_setting('synchronous_commit') = 'off'`;

const replicaRoleSetting = 'set session_replication_role = replica';

const serverStartQuery = 'select pg_catalog.pg_postmaster_start_time()::pg_catalog.text';

/** Rows as long as it is there. A process id may be another session's by now: its start tells. */
const endBackendQuery = `
  select pg_catalog.pg_terminate_backend(pid)::pg_catalog.text from pg_catalog.pg_stat_activity
  where pid = $1::pg_catalog.int4 and ${backendStart} = $2 and application_name = $3`;

function positionMoved(key: StreamKey, position: Lsn): Failure {
  return new Failure(
    'position-moved',
    `target: the position of the stream "${key.stream}" was moved to ${formatLsn(position)} by somebody else`,
  );
}
