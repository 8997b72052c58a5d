/** A stream for one test: publications, a slot, and a journal in memory that can be looked into. */
import { Failure } from '../../src/failure.js';
import { silentLog } from '../../src/log.js';
import type { Change } from '../../src/model/change.js';
import { readLsn, zeroLsn, type Lsn } from '../../src/model/lsn.js';
import type { StreamMessage } from '../../src/model/message.js';
import { connect, type Session } from '../../src/postgres/connect.js';
import { readConninfo, type Conninfo } from '../../src/postgres/connection-string.js';
import { createPublications, type PublishedTable } from '../../src/postgres/publication.js';
import { createSlot, dropSlot } from '../../src/postgres/slot.js';
import { Acknowledge } from '../../src/receive/acknowledge.js';
import { receive, type JournalSink, type ReceiveOptions } from '../../src/receive/receive.js';
import { pgoutput } from '../../plugins/pgoutput/plugin.js';
import type { TestDatabase } from '../support/databases.js';
import { until } from '../support/until.js';

/** Holds everything in memory. `durable` moves with `sync`, as on a disk. */
export class MemoryJournal implements JournalSink {
  readonly messages: StreamMessage[] = [];
  /** Ends of the commits that were durable at some time. */
  readonly durableCommits = new Set<Lsn>();
  /** While set, sync waits for it. */
  held: Promise<void> = Promise.resolve();
  written: Lsn = zeroLsn;
  durable: Lsn = zeroLsn;

  append(batch: readonly StreamMessage[]): Promise<void> {
    for (const message of batch) {
      this.messages.push(message);
      if (message.kind === 'commit') this.written = message.endLsn;
      if (message.kind === 'keepalive') this.written = message.lsn;
    }
    return Promise.resolve();
  }

  async sync(): Promise<void> {
    const { written } = this;
    await this.held;
    this.durable = written;
    for (const message of this.messages) {
      if (message.kind === 'commit' && message.endLsn <= written) this.durableCommits.add(message.endLsn);
    }
  }

  get connections(): number {
    return this.messages.filter((message) => message.kind === 'connected').length;
  }

  /** Changes of complete transactions, as a reader would apply them: a new connection voids what was unfinished. */
  get applied(): Change[] {
    return this.transactions.flatMap((transaction) => transaction.changes);
  }

  get transactions(): { xid: bigint; endLsn: Lsn; lsns: Lsn[]; changes: Change[] }[] {
    const done: { xid: bigint; endLsn: Lsn; lsns: Lsn[]; changes: Change[] }[] = [];
    let open: { changes: Change[]; lsns: Lsn[] } = { changes: [], lsns: [] };
    for (const message of this.messages) {
      if (message.kind === 'begin' || message.kind === 'connected') open = { changes: [], lsns: [] };
      if (message.kind === 'change') {
        open.changes.push(message.change);
        open.lsns.push(message.lsn);
      }
      if (message.kind === 'commit') {
        done.push({ xid: message.xid, endLsn: message.endLsn, ...open });
        open = { changes: [], lsns: [] };
      }
    }
    return done;
  }
}

export type TestStream = AsyncDisposable & {
  readonly slot: string;
  readonly publications: readonly string[];
  readonly conninfo: Conninfo;
  readonly startLsn: Lsn;
  readonly systemIdentifier: string;
};

let streams = 0;

/** Publishes the tables of the database's schema public and makes a slot, which goes with the stream. */
export async function createStream(source: TestDatabase): Promise<TestStream> {
  const conninfo = readConninfo(source.uri, {});
  streams += 1;
  const slot = `${source.name}_${streams}`;
  const tables = await source.sql(`
    select c.oid::text, n.nspname as schema, c.relname as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema')
     order by c.oid`);
  await using session = await openSession(source);
  const { names } = await createPublications(session, { name: slot, tables: tables as PublishedTable[] });
  await using created = await createSlot({ conninfo, name: slot, plugin: 'pgoutput' });
  return {
    slot,
    publications: names,
    conninfo,
    startLsn: created.consistentPoint,
    systemIdentifier: created.identity.systemIdentifier,
    [Symbol.asyncDispose]: async () => {
      await using session = await openSession(source);
      await until('the slot is free', async () => {
        try {
          await dropSlot(session, slot);
          return true;
        } catch (error) {
          if (error instanceof Failure && error.code === 'slot-busy') return false;
          throw error;
        }
      });
    },
  };
}

export async function openSession(database: TestDatabase): Promise<Session> {
  return connect(readConninfo(database.uri, {}), {
    side: database.side,
    applicationName: 'walferry test',
    log: silentLog,
  });
}

export type Receiving = {
  readonly journal: MemoryJournal;
  readonly acknowledge: Acknowledge;
  /** Resolves with null at the end position, with the Failure otherwise. */
  readonly ended: Promise<Failure | null>;
  /** The end position that it says was reached; null after a Failure. */
  readonly reached: Promise<Lsn | null>;
  setEndpos(lsn: Lsn): void;
  /** Stops it and waits. */
  stop(): Promise<void>;
};

/** Starts to receive; it runs until its end position or `stop`. */
export function startReceiving(
  stream: TestStream,
  journal: MemoryJournal,
  more: Partial<ReceiveOptions> & {
    endpos?: never;
    mode?: 'durable' | 'applied';
    feedbackIntervalMs?: number;
  } = {},
): Receiving {
  const { mode = 'durable', feedbackIntervalMs = 50, ...options } = more;
  const stop = new AbortController();
  let endpos = zeroLsn;
  const acknowledge = new Acknowledge(mode, { durable: journal.durable, applied: zeroLsn });
  const result = receive({
    stream: { ...stream, feedbackIntervalMs },
    plugin: pgoutput,
    journal,
    acknowledge,
    signal: stop.signal,
    log: silentLog,
    ...options,
    endpos: () => endpos,
  });
  const ended = result.then(
    () => null,
    (error: unknown) => {
      if (error instanceof Failure) return error;
      throw error;
    },
  );
  return {
    journal,
    acknowledge,
    ended,
    reached: result.catch(() => null),
    setEndpos: (lsn) => {
      endpos = lsn;
    },
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
}

/** Receives everything that was committed before the call. */
export async function receiveAll(source: TestDatabase, stream: TestStream): Promise<MemoryJournal> {
  const journal = new MemoryJournal();
  const receiving = startReceiving(stream, journal);
  receiving.setEndpos(await currentLsn(source));
  const failure = await receiving.ended;
  if (failure !== null) throw failure;
  return journal;
}

/** A position behind everything committed, and something in the log that reaches it. */
export async function currentLsn(source: TestDatabase): Promise<Lsn> {
  const [row] = await source.sql(
    `select pg_logical_emit_message(true, 'test', ''); select pg_current_wal_insert_lsn()::text as lsn`,
  );
  const lsn = readLsn(row?.['lsn'] ?? '');
  await source.sql(`select pg_logical_emit_message(true, 'test', '')`);
  return lsn;
}

/** What pg_replication_slots says the slot is confirmed to. */
export async function confirmedLsn(source: TestDatabase, slot: string): Promise<Lsn> {
  const [row] = await source.sql(
    `select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = '${slot}'`,
  );
  return readLsn(row?.['lsn'] ?? '');
}
