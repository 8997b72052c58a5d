/**
 * The session on the target that a run opens to ask where the stream stands: kept for the applier that begins right
 * behind it, since a login is several round trips. Where nobody begins soon it is closed: a connection that lies idle may
 * be cut on the way without anybody telling, and others may need its place.
 */
import { connectApplier } from '../apply/apply.js';
import type { Log } from '../log.js';
import type { Lsn } from '../model/lsn.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { fetchCopiedThrough } from '../postgres/generation.js';

/** A run that is to apply has received its first changes by then. */
const keptForMs = 10_000;

export class TargetAhead {
  #session: Session | null;
  readonly #timer: NodeJS.Timeout;

  constructor(session: Session) {
    this.#session = session;
    this.#timer = setTimeout(() => void this.close().catch(() => {}), keptForMs).unref();
  }

  /** The session, for good; null where there is none any more. */
  take(): Session | null {
    clearTimeout(this.#timer);
    const session = this.#session;
    this.#session = null;
    if (session === null || session.lost === null) return session;
    void session.close().catch(() => {});
    return null;
  }

  async close(): Promise<void> {
    await this.take()?.close();
  }
}

/** The applier's first session, and what it answered: the one that is there, or another. Throws what `question` does. */
export async function askApplier<Answer>(
  ahead: TargetAhead | null,
  { target, log, signal }: { readonly target: Conninfo; readonly log: Log; readonly signal: AbortSignal },
  question: (session: Session) => Promise<Answer>,
): Promise<{ readonly session: Session; readonly answer: Answer }> {
  const there = ahead?.take() ?? null;
  for (let session = there; ; session = null) {
    session ??= await connectApplier(target, { log, signal });
    try {
      return { session, answer: await question(session) };
    } catch (error) {
      // One that was lost while it lay there says nothing of the target.
      const again = session === there && session.lost !== null;
      await session.close();
      if (!again) throw error;
    }
  }
}

/** Behind the last snapshot of the copy, and the session that is open for the applier; null where none is any more. */
export async function askThrough(
  ahead: TargetAhead | null,
  known: Lsn | null,
  where: Parameters<typeof askApplier>[1] & { readonly key: StreamKey },
): Promise<{ readonly session: Session | null; readonly through: Lsn }> {
  if (known !== null) return { session: ahead?.take() ?? null, through: known };
  const { session, answer } = await askApplier(ahead, where, (one) => fetchCopiedThrough(one, where.key));
  return { session, through: answer };
}
