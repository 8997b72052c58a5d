/** `compare data` while changes flow: no false alarm under load, and what is wrong is found all the same. */
import { expect, test } from 'vitest';
import type { DataComparison } from '../../src/compare/comparison.js';
import { compareData } from '../../src/compare/data.js';
import type { CompareDataOptions } from '../../src/compare/options.js';
import { compareTouched } from '../../src/compare/touched.js';
import type { StreamKey } from '../../src/model/stream-key.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import {
  cloneFollow,
  openMigration,
  run,
  runToEnd,
  hasApplied,
  setEndpos,
  type Migration,
} from '../support/live-migration.js';
import { ledgerSchema, startLoad } from '../support/load.js';
import { until } from '../support/until.js';

// Beside the busy tables: a large one, read in pieces by its key, of which a part is written all the time; one row that
// never rests; one that fills up behind its statistics.
const schema = `${ledgerSchema}
  create table stock (id int primary key, n int not null, note text);
  insert into stock select i, 0, 'note ' || i from generate_series(1, 20000) i;
  create table pulse (id int primary key, n int); insert into pulse values (1, 0);
  create table named (name text collate "en-x-icu" primary key, n int);
  insert into named select 'Name ' || i, 0 from generate_series(1, 3000) i;
  create table unmeasured (id int primary key, n int) with (autovacuum_enabled = false);
`;

async function key({ source }: Migration): Promise<StreamKey> {
  const [row] = await source.sql('select system_identifier::text as id from pg_control_system()');
  return { stream: 'walferry', systemIdentifier: row?.['id'] ?? '', database: source.name };
}

const sides = ({ source, target, directory }: Migration) => ({
  source: readConninfo(source.uri, {}),
  target: readConninfo(target.uri, {}),
  jobs: 4,
  pieceBytes: 512 * 1024,
  directory,
});

async function compare(
  migration: Migration,
  options: Partial<CompareDataOptions> = {},
): Promise<DataComparison> {
  return await compareData({ ...sides(migration), following: await key(migration), ...options });
}

const said = ({ tables }: DataComparison) =>
  Object.fromEntries(
    tables.flatMap(({ name, difference, rows }) => (difference === null ? [] : [[name, rows]])),
  );

test('under load both sides are equal, each time; rows that are wrong are named, wherever they are', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  await source.sql('vacuum analyze');
  const load = await startLoad(source, 1, 20);
  await using more = await source.session();
  let running = true;
  const churn = (async () => {
    for (let n = 0; running; n += 1) {
      // Enough that nothing rests, and the target keeps up on a busy machine.
      await new Promise((resolve) => setTimeout(resolve, 20));
      await more.sql('update pulse set n = n + 1');
      // Never the rows that are tampered with: to write them is to mend them.
      if (n % 5 === 0) await more.sql(`update stock set n = n + 1 where id % 1000 = ${n % 1000}`);
      if (n % 7 === 0) await more.sql(`update named set n = n + 1 where name like 'Name 1%'`);
    }
  })();
  // Should anything fail, the error that counts is not the one of a session that was closed below it.
  churn.catch(() => {});
  await using migrating = run(migration, cloneFollow(migration, '--no-owner'));
  await migrating.waitForOutput(/applying changes from/);
  await until('some were', () => hasApplied(migration));
  // More rows than are looked at in one go, of which neither side has statistics.
  await source.sql('insert into unmeasured select i, 0 from generate_series(1, 60000) i');

  // Nothing is wrong: never is a difference told.
  for (let times = 0; times < 2; times += 1) {
    const comparison = await compare(migration);
    expect(said(comparison)).toEqual({});
    const changing = comparison.tables.filter((table) => (table.moving?.changing ?? 0) > 0);
    expect(changing.every(({ name, moving }) => name === 'pulse' || (moving?.changing ?? 0) <= 20)).toBe(
      true,
    );
  }

  // When rows of the target are tampered with, in busy tables too,
  await target.sql(`
    update journal set amount = amount + 1 where id = (select min(id) from journal);
    delete from journal where id = (select min(id) from journal where id > (select min(id) from journal));
    insert into journal (id, from_id, to_id, amount) overriding system value values (-7, 1, 2, 3);
    update stock set note = 'other' where id = 12347;
    update named set name = 'Elsewhere' where name = 'Name 2000';
    update unmeasured set n = 1 where id = 30000;
    insert into event (kind) values ('never happened')`);
  // then exactly these are told,
  const found = said(await compare(migration));
  expect(found).toMatchObject({
    journal: { missing: 1, extra: 1, different: 1 },
    stock: {
      missing: 0,
      extra: 0,
      different: 1,
      shown: [{ kind: 'different', key: ['12347'], columns: ['note'] }],
    },
    named: {
      missing: 1,
      extra: 1,
      different: 0,
      shown: [
        { kind: 'extra', key: ['Elsewhere'] },
        { kind: 'missing', key: ['Name 2000'] },
      ],
    },
    unmeasured: {
      missing: 0,
      extra: 0,
      different: 1,
      complete: true,
      shown: [{ kind: 'different', key: ['30000'], columns: ['n'] }],
    },
    event: { key: null, missing: 0, extra: 1 },
  });
  expect(Object.keys(found).toSorted()).toEqual(['event', 'journal', 'named', 'stock', 'unmeasured']);
  for (const side of [source, target]) {
    const [row] = await side.sql(
      `select reltuples <= 0 as without from pg_class where relname = 'unmeasured'`,
    );
    expect(row?.['without']).toBe('t');
  }
  expect(found['journal']?.shown.find(({ kind }) => kind === 'different')?.columns).toEqual(['amount']);

  // and on the command line, with exit 21, while the run goes on.
  const exit = await runToEnd(migration, ['compare', 'data']);
  expect(exit).toMatchObject({
    code: 21,
    stderr: expect.stringContaining('public.stock differs: 1 with other values'),
  });
  expect(exit.stderr).toContain('applies changes');

  running = false;
  await churn;
  await load.stop();
  // The source is quiet: the position that is waited for arrives all the same. What was put right is equal again.
  await target.sql(`update stock set note = 'note 12347' where id = 12347`);
  expect(Object.keys(said(await compare(migration))).toSorted()).toEqual([
    'event',
    'journal',
    'named',
    'unmeasured',
  ]);
  await setEndpos(migration);
  expect((await migrating.exit).code).toBe(0);
});

// A hot row of a target is repaired by what is written to it, but for a TOASTed value that is not: its text is not sent.
const hotSchema = `
  create table document (id int primary key, n int not null, body text not null);
  alter table document alter column body set storage external;
  insert into document select i, 0, 'short ' || i from generate_series(1, 20000) i;
  update document set body = repeat('y', 5000) where id = 777`;

test('a row that is written between the sums and the rows is looked at all the same: its key keeps its bucket', async () => {
  // Given a row that differs, in one of many buckets,
  await using migration = await openMigration({ schema: hotSchema });
  const { source, target } = migration;
  await source.sql('vacuum analyze');
  await using migrating = run(migration, cloneFollow(migration, '--no-owner'));
  await migrating.waitForOutput(/applying changes from/);
  await until('some were', () => hasApplied(migration));
  await target.sql(`update document set body = repeat('z', 5000) where id = 777`);

  // while it is written all the time,
  await using hot = await source.session();
  let running = true;
  const churn = (async () => {
    while (running) {
      await hot.sql('update document set n = n + 1 where id = 777');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  churn.catch(() => {});
  // then never is everything equal: it differs, or nobody can tell yet.
  const expected = { name: 'document', written: true };
  for (let times = 0; times < 3; times += 1) {
    const { tables } = await compare(migration, { pieceBytes: 1e9 });
    const told = tables.map(({ name, difference, moving }) => ({
      name,
      written: difference?.kind === 'values' || moving?.changing === 1,
    }));
    expect(told).toEqual([expected]);
  }

  // Once it rests, it is named.
  running = false;
  await churn;
  expect(said(await compare(migration))).toMatchObject({
    document: { different: 1, shown: [{ kind: 'different', key: ['777'], columns: ['body'] }] },
  });
  await setEndpos(migration);
  expect((await migrating.exit).code).toBe(0);
});

// Cut by `at`: the names are in no order, and no column of the key is one to cut by.
const movedSchema = `
  create table letter (name text primary key, at int not null, body text not null);
  create index on letter (at);
  alter table letter alter column body set storage external;
  insert into letter select md5(i::text), i, repeat('x', 200) from generate_series(1, 20000) i;
  update letter set body = repeat('y', 5000) where at in (19998, 19999);
  create table parcel (id int primary key, body text not null);
  alter table parcel alter column body set storage external;
  insert into parcel select i, repeat('x', 200) from generate_series(1, 20000) i;
  update parcel set body = repeat('y', 5000) where id in (19998, 19999);
`;

test('a row that goes from a piece that is not read yet to one that was is seen, in a value that was not written', async () => {
  // Given two large tables, each with a row that differs in its last piece, in a value that no change tells of,
  await using migration = await openMigration({ schema: movedSchema });
  const { source, target } = migration;
  // The rows are written where they belong, so that the tables lie in the order of their columns.
  await source.sql('cluster letter using letter_at_idx');
  await source.sql('cluster parcel using parcel_pkey');
  await source.sql('vacuum analyze');
  await using migrating = run(migration, cloneFollow(migration, '--no-owner'));
  await migrating.waitForOutput(/applying changes from/);
  await until('some were', () => hasApplied(migration));
  await target.sql('vacuum analyze');
  await target.sql(`update letter set body = repeat('z', 5000) where at = 19999;
                    update parcel set body = repeat('z', 5000) where id = 19999`);

  // when these rows are moved while their table is compared, behind its first piece and before its last,
  await using mover = await source.session();
  const tables = [
    { name: 'letter', move: 'update letter set at = at - 20000 where at in (19998, 19999)' },
    { name: 'parcel', move: 'update parcel set id = id - 20000 where id in (19998, 19999)' },
  ];
  const told: Record<string, unknown> = {};
  for (const { name, move } of tables) {
    let pieces = 0;
    const settled: (readonly [string, number])[] = [];
    const moved: Promise<unknown>[] = [];
    const comparison = await compare(migration, {
      jobs: 1,
      tables: [{ schema: 'public', name }],
      onProgress: ({ done, last, settling }) => {
        if (settling !== null) settled.push([settling.table.name, settling.rows]);
        if (done > 0 || last !== null) return;
        pieces += 1;
        if (pieces !== 2) return;
        moved.push(mover.sql(move));
        // Should anything fail before it is waited for, the error that counts is another one.
        moved[0]?.catch(() => {});
      },
    });
    expect({ name, moved: moved.length, pieces: pieces > 4 }).toEqual({ name, moved: 1, pieces: true });
    // The search for rows that were written since is told, and how many were found: their number of bytes stands still.
    expect(settled).toEqual([
      [name, 0],
      [name, 2],
    ]);
    await Promise.all(moved);
    Object.assign(told, said(comparison));
  }

  // then the comparison sees them, and names them by the keys that they have now. Nothing else differs.
  const [row] = await source.sql(`select name from letter where at = -1`);
  expect(told).toMatchObject({
    letter: {
      missing: 0,
      extra: 0,
      different: 1,
      shown: [{ kind: 'different', key: [row?.['name']], columns: ['body'] }],
    },
    parcel: {
      missing: 0,
      extra: 0,
      different: 1,
      shown: [{ kind: 'different', key: ['-1'], columns: ['body'] }],
    },
  });

  // When both are put right and proven, and then it happens to two rows behind that,
  await target.sql(`update letter set body = repeat('y', 5000) where at = -1;
                    update parcel set body = repeat('y', 5000) where id = -1`);
  expect(said(await compare(migration))).toEqual({});
  await target.sql(`update letter set body = repeat('z', 5000) where at = -2;
                    update parcel set body = repeat('z', 5000) where id = -2`);
  await source.sql('update letter set at = 30000 where at = -2; update parcel set id = 30000 where id = -2');
  await setEndpos(migration);
  expect((await migrating.exit).code).toBe(0);
  // then the last pass sees them, and reads no other row.
  const last = await compareTouched({ ...sides(migration), key: await key(migration) });
  expect(last.reused).toEqual({ untouched: 0, rows: 2, whole: 0 });
  expect(said(last)).toMatchObject({
    letter: { different: 1, shown: [{ kind: 'different', columns: ['body'] }] },
    parcel: { different: 1, shown: [{ kind: 'different', key: ['30000'], columns: ['body'] }] },
  });
});

test('a stream that is not at its end and that nobody applies is told of', async () => {
  await using migration = await openMigration({ schema: 'create table t (id int primary key)' });
  await using migrating = run(migration, cloneFollow(migration, '--no-owner'));
  await migrating.waitForOutput(/applying changes from/);
  migrating.kill('SIGKILL');
  await migrating.exit;
  await migration.source.sql('insert into t values (1)');

  const early = await runToEnd(migration, ['compare', 'data']);
  expect(early.code).toBe(21);
  expect(early.stderr).toMatch(/no run applies changes in .*, and the end of its stream is not reached/);

  await setEndpos(migration);
  expect((await runToEnd(migration, cloneFollow(migration, '--no-owner', '--resume'))).code).toBe(0);
  const late = await runToEnd(migration, ['compare', 'data']);
  expect(late.code).toBe(0);
  expect(late.stderr).not.toContain('no run applies');
});
