/** A whole server: roles and databases, into a target that has some of them already. */
import { describe, expect, test } from 'vitest';
import { existsSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { clusterUri, type ClusterAddress } from '../../../scripts/clusters/cluster.js';
import { startServer } from '../../support/clusters.js';
import { temporaryDirectory } from '../../support/directory.js';
import { walferry } from '../../support/walferry.js';

async function on(address: ClusterAddress, database: string, sql: string): Promise<unknown[]> {
  const { host, port, password } = address;
  const client = new pg.Client({ host, port, password, user: 'postgres', database });
  await client.connect();
  try {
    const answer: unknown = await client.query(sql);
    const last = Array.isArray(answer) ? (answer as pg.QueryResult[]).at(-1) : (answer as pg.QueryResult);
    return last?.rows ?? [];
  } finally {
    await client.end();
  }
}

const databases = `select datname, pg_encoding_to_char(encoding) as encoding, datcollate, datctype, datlocprovider,
  daticulocale, pg_get_userbyid(datdba) as owner, datconnlimit from pg_database where not datistemplate order by 1`;

describe('--all-databases', () => {
  test('clones every database that is no template, with its roles, encoding, locale and owner, and may be run again', async () => {
    await using source = await startServer('source');
    await using target = await startServer('target');
    await on(
      source.address,
      'postgres',
      `create role keeper login password 'canary'; create table in_postgres as select 1 as id`,
    );
    await on(source.address, 'postgres', `create database shop owner keeper`);
    await on(
      source.address,
      'postgres',
      `create database "La tin/1" template template0 encoding 'LATIN1' connection limit 5`,
    );
    await on(
      source.address,
      'postgres',
      `create database icu template template0 locale_provider icu icu_locale 'de'`,
    );
    await on(source.address, 'postgres', `create database model is_template true`);
    await on(
      source.address,
      'shop',
      `create table item as select generate_series(1, 100) as id; alter table item owner to keeper`,
    );
    await on(source.address, 'La tin/1', `create table word as select 'Grüße' as word`);
    await on(target.address, 'postgres', `create database shop`);
    await on(target.address, 'postgres', `create table theirs as select 7 as id`);
    await using directory = await temporaryDirectory();
    const dir = path.join(directory.path, 'work');
    const args = [
      'clone',
      '--all-databases',
      '--roles',
      ...['--source', clusterUri(source.address, { database: 'postgres' })],
      ...['--target', clusterUri(target.address, { database: 'postgres' })],
      ...['--dir', dir],
    ];

    await using run = walferry(args);
    const { code, stdout, stderr } = await run.exit;

    expect(stderr).not.toMatch(/ERROR|canary|SCRAM/);
    expect(code).toBe(0);
    const [header, , ...rows] = stdout.trimStart().split('\n');
    expect(header).toMatch(/^ *Database \| +OID \| Schema/);
    const copied = rows.slice(0, rows.indexOf('')).map((row) => row.split('|').map((cell) => cell.trim()));
    expect(copied.map(([database, , , table]) => `${database}.${table}`).sort()).toEqual([
      'La tin/1.word',
      'postgres.in_postgres',
      'shop.item',
    ]);
    expect(stdout.match(/Total Wall Clock Duration/g)).toHaveLength(1);
    for (const name of ['shop', 'La%20tin%2F1', 'icu', 'postgres']) {
      expect(existsSync(path.join(dir, 'db', name, 'summary.json'))).toBe(true);
    }
    expect(await on(target.address, 'La tin/1', 'select word from word')).toEqual([{ word: 'Grüße' }]);
    expect(
      await on(
        target.address,
        'shop',
        `select count(*)::integer as n, pg_get_userbyid(relowner) as owner from item, pg_class where relname = 'item' group by 2`,
      ),
    ).toEqual([{ n: 100, owner: 'keeper' }]);
    expect(await on(target.address, 'postgres', 'select id from theirs')).toEqual([{ id: 7 }]);
    // The one that was there keeps its owner.
    const expected = (await on(source.address, 'postgres', databases)) as {
      datname: string;
      owner: string;
    }[];
    expect(await on(target.address, 'postgres', databases)).toEqual(
      expected.map((row) => (row.datname === 'shop' ? { ...row, owner: 'postgres' } : row)),
    );

    await using again = walferry([...args, '--resume']);
    const second = await again.exit;
    expect(second.code).toBe(0);
    expect(second.stdout.split('\n').filter((line) => line.includes('item'))).toHaveLength(1);

    // Compared alike: each database with the one of its name.
    const sides = args.filter((word) => word !== 'clone' && word !== '--roles');
    const compare = async (...words: string[]) => {
      await using comparing = walferry(['compare', ...words, ...sides]);
      return await comparing.exit;
    };
    const equal = await compare('data');
    expect([equal.code, equal.stderr]).toEqual([0, expect.stringContaining('equal: 3 tables, 102 rows')]);
    expect(equal.stdout).toMatch(/La tin\/1\.public\.word \|   \|/);
    await on(target.address, 'shop', 'update item set id = 0 where id = 7');
    const changed = await compare('data', '--rows', '--json');
    expect(changed).toMatchObject({
      code: 21,
      stderr: expect.stringContaining('shop: public.item has 100 rows'),
    });
    const found = JSON.parse(changed.stdout) as {
      database: string;
      tables: { difference: string | null }[];
    }[];
    expect(found.map(({ database }) => database)).toEqual(['La tin/1', 'icu', 'postgres', 'shop']);
    expect(found.at(-1)?.tables).toMatchObject([
      { name: 'item', difference: 'values', rows: { missing: 1, extra: 1 } },
    ]);
    const schemas = await compare('schema');
    expect(schemas).toMatchObject({
      code: 21,
      stdout: expect.stringContaining('table public.theirs: on the target only'),
      stderr: expect.stringContaining('postgres: table public.theirs is on the target only'),
    });
    await on(target.address, 'postgres', 'drop table theirs');
    expect((await compare('schema')).code).toBe(0);
    await on(source.address, 'postgres', 'create database more');
    expect(await compare('data')).toMatchObject({
      code: 21,
      stderr: expect.stringContaining('the target lacks the database "more"'),
    });
  });

  test('as an ordinary role: what it may not give is told, the rest is there; a database that fails does not keep the others back', async () => {
    await using source = await startServer('source');
    await using target = await startServer('target');
    const role = source.owner.name;
    await on(source.address, 'postgres', `create role keeper`);
    await on(source.address, 'postgres', `create database a owner keeper`);
    await on(source.address, 'postgres', `create database b owner ${role}`);
    await on(source.address, 'postgres', `create database closed`);
    await on(source.address, 'postgres', `revoke connect on database closed from public`);
    await on(source.address, 'postgres', `create database retired allow_connections false`);
    await on(source.address, 'a', `create table hidden (id integer)`);
    await on(source.address, 'b', `create table t as select 1 as id; alter table t owner to ${role}`);
    await using directory = await temporaryDirectory();
    const uri = (server: typeof source) =>
      clusterUri(server.address, {
        database: 'postgres',
        user: server.owner.name,
        password: server.owner.password,
        parameters: { sslmode: 'require' },
      });

    await using run = walferry([
      ...['clone', '--all-databases', '--no-owner', '--source', uri(source), '--target', uri(target)],
      ...['--dir', directory.path],
    ]);
    const { code, stderr } = await run.exit;

    expect(code).toBe(6);
    expect(stderr).toMatch(/database closed is left out: our role on the source may not connect to it/);
    expect(stderr).toMatch(/database retired is left out: it allows no connections/);
    expect(stderr).toMatch(/database a: source: our role may not read public.hidden/);
    expect(await on(target.address, 'b', 'select id from t')).toEqual([{ id: 1 }]);

    // Of these that was the only one: `postgres` is empty, and nothing may be made in the target's.
    expect(stderr).not.toMatch(/databases could not be cloned/);
    await on(source.address, 'a', 'drop table hidden');
    await using again = walferry([
      ...['clone', '--all-databases', '--no-owner', '--source', uri(source), '--target', uri(target)],
      ...['--dir', directory.path, '--resume'],
    ]);
    const second = await again.exit;
    expect(second.code, second.stderr).toBe(0);
    expect(second.stderr).toContain('postgres: the database holds nothing');
  });

  test.each([['--follow'], ['--snapshot', '1'], ['--plan']])('with %s is refused', async (...words) => {
    await using run = walferry([
      'clone',
      '--all-databases',
      ...words,
      '--source',
      'postgres://x/y',
      '--target',
      'postgres://x/z',
    ]);
    const { code, stderr } = await run.exit;
    expect(code).toBe(1);
    expect(stderr).toContain(`Options --all-databases and ${words[0]} exclude each other`);
  });
});
