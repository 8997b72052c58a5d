/** Both servers: versions, TLS, distance, clocks, free connections; and the client programs. Pure, but for one. */
import { Failure } from '../failure.js';
import type { CloneJobs } from '../clone/options.js';
import { locateClientTools } from '../postgres/client-tools.js';
import { formatServerVersion } from '../postgres/server-facts.js';
import { asked, counted, fail, pass, warn, type Finding } from './finding.js';
import { numberSetting, type ServerFacts } from './server-facts.js';

const oldestServer = 14;
const newestServer = 18;

export function major(version: number): number {
  return Math.floor(version / 10_000);
}

/** Who answers, and how safe the way there is. */
export function judgeServer(facts: ServerFacts): Finding {
  const { side, login, role, version } = facts;
  const id = `connections.${side}` as const;
  const distance = `${facts.roundTripMs < 10 ? facts.roundTripMs.toFixed(1) : Math.round(facts.roundTripMs)} ms away`;
  const server = `PostgreSQL ${formatServerVersion(version)} as "${role.name}"`;
  if (major(version) < oldestServer || major(version) > newestServer) {
    return warn(
      id,
      side,
      `${server}: walferry is made for versions ${oldestServer} to ${newestServer}`,
      'Try the migration on a copy first.',
    );
  }
  if (login.tls === null && !isLocal(facts.host)) {
    return warn(
      id,
      side,
      `${server}, ${distance}: the connection is not encrypted, rows and passwords travel in the clear`,
      `Add sslmode=require to --${side} (verify-full with sslrootcert also checks who answers).`,
    );
  }
  return pass(id, side, `${server}, ${describeLogin(facts)}, ${distance}`);
}

function isLocal(host: string): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || host.startsWith('127.');
}

function describeLogin({ login }: ServerFacts): string {
  if (login.tls === null) return 'not encrypted (same machine)';
  const binding = login.bound ? ' with channel binding' : '';
  return `${login.tls.protocol}${binding}, certificate ${login.verified ? 'checked' : 'not checked'}`;
}

/** Whether the two versions go together. Null where there is nothing to say. */
export function judgeVersions(source: ServerFacts, target: ServerFacts): Finding | null {
  if (major(target.version) >= major(source.version)) return null;
  return warn(
    'connections.versions',
    'versions',
    `the target is version ${major(target.version)}, older than the source with ${major(source.version)}: its schema may use what the target does not know`,
    "Choose a target of at least the source's version.",
  );
}

// A second is nothing; what is measured in seconds behind is wrong by this much.
const clockToleranceMs = 2000;

/** Clocks that differ make "seconds behind" wrong. Null where they agree. */
export function judgeClocks(facts: readonly ServerFacts[]): Finding | null {
  const wrong = facts.filter(
    ({ clockAheadMs, roundTripMs }) => Math.abs(clockAheadMs) - roundTripMs / 2 > clockToleranceMs,
  );
  if (wrong.length === 0) return null;
  const words = wrong.map(({ side, clockAheadMs }) => {
    const seconds = (Math.abs(clockAheadMs) / 1000).toFixed(1);
    return `the ${side}'s is ${seconds} s ${clockAheadMs > 0 ? 'ahead of' : 'behind'} this machine's`;
  });
  return warn(
    'connections.clocks',
    'clocks',
    `${words.join(', ')}: times shown as behind are wrong by that`,
    'Have all three machines synchronise their clocks (NTP).',
  );
}

/** pg_dump and pg_restore. */
export function checkClientTools(serverVersion: number, environment: NodeJS.ProcessEnv): Promise<Finding> {
  return asked('connections.client-tools', 'client tools', async () => {
    const { directory, version } = await locateClientTools({ serverVersion, environment });
    return `pg_dump and pg_restore ${major(version)} in ${directory}`;
  });
}

/**
 * How many sessions a run opens at its busiest, and with how few it still ends. `walsenders` come on top: they have places
 * of their own on the server, but count against the limits of the role and the database.
 */
export type SessionNeeds = { readonly asked: number; readonly least: number; readonly walsenders: number };

/**
 * On the source: a pair's half for each table worker, and the snapshot's holder; pg_dump has its session before. With a
 * stream the holder and the receiver are walsenders; beside them the source is watched all the time, and looked at now
 * and then (`walferry watch`, `walferry look`), without which the stream goes on. On the target: the other halves, one
 * for each index worker, and the run's own; with a stream, the applier's and the receiver of its position. Fewer table
 * workers are enough: who gets no connection hands on its work. Whether locks are waited for is looked at where there is
 * room for that.
 */
export function sessionNeeds(
  side: 'source' | 'target',
  { table, index }: Pick<CloneJobs, 'table' | 'index'>,
  follow: boolean,
): SessionNeeds {
  if (side === 'source') {
    return follow
      ? { asked: table + 2, least: 2, walsenders: 2 }
      : { asked: table + 2, least: 3, walsenders: 0 };
  }
  return { asked: table + index + (follow ? 3 : 1), least: 2, walsenders: 0 };
}

/** Free connections against those that are asked for. Our own session is among those that are open. */
export function judgeFreeConnections(facts: ServerFacts, needs: SessionNeeds): Finding {
  const { side, role, database, connections } = facts;
  const id = `room.${side}-connections` as const;
  const title = `${side} connections`;
  const reserved = role.superuser
    ? 0
    : (numberSetting(facts, 'superuser_reserved_connections') ?? 0) +
      (numberSetting(facts, 'reserved_connections') ?? 0);
  const limits = [
    {
      name: 'max_connections',
      free: (numberSetting(facts, 'max_connections') ?? 0) - reserved - connections.all,
      remedy: 'raise max_connections (restart)',
    },
    {
      name: `the connection limit of role "${role.name}"`,
      free:
        role.superuser || role.connectionLimit < 0
          ? Infinity
          : role.connectionLimit - connections.role - needs.walsenders,
      remedy: `alter role "${role.name}" connection limit -1;`,
    },
    {
      name: `the connection limit of database "${database.name}"`,
      free:
        role.superuser || database.connectionLimit < 0
          ? Infinity
          : database.connectionLimit - connections.database - needs.walsenders,
      remedy: `alter database "${database.name}" connection limit -1;`,
    },
  ];
  const [tightest] = limits.toSorted((a, b) => a.free - b.free);
  if (tightest === undefined) return pass(id, title, 'no limit');
  const free = Math.max(0, tightest.free + 1);
  const beside = tightest.free < Infinity && tightest.name !== 'max_connections' && needs.walsenders > 0;
  const stream = beside ? ` beside the ${needs.walsenders} of the stream` : '';
  if (free < needs.least) {
    const failure = new Failure(
      `${side}-setup`,
      `${counted(free, 'connection')} left by ${tightest.name}${stream}, and a run needs ${needs.least} at least`,
      { remedy: `Close connections that are not needed, or ${tightest.remedy}` },
    );
    return fail(id, title, failure);
  }
  if (free < needs.asked) {
    return warn(
      id,
      title,
      `${free} left by ${tightest.name}${stream}, and ${needs.asked} are asked for: the run goes on with fewer`,
      `Ask for fewer with --table-jobs and --index-jobs, or ${tightest.remedy}`,
    );
  }
  return pass(id, title, `${free} free, ${needs.asked} asked for`);
}
