/**
 * A stream that cannot go on as it is: it stops, says what is wrong with which transaction, row or position, skips
 * nothing, and goes on from there once it is put right.
 */
import { expect, test } from 'vitest';
import { expectEqual } from '../../support/equal.js';
import {
  appliedPosition,
  cloneFollow,
  follow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  setupStream,
  slotOf,
  succeed,
  type Migration,
} from '../../support/live-migration.js';
import { until } from '../../support/until.js';

const schema = `create table item ("the id" int, part text, body text, primary key (part, "the id"));
  create table other (id int primary key)`;

async function rows({ target }: Migration, table = 'item'): Promise<number> {
  const [row] = await target.sql(`select count(*) as n from ${table}`);
  return Number(row?.['n']);
}

/** A stream that has applied something and was stopped. */
async function stoppedStream(): Promise<Migration & AsyncDisposable> {
  const migration = await openMigration({ schema, onBoth: true });
  await setupStream(migration);
  await migration.source.sql(`insert into item select i, 'p', 'secret ' || i from generate_series(1, 10) i`);
  await setEndpos(migration);
  await succeed(migration, follow(migration));
  await setEndpos(migration, '0/0');
  expect(await rows(migration)).toBe(10);
  return migration;
}

test('a slot that was dropped while nobody looked is lost: exit 23, and only --restart helps', async () => {
  await using migration = await stoppedStream();
  await migration.source.sql(`select pg_drop_replication_slot('${slotOf(migration)}')`);
  const exit = await runToEnd(migration, follow(migration, '--resume'));
  expect(exit.code, exit.stderr).toBe(23);
  expect(exit.stderr).toMatch(/replication slot "\w+" does not exist on the source/);
  expect(exit.stderr).toMatch(/--restart/);

  // One of the same name that somebody made anew is not it: it begins later.
  await migration.source.sql(`insert into item values (11, 'p', 'in between')`);
  await migration.source.sql(`select pg_create_logical_replication_slot('${slotOf(migration)}', 'pgoutput')`);
  const other = await runToEnd(migration, follow(migration, '--resume'));
  expect(other.code, other.stderr).toBe(23);
  expect(other.stderr).toMatch(/stands at .* somebody else has acknowledged/);
  expect(await rows(migration)).toBe(10);
});

test('a copy that was killed takes no changes, whatever the sentinel says, until it is complete', async () => {
  await using migration = await openMigration({
    schema: `${schema}; insert into other select generate_series(1, 100);
      insert into item select i, 'p', 'copied' from generate_series(1, 100) i`,
  });
  const { source, target } = migration;
  const line = cloneFollow(migration, '--no-owner');
  await using killed = run(migration, [...line, '--table-jobs', '1'], {
    WALFERRY_FAILPOINT: 'clone.table-recorded',
  });
  expect((await killed.exit).signal).toBe('SIGKILL');
  await source.sql(`insert into other values (101); insert into item values (101, 'p', 'followed')`);
  await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
  // Far away: one before the later snapshot, which the copy is gone on with, would be refused.
  await setEndpos(migration, 'FFFF/0');
  for (const command of [follow(migration, '--resume'), ['stream', 'catchup']]) {
    const refused = await runToEnd(migration, command);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/the copy in .* is not complete/),
    ]);
  }
  expect((await rows(migration)) + (await rows(migration, 'other'))).toBe(100);

  await using going = run(migration, [...line, '--resume']);
  await going.waitForOutput(/the tables that are left are copied/);
  await setEndpos(migration);
  expect((await going.exit).code, going.stderr).toBe(0);
  await expectEqual(source, target);
});

test('a clone that was killed behind its copy is gone on with by a clone alone: others would leave its foreign keys away', async () => {
  await using migration = await openMigration({
    schema: `${schema}; alter table item add constraint of_other foreign key ("the id") references other;
      insert into other values (1); insert into item values (1, 'p', 'copied')`,
  });
  const { source, target } = migration;
  const line = cloneFollow(migration, '--no-owner');
  await using killed = run(migration, line);
  await killed.waitForOutput(/applying changes from/);
  killed.kill('SIGKILL');
  await killed.exit;
  await source.sql(`insert into other values (2); insert into item values (2, 'p', 'followed')`);
  await setEndpos(migration);
  for (const command of [follow(migration, '--resume'), ['stream', 'catchup']]) {
    const refused = await runToEnd(migration, command);
    expect(refused.code, refused.stderr).toBe(1);
    expect(refused.stderr).toMatch(/has not completed the target: foreign keys/);
  }
  // Whoever only receives may do so.
  await succeed(migration, ['stream', 'prefetch', '--slot-name', slotOf(migration)]);

  await succeed(migration, [...line, '--resume']);
  await expectEqual(source, target);
  const keys = await target.sql(`select conname from pg_constraint where contype = 'f'`);
  expect(keys).toEqual([{ conname: 'of_other' }]);
});

test('a slot that somebody else has moved on is refused: what lies between is nowhere', async () => {
  await using migration = await stoppedStream();
  const { source } = migration;
  await source.sql(`insert into item values (11, 'p', 'in between')`);
  await source.sql(`select pg_replication_slot_advance('${slotOf(migration)}', pg_current_wal_insert_lsn())`);
  const exit = await runToEnd(migration, follow(migration, '--resume'));
  expect(exit.code, exit.stderr).toBe(23);
  expect(exit.stderr).toMatch(
    /stands at .*, but the work directory holds changes only up to .* and the target up to/,
  );
  expect(await rows(migration)).toBe(10);
});

test('a row that is missing on the target stops the stream; put back, it goes on to equality', async () => {
  await using migration = await stoppedStream();
  const { source, target } = migration;
  await target.sql(`delete from item where "the id" = 4`);
  await source.sql(`insert into other values (1)`);
  const [{ xid } = {}] = await source.sql(
    `begin; insert into other values (2); update item set body = 'secret too' where "the id" in (3, 4, 5);
     select txid_current()::text as xid`,
  );
  await source.sql('commit; insert into other values (3)');
  await setEndpos(migration);

  // It says which row of which table in which transaction, and no value of it but the key.
  for (let time = 1; time <= 2; time++) {
    const exit = await runToEnd(migration, follow(migration, '--resume'));
    expect(exit.code, exit.stderr).toBe(7);
    expect(exit.stderr).toMatch(
      new RegExp(
        `update of public\\.item where .*part = 'p' and the id = '4' of transaction ${xid} \\(commit .*\\) found no row`,
      ),
    );
    expect(exit.stderr).toMatch(/Put the row back/);
    expect(exit.stderr).not.toMatch(/secret/);
    // Nothing of that transaction is there, nor of a later one; everything earlier is.
    expect(await target.sql('select id from other')).toEqual([{ id: '1' }]);
    expect(await target.sql(`select 1 from item where body = 'secret too'`)).toEqual([]);
  }

  await target.sql(`insert into item values (4, 'p', 'secret 4')`);
  await succeed(migration, follow(migration, '--resume'));
  await expectEqual(source, target);
});

test('a row that is there already, and a table that is not, are told and not stepped over', async () => {
  await using migration = await stoppedStream();
  const { source, target } = migration;
  await target.sql(`insert into item values (11, 'p', 'somebody else''s')`);
  await source.sql(`insert into item values (11, 'p', 'the stream''s')`);
  await setEndpos(migration);
  const twice = await runToEnd(migration, follow(migration, '--resume'));
  expect(twice.code, twice.stderr).toBe(7);
  expect(twice.stderr).toMatch(/insert of public\.item of transaction \d+ .*item_pkey/);
  expect(twice.stderr).not.toMatch(/stream's|else's/);
  await target.sql(`delete from item where "the id" = 11`);

  await target.sql('alter table other rename to another');
  await source.sql('insert into other values (1)');
  await setEndpos(migration);
  const missing = await runToEnd(migration, follow(migration, '--resume'));
  expect(missing.code, missing.stderr).toBe(7);
  expect(missing.stderr).toMatch(/public\.other/);
  expect(await rows(migration, 'another')).toBe(0);

  await target.sql('alter table another rename to other');
  await succeed(migration, follow(migration, '--resume'));
  await expectEqual(source, target);
});

test('a position row that somebody moves is noticed, and nothing is applied over it', async () => {
  await using migration = await stoppedStream();
  const { source, target } = migration;
  await using following = run(migration, follow(migration, '--resume'));
  await following.waitForOutput(/applying changes from/);
  await source.sql(`insert into other values (1)`);
  await until('it is applied', async () => (await rows(migration, 'other')) === 1);

  const before = await appliedPosition(migration);
  await target.sql(`update walferry.position set lsn = lsn + 8`);
  await source.sql(`insert into other values (2)`);
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(7);
  expect(exit.stderr).toMatch(/position of the stream "walferry" was moved to .* by somebody else/);
  expect(await rows(migration, 'other')).toBe(1);

  // Put back, it goes on.
  await target.sql(`update walferry.position set lsn = '${before ?? ''}'`);
  await setEndpos(migration);
  await succeed(migration, follow(migration, '--resume'));
  await expectEqual(source, target);
});

test('a second applier on the same target, from another directory, does no harm', async () => {
  await using migration = await stoppedStream();
  const { source, target } = migration;
  await using first = run(migration, follow(migration, '--resume'));
  await first.waitForOutput(/applying changes from/);
  await source.sql('insert into other select generate_series(1, 100)');
  await until('it is applied', async () => (await rows(migration, 'other')) === 100);

  // The slot lets only one in.
  await using elsewhere = await openMigration();
  const second = await runToEnd({ ...migration, directory: elsewhere.directory }, follow(migration));
  expect(second.code, second.stderr).toBe(6);
  expect(second.stderr).toMatch(/replication slot "\w+" exists/);

  await source.sql('insert into other select generate_series(101, 200)');
  await setEndpos(migration);
  expect((await first.exit).code, first.stderr).toBe(0);
  await expectEqual(source, target);
});
