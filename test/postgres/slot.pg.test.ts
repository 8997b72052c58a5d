import { connect as connectSocket, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { parseLsn } from '../../src/model/lsn.js';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { emitMark } from '../../src/postgres/logical-message.js';
import { createPublications, dropPublications, type PublishedTable } from '../../src/postgres/publication.js';
import { createSlot, dropSlot, fetchSlot, type WaitedFor } from '../../src/postgres/slot.js';
import { startServer } from '../support/clusters.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { until } from '../support/until.js';

const conninfoOf = (uri: string) => readConninfo(uri, {});

function open(uri: string) {
  return connect(conninfoOf(uri), { side: 'source', applicationName: 'walferry test' });
}

async function slotNames(source: TestDatabase, name: string): Promise<number> {
  const rows = await source.sql(`select from pg_replication_slots where slot_name = '${name}'`);
  return rows.length;
}

async function tablesOf(source: TestDatabase): Promise<PublishedTable[]> {
  const rows = await source.sql(`
    select c.oid::text, n.nspname as schema, c.relname as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v') and n.nspname not in ('pg_catalog', 'information_schema') order by c.relname`);
  return rows as PublishedTable[];
}

describe('making a slot', () => {
  test('an ordinary role gets it over TLS, and a snapshot that sees exactly what was committed before', async () => {
    await using source = await createDatabase('source');
    await source.sqlAsOwner('create table t (id int primary key); insert into t values (1)');
    const name = `${source.name}_s`;
    await using session = await open(source.neonUri);
    await using created = await createSlot({
      conninfo: conninfoOf(source.neonUri),
      name,
      plugin: 'pgoutput',
    });
    await source.sqlAsOwner('insert into t values (2)');

    await session.query('begin isolation level repeatable read');
    await session.query(`set transaction snapshot '${created.snapshot}'`);
    expect(await session.query('select id::text from public.t')).toEqual([{ id: '1' }]);
    await session.query('commit');

    const facts = await fetchSlot(session, name);
    expect(facts).toMatchObject({
      plugin: 'pgoutput',
      database: source.name,
      activePid: null,
      confirmedFlushLsn: created.consistentPoint,
      walStatus: 'reserved',
      invalidationReason: null,
    });
    const [identity] = await source.sql(
      `select system_identifier::text, timeline_id::text from pg_control_system(), pg_control_checkpoint()`,
    );
    expect(created.identity).toMatchObject({
      systemIdentifier: identity?.['system_identifier'],
      timeline: Number(identity?.['timeline_id']),
      database: source.name,
      walSegmentBytes: 16n * 1024n * 1024n,
      walSenderTimeoutMs: 60_000,
    });

    await expect(
      createSlot({ conninfo: conninfoOf(source.neonUri), name, plugin: 'pgoutput' }),
    ).rejects.toMatchObject({ code: 'slot-exists' });
    expect(await dropSlot(session, name)).toBe(true);
    expect(await dropSlot(session, name)).toBe(false);
    expect(await fetchSlot(session, name)).toBeNull();
  });

  test('the loss of the connection that holds the snapshot is told', async () => {
    await using source = await createDatabase('source');
    const name = `${source.name}_s`;
    await using created = await createSlot({ conninfo: conninfoOf(source.uri), name, plugin: 'pgoutput' });
    await source.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'walferry slot' and datname = '${source.name}'`,
    );
    expect(await created.lost).toMatchObject({ code: 'snapshot-lost' });
    await source.sql(`select pg_drop_replication_slot('${name}')`);
  });

  test('while it waits, the transactions it waits for are named, prepared ones too; a stop leaves no slot', async () => {
    await using server = await startServer('source', {
      settings: { wal_level: 'logical', max_prepared_transactions: '2' },
    });
    await using source = await createDatabase('source', { server });
    await using writer = await source.session();
    await source.sql('create table t (id int)');
    await source.sql(`begin; insert into t values (1); prepare transaction 'two-phase'`);
    await writer.sql('begin; insert into t values (2)');
    const [row] = await writer.sql('select pg_backend_pid()::text as pid');

    const stop = new AbortController();
    const told: (readonly WaitedFor[])[] = [];
    const creating = createSlot({
      conninfo: conninfoOf(source.uri),
      name: 'waits',
      plugin: 'pgoutput',
      signal: stop.signal,
      onWaiting: (transactions) => told.push(transactions),
    });
    const ended = expect(creating).rejects.toMatchObject({ code: 'stopped' });
    await until('the waiting is told', () => told.length > 0);
    expect(told[0]).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ gid: 'two-phase', pid: null, user: 'postgres', database: source.name }),
        expect.objectContaining({ gid: null, pid: row?.['pid'], database: source.name }),
      ]),
    );
    stop.abort();
    await ended;
    expect(await slotNames(source, 'waits')).toBe(0);
    expect(await source.sql(`select from pg_stat_activity where application_name = 'walferry slot'`)).toEqual(
      [],
    );

    // The same again without a stop: it is there as soon as they have ended.
    const again = createSlot({ conninfo: conninfoOf(source.uri), name: 'waits', plugin: 'pgoutput' });
    await until('it is being made', async () => (await slotNames(source, 'waits')) === 1);
    await writer.sql('commit');
    await source.sql(`commit prepared 'two-phase'`);
    await using created = await again;
    expect(created.snapshot).not.toBe('');
  });

  test('a process that dies while its slot waits leaves none behind', async () => {
    await using server = await startServer('source', { settings: { wal_level: 'logical' } });
    await using source = await createDatabase('source', { server });
    await using writer = await source.session();
    await source.sql('create table t (id int)');
    await writer.sql('begin; insert into t values (1)');
    // A stand-in for the process: cutting its connections is what its death looks like to the server.
    const { host, port } = server.address;
    const sockets: Socket[] = [];
    const proxy = createServer((near) => {
      const far = connectSocket(port, host);
      sockets.push(near, far);
      for (const socket of [near, far]) socket.on('error', () => {});
      near.pipe(far).pipe(near);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const conninfo = {
      ...conninfoOf(source.uri),
      host: '127.0.0.1',
      port: (proxy.address() as AddressInfo).port,
    };
    const ended = expect(createSlot({ conninfo, name: 'dies', plugin: 'pgoutput' })).rejects.toMatchObject({
      code: 'source-disconnected',
    });
    await until('it is being made', async () => (await slotNames(source, 'dies')) === 1);
    for (const socket of sockets) socket.destroy();
    await ended;
    proxy.close();
    await until('the server gave it up', async () => (await slotNames(source, 'dies')) === 0);
    await writer.sql('commit');
  });

  test('a server without logical decoding, a plugin it does not have, no free slot, a role that may not', async () => {
    await using physical = await startServer('source', { settings: { wal_level: 'replica' } });
    await using plain = await createDatabase('source', { server: physical });
    await expect(
      createSlot({ conninfo: conninfoOf(plain.uri), name: 'x', plugin: 'pgoutput' }),
    ).rejects.toMatchObject({ code: 'source-setup', remedy: expect.stringContaining('wal_level = logical') });

    await using server = await startServer('source', {
      settings: { wal_level: 'logical', max_replication_slots: '1', max_wal_senders: '2' },
    });
    await using source = await createDatabase('source', { server });
    await expect(
      createSlot({ conninfo: conninfoOf(source.uri), name: 'x', plugin: 'no_such_plugin' as 'pgoutput' }),
    ).rejects.toMatchObject({ code: 'source-setup' });
    expect(await slotNames(source, 'x')).toBe(0);

    await using first = await createSlot({
      conninfo: conninfoOf(source.uri),
      name: 'one',
      plugin: 'pgoutput',
    });
    await expect(
      createSlot({ conninfo: conninfoOf(source.uri), name: 'two', plugin: 'pgoutput' }),
    ).rejects.toMatchObject({
      code: 'source-setup',
      remedy: expect.stringContaining('max_replication_slots'),
    });

    // The snapshot's own connection is a walsender as well: with one more, none is left.
    await using other = await connect(conninfoOf(source.uri), {
      side: 'source',
      applicationName: 'x',
      replication: true,
    });
    await expect(
      createSlot({ conninfo: conninfoOf(source.uri), name: 'two', plugin: 'pgoutput' }),
    ).rejects.toMatchObject({ code: 'source-setup', remedy: expect.stringContaining('max_wal_senders') });
    await other.close();
    await first.close();

    await source.sql(`alter role ${server.owner.name} noreplication`);
    await expect(
      createSlot({ conninfo: conninfoOf(source.neonUri), name: 'two', plugin: 'pgoutput' }),
    ).rejects.toMatchObject({ code: 'source-rights', remedy: expect.stringContaining('replication;') });
  });
});

/** What publications carry, and for which operations, as the server says it. */
async function carriedBy(source: TestDatabase, names: readonly string[]) {
  const rows = await source.sql(`
    select t.pubname as publication, t.tablename as name, p.pubinsert as insert, p.pubupdate as update,
           p.pubdelete as delete, p.pubtruncate as truncate
      from pg_publication_tables t join pg_publication p using (pubname) order by 1, 2`);
  return rows.flatMap(({ publication, name, ...operations }) =>
    names.includes(publication ?? '') ? [{ publication, name: name ?? '', ...operations }] : [],
  );
}

describe('the publications', () => {
  test('carry the given tables: by identity, leaves instead of roots, nothing unlogged', async () => {
    await using source = await createDatabase('source');
    await source.sqlAsOwner(`
      create table a_key (id int primary key);
      create table b_none (id int);
      create table c_deferrable (id int primary key deferrable);
      create table d_full (id int);
      alter table d_full replica identity full;
      create table e_index (id int not null unique);
      alter table e_index replica identity using index e_index_id_key;
      create table f_index_gone (id int not null unique, k int primary key);
      alter table f_index_gone replica identity using index f_index_gone_id_key;
      alter table f_index_gone drop constraint f_index_gone_id_key;
      create table g_nothing (id int primary key);
      alter table g_nothing replica identity nothing;
      create table h_generated (a int, id int generated always as (a * 2) stored primary key);
      create unlogged table i_unlogged (id int primary key);
      create table j_root (id int primary key) partition by range (id);
      create table j_root_leaf partition of j_root for values from (0) to (10);
      create table k_parent (id int primary key);
      create table k_parent_child () inherits (k_parent);
      create view l_view as select 1;
      create table not_asked_for (id int primary key);
      create table "Quo""ted, name" (id int primary key)`);
    const tables = (await tablesOf(source)).filter(
      (table) => table.name !== 'not_asked_for' && table.name !== 'k_parent_child',
    );
    await using session = await open(source.neonUri);
    const name = 'Pub "x", y';
    const created = await createPublications(session, { name, tables });

    const names = (list: readonly { name: string }[]) => list.map((table) => table.name);
    expect(created.names).toEqual([name, `${name}_inserts`]);
    expect(names(created.leftOut)).toEqual(['i_unlogged', 'j_root', 'l_view']);
    const carried = await carriedBy(source, created.names);
    const all = carried.filter((table) => table.publication === name);
    const inserts = carried.filter((table) => table.publication !== name);
    expect(names(all).sort()).toEqual(
      ['Quo"ted, name', 'a_key', 'd_full', 'e_index', 'j_root_leaf', 'k_parent'].sort(),
    );
    expect(names(inserts)).toEqual(['b_none', 'c_deferrable', 'f_index_gone', 'g_nothing', 'h_generated']);
    expect(all[0]).toMatchObject({ insert: 't', update: 't', delete: 't', truncate: 't' });
    expect(inserts[0]).toMatchObject({ insert: 't', update: 'f', delete: 'f', truncate: 't' });

    // The application goes on as before, also where nothing identifies a row.
    await source.sqlAsOwner(`
      insert into b_none values (1); update b_none set id = 2; delete from b_none;
      insert into c_deferrable values (1); update c_deferrable set id = 2`);

    await expect(createPublications(session, { name, tables })).rejects.toMatchObject({
      code: 'source-setup',
    });
    await createPublications(session, { name, tables: tables.slice(0, 1), replace: true });
    expect(names(await carriedBy(source, [name]))).toEqual([tables[0]?.name]);
    await dropPublications(session, name);
    await dropPublications(session, name);
    expect(await source.sql('select from pg_publication')).toEqual([]);
  });

  test('of no tables and of very many', async () => {
    await using source = await createDatabase('source');
    await using session = await open(source.neonUri);
    const empty = await createPublications(session, { name: 'none', tables: [] });
    expect(empty.names).toEqual(['none']);
    expect(await carriedBy(source, ['none'])).toEqual([]);

    await source.sqlAsOwner(
      `do $$ begin for i in 1..1100 loop execute format('create table t%s (id int primary key)', i); end loop; end $$`,
    );
    const many = await createPublications(session, { name: 'many', tables: await tablesOf(source) });
    expect(many.names).toEqual(['many']);
    expect(await carriedBy(source, ['many'])).toHaveLength(1100);
  });

  test('of tables that belong to others are refused, and say which and what else is possible', async () => {
    await using source = await createDatabase('source');
    await source.sql('create table theirs (id int primary key)');
    await source.sqlAsOwner('create table mine (id int primary key)');
    await using session = await open(source.neonUri);
    await expect(
      createPublications(session, { name: 'p', tables: await tablesOf(source) }),
    ).rejects.toMatchObject({
      code: 'source-rights',
      message: expect.stringMatching(/1 of them: public\.theirs$/),
      remedy: expect.stringContaining('--publication'),
    });
    expect(await source.sql('select from pg_publication')).toEqual([]);
  });
});

describe('the mark of an end position', () => {
  test('lies behind everything committed before, also from a read-only session', async () => {
    await using source = await createDatabase('source');
    await source.sql('create table t (id int); insert into t values (1)');
    const [before] = await source.sql('select pg_current_wal_insert_lsn()::text as lsn');
    await using session = await open(source.neonUri);
    await session.query('set default_transaction_read_only = on');
    const mark = await emitMark(session);
    expect(mark > (parseLsn(before?.['lsn'] ?? '') ?? mark)).toBe(true);
  });
});
