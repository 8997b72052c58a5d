/**
 * A peer that dies without a word (a cut network, a host that lost its power) leaves a connection that looks alive:
 * TCP tells after a quarter of an hour, or never. Silence alone proves nothing either: a server may be busy for long,
 * with a lock, a large statement, a large transaction to decode. So whoever is owed an answer and has heard nothing
 * for a while asks over a second connection what the server's process does:
 *
 *   1. no second connection can be made           → lost
 *   2. the process is not there any more          → lost (its id alone says nothing: another one may have it by now)
 *   3. it waits for us, twice in a row            → what we said did not arrive, or its answer did not: lost
 *   4. it does anything else                      → it is busy, and is waited for
 *
 * A process that waits for us in vain is ended, since it holds locks, or the slot.
 */
import { Failure, type Side } from '../failure.js';
import { silentLog } from '../log.js';
import { connect, type Backend } from './connect.js';
import { backendStart } from './connect-settings.js';
import type { Conninfo } from './connection-string.js';

/** How long a connection that owes an answer may be silent before it is looked after, in milliseconds. */
export const silentMs = 15_000;

/** Between two looks at a process that seems to wait for us: its answer may be on its way. */
const lookAgainMs = 2000;

export type SilenceOptions = {
  readonly conninfo: Conninfo;
  readonly side: Side;
  /** The server's process at the other end. */
  readonly backend: Backend;
  /** Since when an answer is owed and nothing was heard, by performance.now(); null when none is owed. */
  readonly silentSince: () => number | null;
  /** The connection is lost; the failure says so. Called once. */
  readonly onLost: (failure: Failure) => void;
  /** `silentMs` unless told. */
  readonly afterMs?: number;
};

/** What the server's process does, as a second connection sees it. */
type Sight = 'gone' | 'waits' | 'busy';

/** The process, and no other one that got its id since. Its own role sees the start; where it did not, the id must do. */
const itsProcess = `from pg_catalog.pg_stat_activity
  where pid = $1::int4 and ($2::text is null or ${backendStart} = $2)`;

const sightQuery = `
  select coalesce(wait_event_type, '') in ('Client', 'Activity') as waits ${itsProcess}`;

const endQuery = `select pg_catalog.pg_terminate_backend(pid) ${itsProcess}`;

/** Looks after one connection until it is closed. */
export class SilenceWatch {
  readonly #options: SilenceOptions;
  readonly #afterMs: number;
  #timer: NodeJS.Timeout;
  #closed = false;

  constructor(options: SilenceOptions) {
    this.#options = options;
    this.#afterMs = options.afterMs ?? silentMs;
    this.#timer = this.#later(this.#afterMs);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #later(milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => void this.#look(), milliseconds).unref();
  }

  /** Whether it is still silent: something may have been heard while we asked elsewhere. */
  #silentFor(): number {
    const since = this.#closed ? null : this.#options.silentSince();
    return since === null ? 0 : performance.now() - since;
  }

  async #look(): Promise<void> {
    const silentFor = this.#silentFor();
    if (silentFor < this.#afterMs) {
      if (!this.#closed) this.#timer = this.#later(this.#afterMs - silentFor);
      return;
    }
    const why = await this.#whyLost();
    if (this.#closed) return;
    if (why === null || this.#silentFor() < this.#afterMs) {
      this.#timer = this.#later(this.#afterMs);
      return;
    }
    this.#closed = true;
    const { side, onLost } = this.#options;
    const seconds = Math.round(silentFor / 1000);
    const message = `the ${side} has not answered for ${seconds} s, and ${why}`;
    onLost(new Failure(side === 'source' ? 'source-disconnected' : 'target-disconnected', message));
  }

  async #whyLost(): Promise<string | null> {
    const { conninfo, side, backend } = this.#options;
    const parameters = [String(backend.pid), backend.start];
    try {
      await using session = await connect(conninfo, {
        side,
        applicationName: 'walferry look',
        log: silentLog,
        retryForMs: 0,
      });
      const see = async (): Promise<Sight> => {
        const [row] = await session.query(sightQuery, parameters);
        if (row === undefined) return 'gone';
        return row['waits'] === 't' ? 'waits' : 'busy';
      };
      let sight = await see();
      if (sight === 'waits') {
        await new Promise((resolve) => setTimeout(resolve, lookAgainMs));
        if (this.#silentFor() < this.#afterMs) return null;
        sight = await see();
      }
      if (sight === 'busy') return null;
      if (sight === 'gone') return 'its process for this connection is gone';
      await session.query(endQuery, parameters);
      return 'its process for this connection waits for what was sent long ago';
    } catch (error) {
      return `a new connection cannot be made either: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
}
