/**
 * Keeps the target's WAL writer awake while the rows of a large table come in.
 *
 * COPY works in a ring of 16 MB of buffers. Before a page leaves it, the page's WAL has to be on the disk, and unless
 * somebody else has brought it there the COPY does so itself, and waits. The WAL writer is there for that, but sleeps
 * for wal_writer_delay (200 ms, in which far more than 16 MB come in) unless an asynchronous commit wakes it. So
 * another session commits next to nothing, every few milliseconds: an empty logical message, outside of any
 * transaction, takes no transaction id, needs no right and no wal_level, and nobody decodes it into anything.
 *
 * It is a help and no more: whatever goes wrong with it ends it without a word above debug.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asFailure } from '../failure.js';
import type { Log } from '../log.js';
import type { Session } from '../postgres/connect.js';
import type { CloneJobs } from './options.js';

// A COPY fills its ring in some 100 ms at its fastest.
const everyMs = 25;

const messageStatement = `select pg_catalog.pg_logical_emit_message(false, 'walferry', '')`;

// The rooms that are left once this session is open. A superuser is bound by none but the server's own.
const freeQuery = `
  select least(
      current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - pg_catalog.count(*),
      case when r.rolsuper or r.rolconnlimit < 0 then null
        else r.rolconnlimit - pg_catalog.count(*) filter (where a.usesysid = r.oid) end,
      case when r.rolsuper or d.datconnlimit < 0 then null
        else d.datconnlimit - pg_catalog.count(*) filter (where a.datid = d.oid) end) as free
  from pg_catalog.pg_roles r, pg_catalog.pg_database d, pg_catalog.pg_stat_activity a
  where r.rolname = current_user and d.datname = pg_catalog.current_database()
    and a.backend_type = 'client backend'
  group by r.oid, r.rolsuper, r.rolconnlimit, d.oid, d.datconnlimit`;

export type WalWriterOptions = {
  /** Opens a session on the target, unless the signal ends that. */
  readonly open: (signal: AbortSignal) => Promise<Session>;
  /** Those whose sessions come first: where connections are scarce this one is given up. */
  readonly jobs: Pick<CloneJobs, 'table' | 'index'>;
  readonly log: Log;
};

/** Awake while at least one piece of work runs. Once it is disposed of its session is closed. */
export class WalWriterCalls implements AsyncDisposable {
  readonly #options: WalWriterOptions;
  #works = 0;
  #calling: Promise<void> | null = null;
  #session: Session | null = null;
  readonly #end = new AbortController();

  constructor(options: WalWriterOptions) {
    this.#options = options;
  }

  /** Does the work, with the WAL writer awake. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#works += 1;
    if (!this.#end.signal.aborted) this.#calling ??= this.#call();
    try {
      return await work();
    } finally {
      this.#works -= 1;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#session?.close();
    await this.#calling;
  }

  async #call(): Promise<void> {
    const { open, jobs, log } = this.#options;
    const { signal } = this.#end;
    try {
      await using session = await open(signal);
      this.#session = session;
      const [row] = await session.query(freeQuery);
      // Of the table workers one has its session already.
      const scarce = Number(row?.['free'] ?? 0) < jobs.table - 1 + jobs.index;
      if (scarce) this.#end.abort();
      while (this.#works > 0 && !signal.aborted) {
        await session.query(messageStatement);
        await sleep(everyMs, undefined, { signal }).catch(() => {});
      }
    } catch (error) {
      if (!signal.aborted) {
        log.debug(`the target's WAL writer is left to itself: ${asFailure(error).message}`);
      }
      this.#end.abort();
    }
    this.#session = null;
    this.#calling = null;
  }
}
