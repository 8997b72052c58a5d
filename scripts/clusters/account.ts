/** PostgreSQL refuses to run as root: then its programs run as an ordinary account of the system. */
import { execFileSync } from 'node:child_process';

export type Account = { readonly uid: number; readonly gid: number };

/** The account for server programs: null where the present user will do. */
export function serverAccount(): Account | null {
  if (process.getuid?.() !== 0) return null;
  for (const name of ['postgres', 'nobody']) {
    const uid = identify('-u', name);
    const gid = identify('-g', name);
    if (uid !== null && gid !== null) return { uid, gid };
  }
  throw new Error('PostgreSQL cannot run as root, and there is neither a user postgres nor a user nobody');
}

function identify(what: '-u' | '-g', name: string): number | null {
  try {
    return Number(
      execFileSync('id', [what, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
    );
  } catch {
    return null;
  }
}
