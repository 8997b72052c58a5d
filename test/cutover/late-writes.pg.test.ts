import { expect, test } from 'vitest';
import { fetchLateWrites, type PeekedStream } from '../../src/cutover/late-writes.js';
import { readLsn } from '../../src/model/lsn.js';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase } from '../support/databases.js';

test.each<PeekedStream['plugin']>(['pgoutput', 'test_decoding', 'wal2json'])(
  'late writes to a table that is left out, or to one of an extension, are none, through %s',
  async (plugin) => {
    await using source = await createDatabase('source');
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
        endpos: readLsn(from),
        keeps: ({ name }) => name !== 'left',
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
