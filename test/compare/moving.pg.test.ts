/** `compare data` while changes flow: no false alarm under load, and what is wrong is found all the same. */
import { expect, test } from 'vitest';
import type { DataComparison } from '../../src/compare/comparison.js';
import { compareData } from '../../src/compare/data.js';
import type { CompareDataOptions } from '../../src/compare/options.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import {
  cloneFollow,
  openMigration,
  run,
  runToEnd,
  sentinelField,
  setEndposNow,
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

async function key({ source }: Migration): Promise<CompareDataOptions['following']> {
  const [row] = await source.sql('select system_identifier::text as id from pg_control_system()');
  return { stream: 'walferry', systemIdentifier: row?.['id'] ?? '', database: source.name };
}

async function compare(
  migration: Migration,
  options: Partial<CompareDataOptions> = {},
): Promise<DataComparison> {
  return await compareData({
    source: readConninfo(migration.source.uri, {}),
    target: readConninfo(migration.target.uri, {}),
    jobs: 4,
    pieceBytes: 512 * 1024,
    following: (await key(migration)) ?? null,
    directory: migration.directory,
    ...options,
  });
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
  await until('some were', async () => (await sentinelField(migration, 'replay_lsn')) !== '0/0');
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
  expect(await setEndposNow(migration)).toBe(true);
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
  await until('some were', async () => (await sentinelField(migration, 'replay_lsn')) !== '0/0');
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
  expect(await setEndposNow(migration)).toBe(true);
  expect((await migrating.exit).code).toBe(0);
});
