import { describe, expect, test } from 'vitest';
import { fetchFollowed, fetchLateWrites, type PeekedStream } from '../../src/cutover/late-writes.js';
import { JournalWriter } from '../../src/journal/writer.js';
import { silentLog } from '../../src/log.js';
import { readLsn, zeroLsn } from '../../src/model/lsn.js';
import type { Plugin } from '../../src/model/plugin.js';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { Acknowledge } from '../../src/receive/acknowledge.js';
import { receive } from '../../src/receive/receive.js';
import { pgoutput } from '../../plugins/pgoutput/plugin.js';
import { testDecoding } from '../../plugins/test_decoding/plugin.js';
import { wal2json } from '../../plugins/wal2json/plugin.js';
import { createDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';

function openJournal(directory: string): Promise<JournalWriter> {
  const segmentBytes = 16n * 1024n * 1024n;
  return JournalWriter.open({ directory, timeline: 1, segmentBytes, header: {}, log: silentLog });
}

test.each<PeekedStream['plugin']>(['pgoutput', 'test_decoding', 'wal2json'])(
  'late writes to a table that is left out, or to one of an extension, are none, through %s',
  async (plugin) => {
    await using source = await createDatabase('source');
    await using directory = await temporaryDirectory();
    await using journal = await openJournal(directory.path);
    await journal.append([{ kind: 'keepalive', lsn: readLsn('0/1'), time: 0n }]);
    // dict_int stands for any extension: a table is made a member of it.
    await source.sql(`
      create table kept (id int primary key); create table "Ke""pt: A, b" (id int primary key);
      create table "left" (id int primary key); create table journal (id int);
      create extension dict_int; alter extension dict_int add table journal;
      create publication p for table kept, "Ke""pt: A, b", "left", journal`);
    await source.sql(`select pg_create_logical_replication_slot('${source.name}', '${plugin}')`);
    await using session = await connect(readConninfo(source.uri, {}), {
      side: 'source',
      applicationName: 'walferry test',
    });
    const look = async (from: string) =>
      fetchLateWrites(session, {
        stream: { slot: source.name, plugin, publications: ['p'] },
        journalDirectory: directory.path,
        endpos: readLsn(from),
        isFollowed: await fetchFollowed(session, ({ name }) => name !== 'left'),
        signal: new AbortController().signal,
      });
    const now = async () => {
      const [row] = await source.sql('select pg_current_wal_insert_lsn()::text as lsn');
      return row?.['lsn'] ?? '';
    };
    await source.sql('insert into kept values (1)');
    const endpos = await now();
    await source.sql('insert into "left" values (1); insert into journal values (1); truncate "left"');
    expect(await look(endpos)).toEqual({ transactions: 0, changes: 0, tables: [] });

    await source.sql('insert into kept values (2)');
    await source.sql(
      'begin; insert into "Ke""pt: A, b" values (1), (2); insert into "left" values (2); commit',
    );
    await source.sql('truncate "left", kept');
    const late = await look(endpos);
    expect(late.transactions).toBe(3);
    expect(late.tables).toContain('public.kept');
    expect(late.tables).toHaveLength(2);
    await source.sql(`select pg_drop_replication_slot('${source.name}')`);
  },
);

describe('a transaction that writes before the end position and commits behind it', () => {
  test.each<[string, PeekedStream['plugin'], Plugin, number]>([
    ['pgoutput', 'pgoutput', pgoutput, 1],
    ['pgoutput, sent before it commits', 'pgoutput', pgoutput, 3000],
    ['test_decoding', 'test_decoding', testDecoding, 1],
    ['wal2json', 'wal2json', wal2json({ required: false }), 1],
    ['pgoutput, before it knew of the end position', 'pgoutput', pgoutput, 2],
  ])('is found as a late write, though the stream has read of it: %s', async (_claim, name, plugin, rows) => {
    await using source = await createDatabase('source');
    await source.sql(`
      create table t (id int primary key, note text); create publication p for all tables;
      alter database ${source.name} set logical_decoding_work_mem = '64kB'`);
    const [made] = await source.sql(
      `select lsn::text as lsn from pg_create_logical_replication_slot('${source.name}', '${name}')`,
    );
    const [system] = await source.sql('select system_identifier::text as id from pg_control_system()');
    await using late = await source.session();
    await late.sql(`begin; insert into t select i, repeat('x', 100) from generate_series(1, ${rows}) i`);
    const [now] = await source.sql('select pg_current_wal_insert_lsn()::text as lsn');
    const endpos = readLsn(now?.['lsn'] ?? '');
    await late.sql('commit');

    await using directory = await temporaryDirectory();
    const journal = await openJournal(directory.path);
    await receive({
      stream: {
        conninfo: readConninfo(source.uri, {}),
        slot: source.name,
        publications: ['p'],
        systemIdentifier: system?.['id'] ?? '',
        startLsn: readLsn(made?.['lsn'] ?? ''),
      },
      plugin,
      journal,
      acknowledge: new Acknowledge('durable', { durable: zeroLsn, applied: zeroLsn }),
      endpos: () => (rows === 2 && journal.durable < endpos ? zeroLsn : endpos),
      signal: new AbortController().signal,
      log: silentLog,
    });
    await journal.close();

    await using session = await connect(readConninfo(source.uri, {}), {
      side: 'source',
      applicationName: 'walferry test',
    });
    const found = await fetchLateWrites(session, {
      stream: { slot: source.name, plugin: name, publications: ['p'] },
      journalDirectory: directory.path,
      endpos,
      isFollowed: () => true,
      signal: new AbortController().signal,
    });
    expect(found).toEqual({ transactions: 1, changes: rows, tables: ['public.t'] });
    await source.sql(`select pg_drop_replication_slot('${source.name}')`);
  });
});
