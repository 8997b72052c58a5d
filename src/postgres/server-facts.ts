/** Facts about a server that need no catalog of the user's. */
import type { Session } from './connect-session.js';

/**
 * `server_version` as the server reports it at login, as server_version_num: `15.20 (Debian 15.20-1)` is 150020,
 * `18beta1` and `18devel` are 180000. 0 when it is no version.
 */
export function readServerVersion(text: string): number {
  const match = /^(\d+)(?:\.(\d+))?(?:\.(\d+))?/.exec(text);
  if (match === null) return 0;
  const [major, minor, patch] = [match[1], match[2], match[3]].map((part) => Number(part ?? 0));
  if (major === undefined || minor === undefined || patch === undefined) return 0;
  return major >= 10 ? major * 10_000 + minor : major * 10_000 + minor * 100 + patch;
}

/** server_version_num for people: 150020 is `15.20`. */
export function formatServerVersion(serverVersion: number): string {
  const major = Math.floor(serverVersion / 10_000);
  if (major >= 10) return `${major}.${serverVersion % 10_000}`;
  return `${major}.${Math.floor(serverVersion / 100) % 100}.${serverVersion % 100}`;
}

const recoveryQuery = 'select pg_catalog.pg_is_in_recovery() as in_recovery';

/** Whether the server is a standby now; it may have been promoted since the login (`Session.inRecovery`). */
export async function fetchIsInRecovery(session: Session): Promise<boolean> {
  const [row] = await session.query(recoveryQuery);
  return row?.['in_recovery'] === 't';
}
