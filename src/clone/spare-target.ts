/**
 * One session on the target for the short steps before and after the copy, each of which would otherwise open its own:
 * a login costs several round trips. It is given up while the copy runs: a connection that lies idle for hours may be
 * cut on the way without anybody telling.
 */
import type { Session } from '../postgres/connect.js';
import { isIdle } from '../postgres/raw-session.js';
import type { TargetWork } from './options.js';
import { openTarget } from './sessions.js';

/** After so long without a word, a session that may have been cut on the way is not worth the trust. */
const staleAfterMs = 60_000;

/** A session that is given back, or closed, at the end of the block. */
export type LentTarget = AsyncDisposable & { readonly session: Session };

export class SpareTarget implements AsyncDisposable {
  #free: Session | null = null;
  /** How many are being opened now. */
  #opening = 0;
  #freeSince = 0;

  /** Opens the session ahead of its use: what comes next is to wait for no login. Throws as `connect`. */
  async prepare(work: Pick<TargetWork, 'target' | 'log' | 'signal'>): Promise<void> {
    await using _lent = await this.lend(work);
  }

  /** The spare session, or a new one; for one step at a time, two steps at once get one each. */
  async lend(work: Pick<TargetWork, 'target' | 'log' | 'signal'>): Promise<LentTarget> {
    const session = this.take() ?? (await this.#open(work));
    return {
      session,
      [Symbol.asyncDispose]: async () => {
        // After a failure it may be anywhere. And whoever opens one may be refused for as long as this one lies here.
        if (!isGood(session) || this.#free !== null || this.#opening > 0) return await session.close();
        this.#free = session;
        this.#freeSince = Date.now();
      },
    };
  }

  async #open(work: Pick<TargetWork, 'target' | 'log' | 'signal'>): Promise<Session> {
    this.#opening += 1;
    try {
      return await openTarget(work.target, 'clone', work);
    } finally {
      this.#opening -= 1;
    }
  }

  /** The spare session, for good; null when there is none. */
  take(): Session | null {
    const free = this.#free;
    this.#free = null;
    if (free === null || (isGood(free) && Date.now() - this.#freeSince < staleAfterMs)) return free;
    void free.close();
    return null;
  }

  /** Gives up the session; the next step opens a new one. */
  async close(): Promise<void> {
    const free = this.#free;
    this.#free = null;
    await free?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function isGood(session: Session): boolean {
  return session.lost === null && isIdle(session.client) && session.client.getTransactionStatus() === 'I';
}

/** The run's spare session, or a session of the step's own. */
export async function lendTarget(
  work: Pick<TargetWork, 'target' | 'log' | 'signal' | 'spare'>,
): Promise<LentTarget> {
  if (work.spare !== undefined) return await work.spare.lend(work);
  const session = await openTarget(work.target, 'clone', work);
  return { session, [Symbol.asyncDispose]: () => session.close() };
}
