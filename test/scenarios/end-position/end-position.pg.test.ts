/**
 * The end position, wherever it falls: applied is every transaction that ends at or before it, and none other. Where
 * transactions end is told by a second slot, so that the claims rest on the server's word and not on ours.
 */
import { describe, expect, test } from 'vitest';
import { formatLsn, readLsn, type Lsn } from '../../../src/model/lsn.js';
import { insertPosition, watchCommits } from '../../support/commits.js';
import { startServer } from '../../support/clusters.js';
import type { TestDatabase } from '../../support/databases.js';
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
  streamOptions,
  succeed,
  type Migration,
} from '../../support/live-migration.js';
import { until } from '../../support/until.js';

/** Every row says by which transaction it was written. */
const schema = `create table entry (transaction int, row int, filler text, primary key (transaction, row))`;

/** An idle stream ends by a keepalive; the server sends one within a moment of our asking. */
const idleEndMs = 15_000;

/** What a person waits for at most for a catchup with nothing left to do, from its first line on. */
const catchupEndMs = 5000;

async function write(database: Pick<TestDatabase, 'sql'>, transaction: number, rows = 1): Promise<void> {
  await database.sql(
    `insert into entry select ${transaction}, i, repeat('x', 20) from generate_series(1, ${rows}) i`,
  );
}

/** Transaction and number of rows, as `1:1 3:5000`. */
async function applied({ target }: Migration): Promise<string> {
  const rows = await target.sql(
    `select string_agg(transaction || ':' || rows, ' ' order by transaction) as list
       from (select transaction, count(*) as rows from entry group by 1) as transactions`,
  );
  return rows[0]?.['list'] ?? '';
}

const lsn = (value: bigint) => formatLsn(value as Lsn);

describe('an end position', () => {
  // Sixteen runs of the program, one after the other.
  const timeout = 300_000;

  test(
    'before, inside, at the end of and between transactions: every one that ends by then, and none other',
    { timeout },
    async () => {
      await using migration = await openMigration({ schema, onBoth: true });
      const { source } = migration;
      const commits = await watchCommits(source);
      await setupStream(migration);

      // Given six transactions, the sixth of which begins before the fourth and ends last.
      const beforeAll = await insertPosition(source);
      await write(source, 1);
      await write(source, 2);
      await source.sql('begin');
      await write(source, 3, 2500);
      const insideTheThird = await insertPosition(source);
      await source.sql(
        `insert into entry select 3, i, repeat('x', 20) from generate_series(2501, 5000) i; commit`,
      );
      await using late = await source.session();
      await late.sql('begin');
      await write(late, 6);
      await write(source, 4);
      await write(source, 5);
      await source.sql(
        `select pg_logical_emit_message(false, 'test', 'room between the fifth and the sixth')`,
      );
      const afterTheFifth = await insertPosition(source);
      await source.sql(`select pg_logical_emit_message(false, 'test', 'more room')`);
      await late.sql('commit');
      const ends = (await commits()).map(({ endLsn }) => endLsn);
      const commitStarts = (await commits()).map(({ commitLsn }) => commitLsn);
      const end = (transaction: number) => ends[transaction - 1] ?? 0n;
      expect(ends).toHaveLength(6);

      // When the stream is run to one end position after the other, then exactly the transactions up to it are there.
      const three = '1:1 2:1 3:5000';
      const cases: readonly (readonly [where: string, endpos: string, transactions: string])[] = [
        ['before all', beforeAll, ''],
        ['at the end of the first', lsn(end(1)), '1:1'],
        ['one byte short of the end of the second', lsn(end(2) - 1n), '1:1'],
        ['at the start of the commit record of the second', lsn(commitStarts[1] ?? 0n), '1:1'],
        ['in the middle of the third', insideTheThird, '1:1 2:1'],
        ['inside of the commit record of the third', lsn(end(3) - 8n), '1:1 2:1'],
        ['at the end of the third', lsn(end(3)), three],
        ['one byte behind the end of the fourth', lsn(end(4) + 1n), `${three} 4:1`],
        ['after the fifth, in the middle of the sixth', afterTheFifth, `${three} 4:1 5:1`],
        ['at the end of the sixth', lsn(end(6)), `${three} 4:1 5:1 6:1`],
      ];
      for (const [index, [where, endpos, transactions]] of cases.entries()) {
        // Both ways to set it before a run.
        if (index % 2 === 0) {
          await setEndpos(migration, endpos);
          await succeed(migration, follow(migration, '--resume'));
        } else await succeed(migration, follow(migration, '--resume', '--endpos', endpos));
        expect(await applied(migration), where).toBe(transactions);
      }

      // And an end position that was passed before ends the run at once, well, and changes nothing.
      const again = await succeed(migration, follow(migration, '--resume', '--endpos', lsn(end(2))));
      expect(again.stderr).toMatch(/previously reached/);
      // The one from before is set back, which is said.
      expect(again.stderr).toMatch(/WARN .* is set back from \S+ to \S+, as --endpos says/);
      expect(await applied(migration)).toBe(cases.at(-1)?.[2]);
      await expectEqual(migration.source, migration.target);
    },
  );

  test('inside of a transaction ends catchup within 5 s, with nothing of it applied', async () => {
    await using migration = await openMigration({ schema, onBoth: true });
    const { source } = migration;
    await setupStream(migration);
    await write(source, 1);
    await source.sql('begin');
    await write(source, 2, 2500);
    const inside = await insertPosition(source);
    await source.sql(
      `insert into entry select 2, i, repeat('x', 20) from generate_series(2501, 5000) i; commit`,
    );
    await write(source, 3);

    // Whether the files end with a part of it, or hold all of it and more.
    await setEndpos(migration, inside);
    await succeed(migration, ['stream', 'prefetch', ...streamOptions(migration)]);
    for (const _ of ['a part', 'all']) {
      await using catchup = run(migration, ['stream', 'catchup']);
      await catchup.waitForOutput(/Running walferry/);
      const began = performance.now();
      const exit = await catchup.exit;
      expect(exit.code, exit.stderr).toBe(0);
      expect(performance.now() - began).toBeLessThan(catchupEndMs);
      expect(await applied(migration)).toBe('1:1');
      await setEndpos(migration);
      await succeed(migration, ['stream', 'prefetch', ...streamOptions(migration)]);
      await setEndpos(migration, inside);
    }
    await setEndpos(migration);
    await succeed(migration, ['stream', 'catchup']);
    expect(await applied(migration)).toBe('1:1 2:5000 3:1');
  });

  test('set while the stream runs, ahead of the source: the transactions up to it, and none other', async () => {
    // On a server of its own: what others write would go past the end position before it is set.
    await using sourceServer = await startServer('source');
    await using migration = await openMigration({ schema, onBoth: true, sourceServer });
    const { source } = migration;
    const commits = await watchCommits(source);
    await setupStream(migration);
    await using following = run(migration, follow(migration));
    await write(source, 1);
    await until('the first is applied', async () => (await applied(migration)) === '1:1');

    // When it is set to a place that the source has not written yet, and transactions of some size go past it,
    const endpos = readLsn(await insertPosition(source)) + 300_000n;
    expect(await setEndpos(migration, lsn(endpos))).toBe(lsn(endpos));
    let written = 1;
    while (readLsn(await insertPosition(source)) < endpos + 100_000n) {
      written += 1;
      await write(source, written, 150);
    }
    const exit = await following.exit;

    // then the run ends by itself with what ends by then.
    expect(exit.code, exit.stderr).toBe(0);
    expect(exit.stderr).toMatch(/endpos .* has been reached/);
    const seen = await commits();
    const last = seen.filter(({ endLsn }) => endLsn <= endpos).length;
    expect(seen.length).toBe(written);
    expect(last).toBeLessThan(written);
    const expected = Array.from({ length: last }, (_, i) => (i === 0 ? '1:1' : `${i + 1}:150`)).join(' ');
    expect(await applied(migration)).toBe(expected);
  });

  test('moved while the target is far behind the one that was received: what is behind it arrives', async () => {
    await using migration = await openMigration({ schema, onBoth: true });
    const { source, target } = migration;
    await setupStream(migration);
    await using following = run(migration, follow(migration));
    await write(source, 1);
    await until('the first is applied', async () => (await applied(migration)) === '1:1');

    // Given an applier that waits, behind a receiver that has reached the end position,
    await using locker = await target.session();
    await locker.sql('begin; lock table entry');
    await write(source, 2);
    const first = await setEndpos(migration);
    await following.waitForOutput(new RegExp(`received everything up to the end position ${first}`));

    // when it is moved,
    await write(source, 3);
    const second = await setEndpos(migration);
    await following.waitForOutput(new RegExp(`received everything up to the end position ${second}`));

    // or taken back and set once more,
    await setEndpos(migration, '0/0');
    await write(source, 4);
    const third = await setEndpos(migration);
    await following.waitForOutput(new RegExp(`received everything up to the end position ${third}`));
    await locker.sql('rollback');

    // then the run ends with everything up to the last.
    const exit = await following.exit;
    expect(exit.code, exit.stderr).toBe(0);
    expect(await applied(migration)).toBe('1:1 2:1 3:1 4:1');
  });

  test('of now, on an idle source: the run ends within seconds', async () => {
    await using migration = await openMigration({ schema, onBoth: true });
    const { source } = migration;
    await setupStream(migration);

    // Set while the stream runs and nothing happens,
    await using following = run(migration, follow(migration));
    await following.waitForOutput(/receiving changes from/);
    const endpos = await setEndpos(migration);
    const setAt = Date.now();
    const exit = await following.exit;
    expect(exit.code, exit.stderr).toBe(0);
    expect(Date.now() - setAt).toBeLessThan(idleEndMs);
    expect(readLsn((await appliedPosition(migration)) ?? '0/0')).toBeGreaterThanOrEqual(readLsn(endpos));

    // and before a run, to a place that nothing is written behind.
    await write(source, 1);
    await setEndpos(migration, await insertPosition(source));
    const startedAt = Date.now();
    await succeed(migration, follow(migration, '--resume'));
    expect(Date.now() - startedAt).toBeLessThan(idleEndMs);
    expect(await applied(migration)).toBe('1:1');
  });

  test('reached by clone --follow is not the end: a new one goes on from there', async () => {
    await using migration = await openMigration({
      schema: `${schema};
        create table parent (id int primary key);
        create table child (id int primary key, parent_id int references parent on delete cascade);
        create table audit (what text);
        create function audit() returns trigger language plpgsql as
          'begin insert into public.audit values (tg_op || coalesce(new.id, old.id)); return null; end';
        create trigger audit after insert or delete on child for each row execute function audit();
        insert into parent select generate_series(1, 5); insert into child select i, i from generate_series(1, 5) i`,
    });
    const { source, target } = migration;
    await using migrating = run(migration, cloneFollow(migration, '--no-owner'));
    await migrating.waitForOutput(/receiving changes from/);
    await write(source, 1);
    await setEndpos(migration);
    expect((await migrating.exit).code, migrating.stderr).toBe(0);
    await expectEqual(source, target);

    // Without a new end position there is nothing to do,
    await write(source, 2);
    const again = await runToEnd(migration, follow(migration, '--resume'));
    expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('previously reached')]);
    expect(await applied(migration)).toBe('1:1');

    // with one, its changes are applied to the complete target, where foreign keys and triggers stay quiet.
    await source.sql('delete from parent where id = 3; insert into parent values (9)');
    await source.sql('insert into child values (9, 9)');
    await setEndpos(migration);
    await succeed(migration, follow(migration, '--resume'));
    await expectEqual(source, target);
  });

  test('moved on before the target of a clone is complete: what is behind it arrives, also when the run is killed there', async () => {
    await using migration = await openMigration({
      schema: `${schema};
        create table note (id int primary key, entry int, row int, foreign key (entry, row) references entry)`,
    });
    const { source, target } = migration;
    const line = cloneFollow(migration, '--no-owner');
    {
      // Given a run that has reached its end position, and is killed before it has completed the target,
      await using killed = run(migration, line, { WALFERRY_FAILPOINT: 'follow.sequences-set' });
      await killed.waitForOutput(/applying changes from/);
      await write(source, 1);
      await setEndpos(migration);
      expect((await killed.exit).signal).toBe('SIGKILL');
    }

    // when it is moved, before the run goes on,
    await write(source, 2);
    await setEndpos(migration);
    await using locker = await target.session();
    await locker.sql('begin; lock table note');
    await using going = run(migration, [...line, '--resume']);
    await going.waitForOutput(/moved: the stream goes on/);
    await going.waitForOutput(/adding foreign keys/);

    // and once more while foreign keys are added,
    await write(source, 3);
    await setEndpos(migration);
    await until('the run has seen it', () => going.stderr.split('the stream goes on').length === 3);
    await locker.sql('rollback');

    // then everything up to the last of them is on the target.
    expect((await going.exit).code, going.stderr).toBe(0);
    expect(await applied(migration)).toBe('1:1 2:1 3:1');
    expect(going.stderr).not.toContain('WARN');

    // And moved when the target is complete it is told what that leaves out, until it is applied.
    await write(source, 4);
    await setEndpos(migration);
    const late = await succeed(migration, [...line, '--resume']);
    expect(late.stderr).toMatch(/when the target was complete.*follow --resume/);
    await succeed(migration, follow(migration, '--resume'));
    expect(await applied(migration)).toBe('1:1 2:1 3:1 4:1');
    expect((await succeed(migration, [...line, '--resume'])).stderr).not.toContain('WARN');
  });
});
