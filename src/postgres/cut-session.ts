/** A stop that does not wait for what the server is at: a statement may take hours, and its locks go with it. */
import type { Session } from './connect.js';

/** What runs on the server is cancelled, then the connection is cut; the waiting query fails. */
export async function cut(session: Session): Promise<void> {
  await session.cancel().catch(() => {});
  await session.close();
}

/** For a session that somebody else opened: until this is disposed, the signal ends what it waits for, and itself. */
export function cutOnAbort(session: Session, signal: AbortSignal | undefined): Disposable {
  const stop = () => void cut(session);
  if (signal?.aborted === true) stop();
  else signal?.addEventListener('abort', stop, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', stop) };
}
