import { existsSync } from 'node:fs';
import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { clusterUri } from '../../scripts/clusters/cluster.js';
import { sharedServer, startServer } from './clusters.js';
import { createDatabase } from './databases.js';

describe('a database of a test', () => {
  test('is empty, and gone at the end with its sessions, slots and prepared transactions', async () => {
    let name = '';
    {
      await using database = await createDatabase('source');
      name = database.name;
      await database.sql(`create table t (id int primary key); insert into t values (1)`);
      await database.sql(`select pg_create_logical_replication_slot('${name}', 'pgoutput')`);
      await database.sql(`begin; insert into t values (2); prepare transaction '${name} isn''t'`);
      const busy = await database.session();
      await busy.sql('begin; select 1');
      expect(await database.sql('select * from t')).toEqual([{ id: '1' }]);
    }
    await using other = await createDatabase('source');
    const left = await other.sql(
      `select datname from pg_database where datname = '${name}'
       union all select slot_name from pg_replication_slots where database = '${name}'
       union all select gid from pg_prepared_xacts where database = '${name}'`,
    );
    expect(left).toEqual([]);
  });

  test('can be reached by its owner over TLS, whose certificate names the address', async () => {
    await using database = await createDatabase('target');
    const rows = await database.sqlAsOwner(
      `select current_user::text as role, ssl::text from pg_stat_ssl where pid = pg_backend_pid()`,
    );
    expect(rows).toEqual([{ role: 'walferry_neon', ssl: 'true' }]);
    await using session = await connect(readConninfo(database.neonUri, {}), {
      side: 'target',
      applicationName: 'test',
    });
    expect(await session.query('select current_user')).toEqual([{ current_user: 'walferry_neon' }]);
  });

  test('refuses its owner without TLS', async () => {
    await using database = await createDatabase('target');
    const plain = database.neonUri.replace('sslmode=require', 'sslmode=disable');
    await expect(new pg.Client({ connectionString: plain }).connect()).rejects.toThrow(/no encryption/);
  });
});

describe('the owner on the target has what a role on Neon has', () => {
  test.each<[statement: string, refusal?: RegExp]>([
    ['create schema s; create table s.t (); create table public.t ()'],
    ['create role walferry_made_by_neon; drop role walferry_made_by_neon'],
    [`select pg_replication_origin_create('x')`, /permission denied/],
    [`select pg_replication_origin_session_setup('x')`, /permission denied/],
    [`set session_replication_role = replica`, /permission denied/],
    [`select rolpassword from pg_authid`],
    [`select * from made_by_superuser; insert into made_by_superuser values (1)`],
    [`alter table made_by_superuser add c int`, /must be owner/],
  ])('%s', async (statement, refusal) => {
    await using database = await createDatabase('target');
    await database.sql('create table made_by_superuser (id int)');
    if (refusal === undefined) await database.sqlAsOwner(statement);
    else await expect(database.sqlAsOwner(statement)).rejects.toThrow(refusal);
  });
});

describe('the owner on the source', () => {
  test('may publish its own tables and create a slot with each plugin', async () => {
    await using database = await createDatabase('source');
    await database.sqlAsOwner('create table t (id int primary key); create publication p for table t');
    for (const plugin of ['pgoutput', 'test_decoding', 'wal2json']) {
      await database.sqlAsOwner(
        `select pg_create_logical_replication_slot('${database.name}_${plugin}', '${plugin}')`,
      );
    }
    await expect(database.sqlAsOwner('select * from pg_authid')).rejects.toThrow(/permission denied/);
  });
});

describe('a server of a test alone', () => {
  test('is killed and started again with what was committed, on the same port', async () => {
    await using server = await startServer('source', { settings: { work_mem: '5MB' } });
    await using database = await createDatabase('source', { server });
    await database.sql('create table t (id int); insert into t values (1)');
    const busy = await database.session();
    const asleep = busy.sql('select pg_sleep(600)');

    await Promise.all([expect(asleep).rejects.toThrow(), server.cluster.restart('kill')]);

    expect(await database.sql(`select id, current_setting('work_mem') as work_mem from t`)).toEqual([
      { id: '1', work_mem: '5MB' },
    ]);
    await server.cluster.stop('immediate');
    await expect(database.sql('select 1')).rejects.toThrow();
    await server.cluster.start();
    expect(await database.sql('select id from t')).toEqual([{ id: '1' }]);
  });

  test('leaves nothing behind', async () => {
    const server = await startServer('target');
    await server[Symbol.asyncDispose]();
    expect(existsSync(server.address.directory)).toBe(false);
    const client = new pg.Client({ connectionString: clusterUri(server.address, { database: 'postgres' }) });
    await expect(client.connect()).rejects.toThrow(/ECONNREFUSED/);
  });
});

test('a password is asked for on TCP', async () => {
  const { address } = sharedServer('target');
  const uri = clusterUri(address, { database: 'postgres', password: 'wrong' });
  await expect(new pg.Client({ connectionString: uri }).connect()).rejects.toThrow(/password authentication/);
});
