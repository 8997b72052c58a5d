/**
 * The sessions of a comparison, on both sides.
 *
 * `still`: nothing changes under way, or nobody minds. All sessions of a side share one snapshot, so that each side is
 * read at one moment. `moving`: the target follows the source; sessions are in no transaction, and each reading makes
 * its own, so that no snapshot is held for long.
 */
import { Failure, type Side } from '../failure.js';
import { silentLog, type Log } from '../log.js';
import { quoteLiteral } from '../model/sql.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { isSameDatabase } from '../postgres/same-database.js';

export type Pair = Readonly<Record<Side, Session>>;

export type SidesOptions = Readonly<Record<Side, Conninfo>> & {
  readonly shareSnapshot: boolean;
  readonly still: boolean;
  /** Sessions that are open already; taken before others are opened. */
  readonly ahead?: SessionsAhead | undefined;
  readonly log?: Log | undefined;
  readonly signal?: AbortSignal | undefined;
};

/** A transaction in which a side stands still. */
export const beginSql = 'begin isolation level repeatable read, read only';

/** The sessions of both sides. */
export class Sides {
  readonly #options: SidesOptions;
  readonly #open = new Set<Session>();
  readonly #snapshots: Record<Side, string | null> = { source: null, target: null };
  #closed = false;

  constructor(options: SidesOptions) {
    this.#options = options;
  }

  /** The sessions whose view of their side all others share. */
  async first(): Promise<Pair> {
    const pair = await this.#pair(async (side) => {
      const session = await this.#connect(side);
      if (!this.#options.still) return session;
      if (this.#options.shareSnapshot) this.#snapshots[side] = await this.#exportSnapshot(session);
      else await session.query(beginSql);
      return session;
    });
    // Who has opened sessions ahead knows its sides.
    if (this.#options.ahead === undefined && (await isSameDatabase(pair.source, pair.target))) {
      this.#options.log?.warn(
        'source and target are one and the same database: that it is equal to itself proves nothing',
      );
    }
    return pair;
  }

  async another(): Promise<Pair> {
    return await this.#pair(async (side) => {
      const session = await this.#connect(side);
      if (!this.#options.still) return session;
      const snapshot = this.#snapshots[side];
      const share = snapshot === null ? '' : `; set transaction snapshot ${quoteLiteral(snapshot)}`;
      await session.run(`${beginSql}${share}`);
      return session;
    });
  }

  /** Ends all of them, also in the middle of a query. */
  async close(): Promise<void> {
    this.#closed = true;
    const sessions = [...this.#open];
    this.#open.clear();
    await Promise.allSettled(sessions.map((session) => session.close()));
  }

  async #pair(open: (side: Side) => Promise<Session>): Promise<Pair> {
    const [source, target] = await Promise.all([open('source'), open('target')]);
    return { source, target };
  }

  async #connect(side: Side): Promise<Session> {
    const { ahead } = this.#options;
    const session = ahead?.take(side) ?? (await openSide(side, this.#options));
    this.#open.add(session);
    if (this.#closed) {
      // A failure elsewhere closed the others while this one was on its way.
      await this.close();
      throw new Failure('stopped', 'the comparison has ended');
    }
    return session;
  }

  /** Begins, and exports. Null where the role may not export one: then every session has a snapshot of its own. */
  async #exportSnapshot(session: Session): Promise<string | null> {
    try {
      const { rows } = await session.run(`${beginSql}; select pg_catalog.pg_export_snapshot() as snapshot`);
      return rows[0]?.['snapshot'] ?? null;
    } catch (error) {
      if (!(error instanceof Failure) || !error.code.endsWith('-rights')) throw error;
      const { log = silentLog } = this.#options;
      log.notice(
        `the ${session.side} lets this role export no snapshot: tables are read at different moments`,
      );
      await session.query('rollback');
      await session.query(beginSql);
      return null;
    }
  }
}

type OpenOptions = Readonly<Record<Side, Conninfo>> & Pick<SidesOptions, 'log' | 'signal'>;

async function openSide(side: Side, options: OpenOptions): Promise<Session> {
  const { log, signal } = options;
  const session = await connect(options[side], { side, applicationName: 'walferry compare', log, signal });
  await prepareSession(session);
  return session;
}

/** After so long without a word, a session that may have been cut on the way is not worth the trust. */
const staleAfterMs = 60_000;

/** Sessions opened ahead of a comparison that is to wait for no login: several round trips each, to a server far away. */
export class SessionsAhead implements AsyncDisposable {
  readonly #free: Record<Side, Session[]>;
  readonly #openedAt = Date.now();

  private constructor(free: Record<Side, Session[]>) {
    this.#free = free;
  }

  /** Opens as many pairs as it can. Why one could not be opened is told by whoever needs it. */
  static async open(pairs: number, options: OpenOptions): Promise<SessionsAhead> {
    const side = async (name: Side) => {
      const tries = Array.from({ length: pairs }, () => openSide(name, options));
      const opened = await Promise.allSettled(tries);
      return opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    };
    const [source, target] = await Promise.all([side('source'), side('target')]);
    return new SessionsAhead({ source, target });
  }

  /** One of them, for good; null when there is none. */
  take(side: Side): Session | null {
    const session = this.#free[side].shift();
    if (session === undefined) return null;
    if (session.lost === null && Date.now() - this.#openedAt < staleAfterMs) return session;
    void session.close();
    return this.take(side);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const left = [...this.#free.source.splice(0), ...this.#free.target.splice(0)];
    await Promise.allSettled(left.map((session) => session.close()));
  }
}

/**
 * What connect.ts leaves open. Names in cells (regclass and its like) are quoted alike on both sides. And the server
 * looks now and then whether we are still there, so that a query of hours ends soon after a comparison that was
 * stopped or killed; not every system can. And buckets are gathered by hash: the planner takes them for as many as there
 * are rows, and would sort the whole table. No JIT: it compiles for seconds what a catalog query does in milliseconds,
 * since sorts that are switched off count as very dear.
 */
async function prepareSession(session: Session): Promise<void> {
  await session.query('set quote_all_identifiers = off');
  await session.query('set enable_sort = off');
  await session.query('set jit = off');
  await session.query(`set client_connection_check_interval = '5s'`).catch(() => {});
}
