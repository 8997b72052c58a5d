/** One script, read through a slot of each plugin at the same time. */
import { Failure } from '../../../src/failure.js';
import type { Change } from '../../../src/model/change.js';
import { pluginNames, type Plugin, type PluginName } from '../../../src/model/plugin.js';
import { silentLog } from '../../../src/log.js';
import { readConninfo } from '../../../src/postgres/connection-string.js';
import { createPublications, type PublishedTable } from '../../../src/postgres/publication.js';
import { createSlot, dropSlot } from '../../../src/postgres/slot.js';
import { fetchSourceTables } from '../../../src/postgres/source-tables.js';
import { pgoutput } from '../../../plugins/pgoutput/plugin.js';
import { testDecoding } from '../../../plugins/test_decoding/plugin.js';
import { wal2json } from '../../../plugins/wal2json/plugin.js';
import {
  MemoryJournal,
  currentLsn,
  openSession,
  startReceiving,
  type TestStream,
} from '../../receive/stream-tools.js';
import type { TestDatabase } from '../../support/databases.js';
import { until } from '../../support/until.js';

export const plugins: Readonly<Record<PluginName, Plugin>> = {
  pgoutput,
  wal2json: wal2json({ required: false }),
  test_decoding: testDecoding,
};

let slots = 0;

/** Slots of the same moment, by plugin; they go with the streams. */
export async function createStreams(
  source: TestDatabase,
  names: readonly PluginName[] = pluginNames,
): Promise<AsyncDisposable & { readonly streams: ReadonlyMap<PluginName, TestStream> }> {
  const conninfo = readConninfo(source.uri, {});
  slots += 1;
  const prefix = `${source.name}_${slots}`;
  await using session = await openSession(source);
  const { tables } = await fetchSourceTables(session);
  const published: PublishedTable[] = tables.map(({ oid, schema, name }) => ({
    oid: String(oid),
    schema,
    name,
  }));
  const publication = await createPublications(session, { name: prefix, tables: published });
  const streams = new Map<PluginName, TestStream>();
  for (const name of names) {
    const slot = `${prefix}_${name}`;
    await using created = await createSlot({ conninfo, name: slot, plugin: name });
    const stream = {
      slot,
      publications: name === 'pgoutput' ? publication.names : [],
      tables,
      conninfo,
      startLsn: created.consistentPoint,
      systemIdentifier: created.identity.systemIdentifier,
      [Symbol.asyncDispose]: () => drop(source, slot),
    };
    streams.set(name, stream);
  }
  return {
    streams,
    [Symbol.asyncDispose]: async () => {
      for (const stream of streams.values()) await stream[Symbol.asyncDispose]();
    },
  };
}

async function drop(source: TestDatabase, slot: string): Promise<void> {
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
}

/** Everything committed before the call, through one slot; or why it stopped. */
export async function readStream(
  source: TestDatabase,
  stream: TestStream,
  plugin: Plugin,
): Promise<{ journal: MemoryJournal; failure: Failure | null }> {
  const journal = new MemoryJournal();
  const receiving = startReceiving(stream, journal, { plugin, log: silentLog, reconnectForMs: 0 });
  receiving.setEndpos(await currentLsn(source));
  return { journal, failure: await receiving.ended };
}

/** The same through every slot. Throws why one stopped. */
export async function readAll(
  source: TestDatabase,
  streams: ReadonlyMap<PluginName, TestStream>,
): Promise<Record<string, MemoryJournal>> {
  const journals: Record<string, MemoryJournal> = {};
  for (const [name, stream] of streams) {
    const { journal, failure } = await readStream(source, stream, plugins[name]);
    if (failure !== null) throw failure;
    journals[name] = journal;
  }
  return journals;
}

/** A change whole, with its relation's description; long values cut, so that a difference can be read. */
export function tell(change: Change): unknown {
  const cut = (cells: readonly unknown[] | null) =>
    cells?.map((cell) =>
      typeof cell === 'string' && cell.length > 200 ? `${cell.slice(0, 20)}… ${cell.length}` : cell,
    ) ?? null;
  switch (change.kind) {
    case 'insert':
      return { insert: change.relation, row: cut(change.row) };
    case 'update':
      return { update: change.relation, key: cut(change.key), row: cut(change.row) };
    case 'delete':
      return { delete: change.relation, key: cut(change.key) };
    case 'truncate':
      return { truncate: change.relations, restart: change.restartIdentity, cascade: change.cascade };
  }
}

/** Transactions as they are to be equal: xid, end and changes with their positions. */
export function transactionsOf(journal: MemoryJournal): unknown[] {
  return journal.transactions
    .filter(({ changes }) => changes.length > 0)
    .map(({ xid, endLsn, lsns, changes }) => ({ xid, endLsn, lsns, changes: changes.map(tell) }));
}
