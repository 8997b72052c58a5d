/**
 * Looks now and then whether the run stands still because somebody else holds a lock, on either side, and names who:
 * whoever waits for a lock is not told, and may wait for hours. Nothing of the run depends on it: a server that does not
 * answer is asked again later.
 *
 * Each look is a login, which may be the last one that a server has to give: none is made where nothing can wait.
 */
import type { PositionStanding } from '../catalog/run-status.js';
import type { Side } from '../failure.js';
import type { Log } from '../log.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { RunPhase } from '../model/run-phase.js';
import { describeLockWait, fetchLockWaits, type LockWait } from '../postgres/lock-waits.js';

export type LockWatchOptions = {
  /** Null where the run has nothing to do there. */
  readonly source: Conninfo | null;
  readonly target: Conninfo | null;
  /** Left out: it may wait all the while. */
  readonly standing?: () => RunStanding;
  readonly log: Log;
};

/** What a run is at; `applied`: null where nothing is applied yet. */
export type RunStanding = { readonly phase: RunPhase; readonly applied: PositionStanding | null };

/**
 * Whether a session of the run may wait for a lock. Pure. `before`: how the run stood one look earlier.
 *
 *   1 nothing but the stream goes on: it takes no locks on the source, and on the target only where changes are applied.
 *     There it waits where it is behind and has not moved.
 *   2 else somebody may: others who get on say nothing of one who does not
 */
export function mayWait(side: Side, { phase, applied }: RunStanding, before: RunStanding | null): boolean {
  if (phase.kind !== 'receive' && phase.kind !== 'apply') return true; // 2
  if (side === 'source' || phase.kind === 'receive' || before === null) return false; // 1
  return applied !== null && applied.behindBytes !== 0 && applied.lsn === before.applied?.lsn;
}

const lookEveryMs = 10_000;

/** A lock that is held for a moment is nothing to be told. */
const worthTellingSeconds = 5;

/** While it lasts it is said again this often: a line of an hour ago has scrolled away. */
const tellEveryMs = 300_000;

export class LockWatch implements AsyncDisposable {
  readonly #options: LockWatchOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #closed = new AbortController();
  /** What was said of each side, and when. */
  readonly #said = new Map<Side, { readonly words: string; readonly atMs: number }>();
  #looking: Promise<void> | null = null;
  #before: RunStanding | null = null;

  constructor(options: LockWatchOptions, everyMs = lookEveryMs) {
    this.#options = options;
    this.#timer = setInterval(() => this.#begin(), everyMs).unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closed.abort();
    await this.#looking;
  }

  #begin(): void {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
  }

  async #look(): Promise<void> {
    const { source, target, standing } = this.#options;
    const [now, before] = [standing?.() ?? null, this.#before];
    this.#before = now;
    const look = async (side: Side, server: Conninfo | null) => {
      if (server === null) return;
      if (now === null || mayWait(side, now, before)) await this.#lookAt(side, server);
      else this.#tell(side, []);
    };
    await Promise.all([look('source', source), look('target', target)]);
  }

  async #lookAt(side: Side, server: Conninfo): Promise<void> {
    const { log } = this.#options;
    const { signal } = this.#closed;
    try {
      await using session = await connect(server, {
        side,
        applicationName: 'walferry look',
        retryForMs: 0,
        signal,
      });
      // An end of the run does not wait for an answer that may never come.
      const close = () => void session.close();
      signal.addEventListener('abort', close, { once: true });
      try {
        this.#tell(side, await fetchLockWaits(session, worthTellingSeconds));
      } finally {
        signal.removeEventListener('abort', close);
      }
    } catch (error) {
      log.debug(`locks on the ${side} cannot be looked for now`, { reason: String(error) });
    }
  }

  #tell(side: Side, waits: readonly LockWait[]): void {
    const { log } = this.#options;
    const said = this.#said.get(side);
    if (waits.length === 0) {
      this.#said.delete(side);
      if (said !== undefined) log.info(`nothing waits for a lock on the ${side} any more`);
      return;
    }
    const words = [...new Set(waits.map(describeLockWait))].join('; ');
    if (said?.words === words && Date.now() - said.atMs < tellEveryMs) return;
    this.#said.set(side, { words, atMs: Date.now() });
    log.warn(`${side}: ${words}. ${sayWay(waits)}`);
  }
}

/** What the operator can do. */
function sayWay(waits: readonly LockWait[]): string {
  const pids = [...new Set(waits.flatMap(({ blocker }) => (blocker === null ? [] : [blocker.pid])))];
  const ends = pids.map((pid) => `select pg_catalog.pg_terminate_backend(${pid})`);
  if (waits.some(({ blocker }) => blocker === null))
    ends.push('commit or roll back what is in pg_prepared_xacts');
  return `It goes on by itself when that has ended; to end it: ${ends.join('; ')}`;
}
