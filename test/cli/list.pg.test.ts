import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { prettySize } from '../../src/cli/output.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';
import { walferry } from '../support/walferry.js';

const shop = `
  create schema "Sales";
  create table public.customer (id bigint primary key, name text collate "C" not null, vip boolean);
  create index customer_name on public.customer (lower(name), vip);
  create table "Sales"."Order" (
    id bigint generated always as identity,
    customer bigint,
    during tsrange,
    twice bigint generated always as (customer * 2) stored,
    constraint "No overlap" exclude using gist (during with &&));
  create table public.notes (note text);
  create sequence public.tickets start 7;
  create table public.ticket (id bigint default nextval('public.tickets'), unique (id) deferrable initially deferred);
  create materialized view public.totals as select count(*) from public.customer;
  insert into public.customer select i, 'customer ' || i from generate_series(1, 500) i;
  analyze public.customer;
  select setval('"Sales"."Order_id_seq"', 9007199254740993, false);
`;

/** Runs a list command to its end, which must be good, and gives its lines on stdout. */
async function list(source: TestDatabase, ...words: string[]): Promise<string[]> {
  await using process = walferry(['list', ...words, '--source', source.uri]);
  const { code, stdout, stderr } = await process.exit;
  expect([code, stderr]).toEqual([0, expect.not.stringContaining('ERROR')]);
  return stdout.split('\n');
}

async function listJson<Shape>(source: TestDatabase, ...words: string[]): Promise<Shape> {
  return JSON.parse((await list(source, ...words, '--json')).join('\n')) as Shape;
}

const cells = (line: string | undefined) => (line ?? '').split(' | ').map((cell) => cell.trim());

async function oidOf(source: TestDatabase, relation: string): Promise<string> {
  const [row] = await source.sql(`select '${relation}'::regclass::oid as oid`);
  return row?.['oid'] ?? '';
}

describe('list', () => {
  test('tables are what a clone copies, the largest first, in the peer’s columns', async () => {
    await using source = await createDatabase('source');
    await source.sql(shop);
    const lines = await list(source, 'tables');
    expect(lines.slice(0, 2)).toEqual([
      '     OID |          Schema Name |           Table Name |  Est. Row Count |    On-disk size',
      '---------+----------------------+----------------------+-----------------+----------------',
    ]);
    const [size] = await source.sql(`select pg_table_size('public.customer') as bytes`);
    const onDisk = prettySize(Number(size?.['bytes'])).padStart(15);
    const customer = await oidOf(source, 'public.customer');
    expect(lines[2]).toBe(
      `${customer.padStart(8)} |               public |             customer |             500 | ${onDisk}`,
    );
    expect(lines.slice(3, -2).map((line) => cells(line).slice(1, 4))).toEqual([
      ['"Sales"', '"Order"', '-1'],
      ['public', 'notes', '-1'],
      ['public', 'ticket', '-1'],
    ]);
    expect(lines.slice(-2)).toEqual(['', '']);
  });

  test('tables may be those of a schema, one of them, or those without a primary key', async () => {
    await using source = await createDatabase('source');
    await source.sql(shop);
    const names = async (...words: string[]) =>
      (await list(source, 'tables', ...words)).slice(2, -2).map((line) => cells(line)[2]);
    expect(await names('--schema-name', 'Sales')).toEqual(['"Order"']);
    expect(await names('--table-name', 'notes')).toEqual(['notes']);
    expect(await names('--schema-name', 'Sales', '--table-name', 'notes')).toEqual([]);
    expect(new Set(await names('--without-pkey'))).toEqual(new Set(['"Order"', 'notes', 'ticket']));
    expect(await listJson(source, 'tables', '--table-name', 'customer')).toEqual([
      expect.objectContaining({ name: 'customer', qname: 'public.customer', reltuples: 500 }),
    ]);
  });

  test('an empty list is header, dashes and an empty line', async () => {
    await using source = await createDatabase('source');
    const lines = await list(source, 'sequences');
    expect(lines).toEqual([
      '     OID |          Schema Name |                  Sequence Name |   Owned By |   attrelid |    attroid',
      '---------+----------------------+--------------------------------+------------+------------+-----------',
      '',
      '',
    ]);
  });

  test('sequences come with their owner and with the default that uses them', async () => {
    await using source = await createDatabase('source');
    await source.sql(shop);
    const rows = (await list(source, 'sequences')).slice(2, -2).map((line) => cells(line).slice(1));
    const [attrdef] = await source.sql(
      `select oid from pg_attrdef where adrelid = 'public.ticket'::regclass`,
    );
    expect(rows).toEqual([
      ['"Sales"', '"Order_id_seq"', await oidOf(source, '"Sales"."Order"'), '0', '0'],
      ['public', 'tickets', '0', await oidOf(source, 'public.ticket'), attrdef?.['oid'] ?? ''],
    ]);
  });

  test('indexes come with constraint and definition; EXCLUDE has neither name nor DDL', async () => {
    await using source = await createDatabase('source');
    await source.sql(shop);
    const lines = await list(source, 'indexes');
    expect(lines.slice(2, -2).map((line) => cells(line).slice(1))).toEqual([
      ['"Sales"', '', '"No overlap"', 'EXCLUDE USING gist (during WITH &&)', ''],
      [
        'public',
        'customer_name',
        '',
        '',
        'CREATE INDEX customer_name ON public.customer USING btree (lower(name), vip)',
      ],
      [
        'public',
        'customer_pkey',
        'customer_pkey',
        'PRIMARY KEY (id)',
        'CREATE UNIQUE INDEX customer_pkey ON public.customer USING btree (id)',
      ],
      [
        'public',
        'ticket_id_key',
        'ticket_id_key',
        'UNIQUE (id) DEFERRABLE INITIALLY DEFERRED',
        'CREATE UNIQUE INDEX ticket_id_key ON public.ticket USING btree (id)',
      ],
    ]);
    const one = await list(source, 'indexes', '--schema-name', 'public', '--table-name', 'customer');
    expect(one.slice(0, 2)).toEqual([
      '     OID |     Schema |           Index Name |      Constraint Name |                Constraint | DDL',
      '---------+------------+----------------------+----------------------+---------------------------+---------------------',
    ]);
    expect(one.slice(2, -2)).toHaveLength(2);
  });

  test('indexes of a schema without a table are refused', async () => {
    await using source = await createDatabase('source');
    await using process = walferry(['list', 'indexes', '--source', source.uri, '--schema-name', 'public']);
    expect(await process.exit).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('--schema-name needs --table-name'),
    });
  });

  test('databases are all of the server’s but the templates', async () => {
    await using source = await createDatabase('source');
    const lines = await list(source, 'databases');
    expect(cells(lines[0])).toEqual(['OID', 'Database Name', 'On-disk size']);
    const names = lines.slice(2, -2).map((line) => cells(line)[1]);
    expect(names).toEqual(expect.arrayContaining([source.name, 'postgres']));
    expect(names).not.toContain('template1');
    for (const line of lines.slice(2, -2)) expect(cells(line)[2]).toMatch(/^\d+ [kM]B$/);
    // The same for a role that may see little.
    await using ordinary = walferry(['list', 'databases', '--source', source.neonUri]);
    expect(await ordinary.exit).toMatchObject({ code: 0, stdout: expect.stringContaining(source.name) });
  });

  test('extensions: installed, available, and as requirements for the target', async () => {
    await using source = await createDatabase('source');
    const [plpgsql] = await source.sql(
      `select e.oid, e.extversion as version from pg_extension e where extname = 'plpgsql'`,
    );
    const lines = await list(source, 'extensions');
    expect(cells(lines[0])).toEqual(['OID', 'Name', 'Schema', 'Count', 'Config']);
    expect(cells(lines[2]).slice(0, 4)).toEqual([plpgsql?.['oid'], 'plpgsql', 'pg_catalog', '0']);
    expect(await listJson(source, 'extensions')).toEqual([
      { oid: Number(plpgsql?.['oid']), name: 'plpgsql', schema: 'pg_catalog', config: [] },
    ]);
    const available = await list(source, 'extensions', '--available-versions');
    expect(cells(available[0])).toEqual(['Name', 'Default', 'Available']);
    expect(await listJson<{ name: string }[]>(source, 'extensions', '--available-versions')).toContainEqual({
      name: 'plpgsql',
      versions: [plpgsql?.['version']],
    });
    expect(cells((await list(source, 'extensions', '--requirements'))[0])).toEqual(['Name', 'Version']);
    expect(await listJson(source, 'extensions', '--requirements')).toEqual([
      { name: 'plpgsql', version: plpgsql?.['version'] },
    ]);
  });

  test('collations are those that something uses', async () => {
    await using source = await createDatabase('source');
    await source.sql(shop);
    const rows = (await list(source, 'collations')).slice(2, -2).map((line) => cells(line).slice(1));
    expect(rows).toEqual(
      expect.arrayContaining([
        ['"C"', 'column name of table public.customer'],
        ['"C"', 'index public.customer_name'],
      ]),
    );
    expect(rows.some(([name]) => name === '"default"')).toBe(false);
  });

  test('schema is one object, printed and kept in the work directory', async () => {
    await using source = await createDatabase('source');
    await using directory = await temporaryDirectory();
    await source.sql(shop);
    const work = path.join(directory.path, 'not', 'there yet');
    const text = (await list(source, 'schema', '--json', '--dir', work)).join('\n');
    expect(await readFile(path.join(work, 'schema.json'), 'utf8')).toBe(text);
    expect((await stat(work)).mode & 0o777).toBe(0o700);
    // Digits beyond a double's are printed, not rounded.
    expect(text).toContain('"last-value": 9007199254740993,');
    expect(text).not.toContain('password');

    type Listed = Record<string, unknown> & { name: string };
    const schema = JSON.parse(text) as Record<'tables' | 'indexes' | 'sequences', Listed[]> & {
      setup: Record<string, unknown>;
      filters: unknown;
    };
    expect(schema.setup).toMatchObject({ 'table-jobs': 4, 'index-jobs': 4, 'split-tables-larger-than': 0 });
    expect(schema.filters).toEqual({ type: 'SOURCE_FILTER_TYPE_NONE' });
    const named = (list: Listed[], name: string) => list.find((one) => one.name === name);
    const order = named(schema.tables, '"Order"');
    expect(order).toMatchObject({
      schema: '"Sales"',
      qname: '"Sales"."Order"',
      'exclude-data': false,
      'restore-list-name': 'Sales Order postgres',
    });
    expect(order?.['cols']).toContainEqual(
      expect.objectContaining({ attnum: 4, attname: 'twice', attisprimary: false, attisgenerated: true }),
    );
    expect(named(schema.tables, 'customer')?.['cols']).toContainEqual({
      attnum: 1,
      atttypid: 20,
      attname: 'id',
      attisprimary: true,
      attisreplident: true,
      attisgenerated: false,
    });
    expect(named(schema.indexes, 'customer_name')).toMatchObject({
      isPrimary: false,
      isUnique: false,
      columns: ',vip',
      'restore-list-name': 'public customer_name postgres',
      table: { schema: 'public', name: 'customer' },
    });
    expect(named(schema.indexes, 'customer_pkey')).toMatchObject({
      isPrimary: true,
      isUnique: true,
      columns: 'id',
      constraint: {
        name: 'customer_pkey',
        sql: 'PRIMARY KEY (id)',
        'restore-list-name': 'public customer customer_pkey postgres',
      },
    });
    expect(named(schema.sequences, 'tickets')).toMatchObject({ 'last-value': 7, 'is-called': false });
  });

  test('table-parts are those that a clone copies: every value in one of them', async () => {
    await using source = await createDatabase('source');
    await source.sql(`create table t (id int primary key, filler text);
      insert into t select i, repeat('x', 100) from generate_series(-500, 499) i; analyze t`);
    const options = ['--table-name', 't', '--split-at', '40 kB'];
    const lines = await list(source, 'table-parts', ...options);
    expect(lines.slice(0, 2)).toEqual([
      '        Part |          Min |          Max |        Count',
      '-------------+--------------+--------------+-------------',
    ]);
    const rows = lines.slice(2, -2).map(cells);
    expect(rows.length).toBeGreaterThan(2);
    expect(rows.map(([part]) => part)).toEqual(rows.map((_, index) => `${index + 1}/${rows.length}`));
    // -1 stands for no bound at both ends; in between, each begins where the one before it ends.
    expect([rows[0]?.[1], rows.at(-1)?.[2]]).toEqual(['-1', '-1']);
    for (const [index, row] of rows.slice(1).entries()) {
      expect(Number(row[1])).toBe(Number(rows[index]?.[2]) + 1);
    }
    await using whole = walferry([
      ...['list', 'table-parts', '--source', source.uri, '--table-name', 't', '--split-at', '1 GB'],
    ]);
    expect(await whole.exit).toMatchObject({
      code: 0,
      stdout: '',
      stderr: expect.stringContaining('Table public.t will not be split'),
    });
    await using unsaid = walferry(['list', 'table-parts', '--source', source.uri, '--table-name', 't']);
    expect((await unsaid.exit).code).toBe(1);
  });

  test('sees the moment of a snapshot that somebody holds', async () => {
    await using source = await createDatabase('source');
    await source.sql('create table before_it ()');
    await using holder = await source.session();
    await holder.sql('begin isolation level repeatable read');
    const [row] = await holder.sql('select pg_export_snapshot() as snapshot');
    await source.sql('create table after_it ()');
    const lines = await list(source, 'tables', '--snapshot', row?.['snapshot'] ?? '');
    expect(lines.slice(2, -2).map((line) => cells(line)[2])).toEqual(['before_it']);
  });

  test('touches nothing in the work directory, with --force neither', async () => {
    await using source = await createDatabase('source');
    await using directory = await temporaryDirectory();
    const work = path.join(directory.path, 'work');
    await list(source, 'tables', '--dir', work, '--force');
    await expect(stat(work)).rejects.toThrow('ENOENT');
  });

  test('without a source is a mistake of the caller’s', async () => {
    await using process = walferry(['list', 'tables']);
    expect(await process.exit).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Option --source is mandatory'),
    });
  });
});
