/**
 * Receiving one slot's backlog without looking into it: pg-logical-replication, used as a transport (it parses nothing
 * and acknowledges nothing by itself), against src/postgres/slot-stream.ts. Every change is one message; what counts is
 * the client's CPU. Nothing is acknowledged, so that every run receives the same; messages and bytes are compared.
 */
import type { Client } from 'pg';
import { LogicalReplicationService } from 'pg-logical-replication';
import { formatLsn, parseLsn, type Lsn } from '../../src/model/lsn.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { SlotStream } from '../../src/postgres/slot-stream.js';
import { timeHere, type Case } from './measure.js';
import { createDatabase, execute, type BenchServers } from './servers.js';

/** At scale 1: transactions of one insert and one update. */
const transactionsAtScale1 = 100_000;

const slot = 'bench_receive';
const options = [
  ['proto_version', '1'],
  ['publication_names', 'bench_receive'],
] as const;

/** What arrived: the two must see the same. */
type Received = { messages: number; bytes: number };

type Backlog = { readonly uri: string; readonly from: Lsn; readonly to: Lsn };

export async function receiveCases({ source }: BenchServers, scale: number): Promise<readonly Case[]> {
  const backlog = await makeBacklog(source.uri({ database: await createDatabase(source, 'receive') }), scale);
  let first: Received | null = null;
  const receiving = (name: string, receive: (backlog: Backlog) => Promise<Received>): Case => ({
    name,
    run: async () => {
      let received: Received = { messages: 0, bytes: 0 };
      const sample = await timeHere(async () => {
        received = await receive(backlog);
      });
      first ??= received;
      if (received.messages !== first.messages || received.bytes !== first.bytes) {
        throw new Error(`${name} received ${JSON.stringify(received)}, not ${JSON.stringify(first)}`);
      }
      console.log(`  ${received.messages} messages, ${received.bytes} bytes`);
      return sample;
    },
  });
  return [
    receiving('slot-stream', bySlotStream),
    receiving('pg-logical-replication', (backlog) => byLibrary(backlog, false, null)),
    receiving('pg-logical-replication, flow control', (backlog) =>
      byLibrary(backlog, true, first?.messages ?? null),
    ),
  ];
}

async function makeBacklog(uri: string, scale: number): Promise<Backlog> {
  await execute(
    uri,
    'create table account (id int primary key, balance int, note text)',
    `create publication ${slot} for table account`,
  );
  const [made] = await execute(
    uri,
    `select lsn from pg_create_logical_replication_slot('${slot}', 'pgoutput')`,
  );
  await execute(
    uri,
    `do $$ begin
       for i in 1..${Math.round(transactionsAtScale1 * scale)} loop
         insert into account values (i, 0, 'account ' || i);
         update account set balance = i where id = i;
         commit;
       end loop;
     end $$`,
  );
  const [end] = await execute(uri, 'select pg_current_wal_flush_lsn() as lsn');
  return { uri, from: readLsn(made?.['lsn']), to: readLsn(end?.['lsn']) };
}

function readLsn(text: unknown): Lsn {
  const lsn = parseLsn(String(text));
  if (lsn === null) throw new Error(`not an LSN: ${String(text)}`);
  return lsn;
}

async function bySlotStream({ uri, from, to }: Backlog): Promise<Received> {
  await using stream = await SlotStream.open({
    conninfo: readConninfo(`${uri}?sslmode=disable`, {}),
    slot,
    plugin: 'pgoutput',
    startLsn: from,
    pluginOptions: () => options,
    feedback: () => ({ written: from, flushed: from, applied: from }),
    systemIdentifier: null,
  });
  const signal = new AbortController().signal;
  const received: Received = { messages: 0, bytes: 0 };
  for (;;) {
    const { frames } = await stream.next(signal, 1000);
    for (const frame of frames) {
      if (frame.kind === 'keepalive' && frame.lsn >= to) return received;
      if (frame.kind !== 'data') continue;
      received.messages += 1;
      received.bytes += frame.end - frame.start;
    }
  }
}

/** Hands on what it is given. */
const rawPlugin = {
  name: 'raw',
  options: null,
  start: (client: Client, slotName: string, lastLsn: string): Promise<unknown> => {
    const list = options.map(([name, value]) => `${name} '${value}'`).join(', ');
    return client.query(`START_REPLICATION SLOT "${slotName}" LOGICAL ${lastLsn} (${list})`);
  },
  parse: (buffer: Buffer): Buffer => buffer,
};

/** Without flow control whatever arrives is handed out at once, and memory has no bound; slot-stream always has one. */
async function byLibrary(
  { uri, from, to }: Backlog,
  flowControl: boolean,
  expected: number | null,
): Promise<Received> {
  const service = new LogicalReplicationService(
    { connectionString: uri },
    { acknowledge: { auto: false, timeoutSeconds: 0 }, flowControl: { enabled: flowControl } },
  );
  const received: Received = { messages: 0, bytes: 0 };
  try {
    await new Promise<void>((resolve, reject) => {
      let ended = false;
      // With flow control the keepalive overtakes what is queued.
      const finish = () => {
        if (ended && (expected === null || received.messages === expected)) resolve();
      };
      service.on('data', (_lsn: string, payload: Buffer) => {
        received.messages += 1;
        received.bytes += payload.length;
        finish();
      });
      service.on('heartbeat', (lsn: string) => {
        ended ||= readLsn(lsn) >= to;
        finish();
      });
      service.on('error', reject);
      service.subscribe(rawPlugin, slot, formatLsn(from)).catch(reject);
    });
  } finally {
    await service.destroy();
  }
  return received;
}
