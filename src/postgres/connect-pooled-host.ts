import type { Conninfo } from './connection-string.js';

/**
 * Whether the host is a pooler that shares server sessions between clients after every transaction. Through it there
 * are no session settings, no held snapshots and no replication: a run would break in ways that do not look like it.
 * The user has to give the direct host (rather than us replacing it), so that what is reported is what was given.
 * https://neon.com/docs/connect/connection-pooling, https://supabase.com/docs/guides/database/connecting-to-postgres
 */
export function pooledHostProblem(
  conninfo: Pick<Conninfo, 'host' | 'port'>,
): { problem: string; remedy: string } | null {
  const host = conninfo.host.toLowerCase();
  const neon = /^([^.]+)-pooler(\.(?:.*\.)?neon\.(?:tech|build))\.?$/.exec(host);
  if (neon !== null) {
    return {
      problem: `${conninfo.host} is Neon's connection pooler, which cannot be used for a migration`,
      remedy: `Use the direct host: ${neon[1]}${neon[2]}`,
    };
  }
  if (/\.pooler\.supabase\.com\.?$/.test(host) && conninfo.port === 6543) {
    return {
      problem: `port 6543 of ${conninfo.host} is Supabase's transaction pooler, which cannot be used for a migration`,
      remedy: "Use the database's direct connection (db.<project>.supabase.co:5432).",
    };
  }
  return null;
}
