/** A filter in a live migration, as a person runs it: stream, verification, resume. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { createDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';
import {
  cloneFollow,
  follow,
  run,
  runToEnd,
  setEndpos,
  streamOptions,
  succeed,
  type Migration,
} from '../support/live-migration.js';

const schema = `
  create schema app; create schema audit;
  create table app.orders (id serial primary key, note text);
  create table app.tmp_import (id serial primary key, note text);
  create table app.stage (id serial primary key, note text);
  create table audit.log (id serial primary key, note text);
  insert into app.orders (note) values ('before'); insert into app.tmp_import (note) values ('before');
  insert into app.stage (note) values ('before'); insert into audit.log (note) values ('before');
`;
const changes = `
  begin; insert into app.orders (note) values ('after'); insert into app.tmp_import (note) values ('after');
  insert into app.stage (note) values ('after'); insert into audit.log (note) values ('after'); commit;
  truncate app.stage, app.tmp_import; update app.orders set note = note || '!';`;
const filters = `
; what the new server does not need
[exclude-schema]
audit
[EXCLUDE-TABLE-DATA]
app.stage
[exclude-table]
app.~/^tmp_/`;

async function given(filterText: string) {
  const source = await createDatabase('source');
  const target = await createDatabase('target');
  const directory = await temporaryDirectory();
  await source.sqlAsOwner(schema);
  const filterFile = path.join(directory.path, 'filters.ini');
  await writeFile(filterFile, filterText);
  const migration: Migration = {
    source,
    target,
    directory: path.join(directory.path, 'work'),
    role: 'owner',
  };
  return {
    source,
    target,
    migration,
    filterFile,
    [Symbol.asyncDispose]: async () => {
      await source[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

const notes = (rows: readonly Record<string, string | null>[]) => rows.map((row) => row['note']);

describe.each(['our own publication', 'one of somebody else', 'wal2json'])(
  'a filtered stream through %s',
  (kind) => {
    test('has no change of what is left out, and the sides compare as equal', async ({ skip }) => {
      await using setting = await given(filters);
      const { source, target, migration, filterFile } = setting;
      const more: string[] = [];
      if (kind === 'one of somebody else') {
        await source.sql('create publication everything for all tables');
        more.push('--publication', 'everything');
      }
      if (kind === 'wal2json') more.push('--plugin', 'wal2json');
      if (kind === 'wal2json' && !(await hasWal2json(migration))) skip('the server has no wal2json');

      // When it is copied and followed, and every table changes.
      await using migrating = run(
        migration,
        cloneFollow(migration, '--no-owner', '--filters', filterFile, ...more),
      );
      await migrating.waitForOutput(/applying changes from/);
      await source.sqlAsOwner(changes);
      await setEndpos(migration);
      const exit = await migrating.exit;

      // Then what is copied has arrived, and nothing else.
      expect(exit.stderr).not.toMatch(/ERROR/);
      expect(exit.code).toBe(0);
      const orders = await target.sql('select note from app.orders order by id');
      expect(notes(orders)).toEqual(['before!', 'after!']);
      expect(await target.sql('select * from app.stage')).toEqual([]);
      expect(
        await target.sql(`select to_regclass('app.tmp_import') as t, to_regnamespace('audit') as s`),
      ).toEqual([{ t: null, s: null }]);
      if (kind === 'our own publication') {
        const published = `select tablename from pg_publication_tables order by 1`;
        expect(await source.sql(published)).toEqual([{ tablename: 'orders' }]);
      }

      // And what is left out is not compared.
      await source.sqlAsOwner(`insert into app.stage (note) values ('later')`);
      const compared = await runToEnd(migration, ['compare', 'data']);
      expect(compared.code).toBe(0);
      expect(compared.stderr).toContain('both sides are equal: 1 tables, 2 rows');
      await target.sql(`insert into app.orders values (99, 'wrong')`);
      expect((await runToEnd(migration, ['compare', 'data'])).code).toBe(21);
    });
  },
);

async function hasWal2json(migration: Migration): Promise<boolean> {
  try {
    await migration.source.sql(
      `select pg_create_logical_replication_slot('probe_${migration.source.name}', 'wal2json', true)`,
    );
    await migration.source.sql(`select pg_drop_replication_slot('probe_${migration.source.name}')`);
    return true;
  } catch {
    return false;
  }
}

describe('a work directory', () => {
  test('of a `follow` says nothing of other servers: there everything is compared', async () => {
    // Given a stream between two databases that are equal, with a filter,
    await using setting = await given(filters);
    const { source, target, migration, filterFile } = setting;
    await target.sqlAsOwner(schema);
    await using following = run(migration, follow(migration, '--filters', filterFile));
    await following.waitForOutput(/receiving changes from/);
    await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
    await following.waitForOutput(/applying changes from/);
    for (const side of [source, target])
      await side.sql(`insert into app.stage (note) values ('${side.name}')`);

    // when the same directory is given with other databases, of which any table may differ,
    await using others = await given(filters);
    await others.target.sqlAsOwner(schema);
    await others.target.sqlAsOwner(`insert into app.stage (note) values ('on the target')`);
    await others.target.sqlAsOwner('create index on app.tmp_import (note)');
    const pairs = {
      own: migration,
      otherTarget: { ...migration, target: others.target },
      others: { ...others.migration, directory: migration.directory },
    };
    // then what the stream leaves out is left out for its own alone.
    for (const [name, pair] of Object.entries(pairs)) {
      for (const what of ['data', 'schema']) {
        const exit = await runToEnd(pair, ['compare', what]);
        expect([name, what, exit.code, exit.stderr]).toEqual([
          name,
          what,
          name === 'own' ? 0 : 21,
          exit.stderr,
        ]);
        const left = /only the tables that the run|what .* leaves out is not compared/.test(exit.stderr);
        expect([name, what, left]).toEqual([name, what, name === 'own']);
      }
    }
  });

  test('goes on with its filters, and refuses others', async () => {
    await using setting = await given(filters);
    const { source, target, migration, filterFile } = setting;
    await using holder = await source.session();
    await holder.sql('begin isolation level repeatable read');
    const [held] = await holder.sql('select pg_export_snapshot() as id');
    const clone = ['clone', '--no-owner', '--snapshot', held?.['id'] ?? ''];

    // Given a clone that is killed while it copies.
    const failpoint = { WALFERRY_FAILPOINT: 'clone.pre-data' };
    await using dying = run(migration, [...clone, '--filters', filterFile], failpoint);
    expect((await dying.exit).signal).toBe('SIGKILL');

    // When it is resumed with another filter file: refused, naming both.
    await writeFile(filterFile, '[exclude-schema]\napp');
    const other = await runToEnd(migration, [...clone, '--resume', '--filters', filterFile]);
    expect([other.code, other.stderr]).toEqual([
      1,
      expect.stringMatching(/filters was .*audit.* and is now .*app/),
    ]);

    // When it is resumed without any: it goes on with its own.
    const resumed = await runToEnd(migration, [...clone, '--resume']);
    expect(resumed.code).toBe(0);
    expect(notes(await target.sql('select note from app.orders'))).toEqual(['before']);
    expect(await target.sql('select * from app.stage')).toEqual([]);
    expect(await target.sql(`select to_regnamespace('audit') as audit`)).toEqual([{ audit: null }]);
    const again = await runToEnd(migration, ['clone', '--no-owner']);
    expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('nothing to do')]);
  });

  test('that was begun with all tables refuses a filter', async () => {
    await using setting = await given(filters);
    const { migration, filterFile } = setting;
    expect((await runToEnd(migration, ['clone', '--no-owner'])).code).toBe(0);
    const filtered = await runToEnd(migration, ['clone', '--no-owner', '--filters', filterFile]);
    expect([filtered.code, filtered.stderr]).toEqual([
      1,
      expect.stringContaining('filters was null and is now'),
    ]);
  });

  test('of follow remembers its filters too', async () => {
    await using setting = await given(filters);
    const { source, target, migration, filterFile } = setting;
    await target.sqlAsOwner(`create schema app; create table app.orders (id int primary key, note text)`);
    const follow = ['follow', ...streamOptions(migration)];
    await using following = run(migration, [...follow, '--filter', filterFile]);
    await following.waitForOutput(/receiving changes from/);
    await source.sqlAsOwner(changes.replace('update', '-- '));
    expect((await runToEnd(migration, ['stream', 'sentinel', 'set', 'apply'])).code).toBe(0);
    await setEndpos(migration);
    expect((await following.exit).code).toBe(0);
    expect(notes(await target.sql('select note from app.orders'))).toEqual(['after']);
    await writeFile(filterFile, '[exclude-schema]\napp');
    const other = await runToEnd(migration, [...follow, '--filter', filterFile]);
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('follows with other filters')]);
  });
});

describe('clone --plan', () => {
  test('says what is copied and what is left out by which rule, and does nothing', async () => {
    await using setting = await given(filters);
    const { source, target, migration, filterFile } = setting;
    const plan = ['clone', '--plan', '--filters', filterFile];
    const text = await runToEnd(migration, plan);
    expect(text.code).toBe(0);
    expect(text.stdout).toMatch(/ app \| +orders \| +1 \| +16 kB /);
    expect(text.stdout).toMatch(/ stage \| no rows \| .*line 6, \[exclude-table-data\] app\.stage/);
    expect(text.stdout).toMatch(/schema \| +audit \| +\| +line 4, \[exclude-schema\] audit/);
    expect(text.stdout).toMatch(
      /table \| +app\.tmp_import \| +16 kB \| +line 8, \[exclude-table\] app\.~\/\^tmp_\//,
    );
    expect(text.stdout).toContain('Nothing was done.');

    const json = await runToEnd(migration, [...plan, '--json']);
    const read = JSON.parse(json.stdout) as {
      tables: { name: string; parts: number; bytes: number; 'exclude-data': boolean }[];
      'left-out': { kind: string; name: string; rule: string }[];
    };
    expect(read.tables.map(({ name, parts, 'exclude-data': rowless }) => [name, parts, rowless])).toEqual(
      expect.arrayContaining([
        ['orders', 1, false],
        ['stage', 0, true],
      ]),
    );
    expect(read['left-out'].map(({ kind, name }) => `${kind} ${name}`)).toEqual(
      expect.arrayContaining([
        'schema audit',
        'table audit.log',
        'table app.tmp_import',
        'sequence app.tmp_import_id_seq',
      ]),
    );

    // Nothing anywhere: no work directory, no slot, nothing on the target.
    expect(existsSync(migration.directory)).toBe(false);
    const slots = `select 1 from pg_replication_slots where database = current_database()`;
    expect(await source.sql(slots)).toEqual([]);
    expect(await target.sql(`select 1 from pg_namespace where nspname in ('walferry', 'app')`)).toEqual([]);
  });

  test('names every mistake of the file, and needs no target', async () => {
    await using setting = await given('[exclude-table]\nnodot\n[nonsense]\n');
    const { migration, filterFile } = setting;
    const noTarget = { PGCOPYDB_TARGET_PGURI: '' };
    const exit = await run(migration, ['clone', '--plan', '--filters', filterFile], noTarget).exit;
    expect(exit.code).toBe(1);
    expect(exit.stderr).toContain(`${filterFile}:2: a table is written schema.table: nodot`);
    expect(exit.stderr).toContain(`${filterFile}:3: unknown section [nonsense]`);
    await writeFile(filterFile, filters);
    expect((await run(migration, ['clone', '--plan', '--filters', filterFile], noTarget).exit).code).toBe(0);
    const missing = await runToEnd(migration, ['clone', '--plan', '--filters', `${filterFile}.none`]);
    expect([missing.code, missing.stderr]).toEqual([
      1,
      expect.stringContaining('cannot be read (no such file or directory)'),
    ]);
  });
});

describe('behind `stream cleanup`', () => {
  /** Follows from now on until this row is there, or is not; gives what the target holds of both tables. */
  async function followed(
    { source, target, migration }: Awaited<ReturnType<typeof given>>,
    ...more: string[]
  ) {
    await using following = run(migration, follow(migration, ...more));
    await following.waitForOutput(/receiving changes from/);
    await source.sqlAsOwner(
      `insert into app.orders (note) values ('next'); insert into audit.log (note) values ('next')`,
    );
    await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
    await setEndpos(migration);
    const exit = await following.exit;
    expect(exit.code, exit.stderr).toBe(0);
    const of = async (table: string) => (await target.sql(`select from ${table} where note = 'next'`)).length;
    return { orders: await of('app.orders'), log: await of('audit.log') };
  }

  test.each<[string, string | null, { orders: number; log: number }]>([
    ['no filter', null, { orders: 2, log: 1 }],
    ['another', '[exclude-schema]\napp\n', { orders: 1, log: 1 }],
  ])('a stream of its own is followed by %s', async (_what, other, expected) => {
    await using setting = await given('[exclude-schema]\naudit\n');
    const { target, migration, filterFile } = setting;
    await target.sqlAsOwner(schema);
    expect(await followed(setting, '--filters', filterFile)).toEqual({ orders: 1, log: 0 });
    await succeed(migration, ['stream', 'cleanup', ...streamOptions(migration)]);
    const more: string[] = [];
    if (other !== null) {
      await writeFile(`${filterFile}.2`, other);
      more.push('--filters', `${filterFile}.2`);
    }
    expect(await followed(setting, ...more)).toEqual(expected);
  });
});
