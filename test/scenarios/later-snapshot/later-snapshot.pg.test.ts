/**
 * The copy of `clone --follow` dies, and nobody holds its snapshot. The line with --resume copies the tables that are
 * left from a later snapshot, and leaves out of the stream what that snapshot saw, table by table.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { pluginNames } from '../../../src/model/plugin.js';
import { startServer } from '../../support/clusters.js';
import { contents, expectEqual, expectLedger } from '../../support/equal.js';
import {
  cloneFollow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  slotOf,
  type Migration,
} from '../../support/live-migration.js';
import { startLoad } from '../../support/load.js';
import { copyOptions, schema, touchAll } from './tables.js';

const diesAt = (failpoint: string) => ({ WALFERRY_FAILPOINT: failpoint });

async function expectDeath(
  migration: Migration,
  command: readonly string[],
  failpoint: string,
): Promise<void> {
  const death = await runToEnd(migration, command, diesAt(failpoint));
  expect(death.signal, death.stderr).toBe('SIGKILL');
}

/** Of how many later snapshots the target has tables, as its own records say. */
async function generations({ target }: Migration): Promise<string[]> {
  const rows = await target.sql(
    'select distinct generation::text as number from walferry.task where generation is not null order by 1',
  );
  return rows.map((row) => row['number'] ?? '');
}

describe('goes on from a later snapshot', () => {
  // Their own: whoever makes a slot on the same one waits for the transaction that stays open.
  let sourceServer: Awaited<ReturnType<typeof startServer>>;
  beforeAll(async () => {
    sourceServer = await startServer('source');
    return () => sourceServer[Symbol.asyncDispose]();
  });

  test.each(pluginNames)('with %s, killed twice in the copy under load', async (plugin) => {
    await using migration = await openMigration({
      schema,
      sourceServer,
      role: plugin === 'pgoutput' ? 'owner' : 'superuser',
    });
    const { source, target } = migration;
    const clone = cloneFollow(migration, ...copyOptions, '--plugin', plugin);
    const load = await startLoad(source, 2, 2);

    // Given a run that dies with a part of the large table copied, and a transaction that is open ever since.
    await expectDeath(migration, clone, 'clone.table-committed:3');
    const open = await source.session();
    await open.sql(`begin; ${touchAll('open all the time')}`);
    await source.sql(
      `insert into emptied values (1000, 'gone'); truncate emptied; insert into emptied values (1, 'new')`,
    );

    // When it is resumed and dies again,
    const resume = [...clone, '--resume'];
    await expectDeath(migration, resume, 'clone.table-committed:2');
    await source.sql(`insert into shard values (1000, 'a', 'between'); update twins set n = 7 where n = 2`);

    // and is resumed once more,
    await using resumed = run(migration, resume);
    await resumed.waitForOutput(/the tables that are left are copied as they are at/);
    await open.sql('commit');
    await resumed.waitForOutput(/applying changes from/);
    await source.sql(touchAll('while it was applied'));
    await load.stop();
    await setEndpos(migration);
    const { code } = await resumed.exit;

    // then both sides are equal, although the target has tables of three moments.
    expect(code, resumed.stderr).toBe(0);
    await expectEqual(source, target);
    await expectLedger(target);
  });

  test('and copies a table that was there in part again, whole, and no other', async () => {
    await using migration = await openMigration({ schema });
    const { source, target } = migration;
    const clone = cloneFollow(migration, ...copyOptions);
    await expectDeath(migration, clone, 'clone.table-committed:2');
    const whole = `select name, xmin::text as writer from walferry.task where name like 'copy "%' and name !~ ' part ' order by 1`;
    const before = await target.sql(whole);
    await source.sql(touchAll('meanwhile'));

    await using resumed = run(migration, [...clone, '--resume']);
    await resumed.waitForOutput(/applying changes from/);
    expect(resumed.stderr).toContain('public.large was copied in part from the snapshot that is gone');
    expect(await target.sql(whole.replace(' order', ' and generation is null order'))).toEqual(before);
    expect(await generations(migration)).toEqual(['1']);
    await setEndpos(migration);
    expect((await resumed.exit).code, resumed.stderr).toBe(0);
    await expectEqual(source, target);
  });

  test('with the large objects that are not there yet', async () => {
    const objects = `select lo_from_bytea(50000 + i, convert_to('object ' || i, 'UTF8')) from generate_series(1, 300) i`;
    await using migration = await openMigration({ schema: `${schema}; ${objects}` });
    const { source, target } = migration;
    const clone = cloneFollow(migration, ...copyOptions);
    await expectDeath(migration, clone, 'clone.large-objects-committed:1');
    await source.sqlAsOwner(`
      select lo_unlink(50001);
      select lo_from_bytea(49000, 'before the first'), lo_from_bytea(60000, 'behind the last')`);

    await using resumed = run(migration, [...clone, '--resume']);
    await resumed.waitForOutput(/applying changes from/);
    await setEndpos(migration);
    expect((await resumed.exit).code, resumed.stderr).toBe(0);
    await expectEqual(source, target);
    const contents = `select oid, encode(lo_get(oid), 'hex') as bytes from pg_largeobject_metadata where oid <> 50001 order by oid`;
    const onSource = await source.sql(contents);
    expect(onSource).toHaveLength(301);
    expect(await target.sql(contents)).toEqual(onSource);
  });

  test('not where columns of a table that is left were altered', async () => {
    await using migration = await openMigration({ schema });
    const { source, target } = migration;
    const clone = cloneFollow(migration, ...copyOptions);
    await expectDeath(migration, clone, 'clone.table-committed:1');
    const half = await contents(target);
    await source.sqlAsOwner(
      'alter table twins add column more text; alter table account add column more text',
    );

    const refused = await runToEnd(migration, [...clone, '--resume']);
    expect(refused.code, refused.stderr).toBe(6);
    expect(refused.stderr).toMatch(
      /columns of tables that are not copied yet were altered .*public\.account, public\.twins|public\.twins, public\.account/,
    );
    expect(refused.stderr).toContain('--restart');
    expect(await contents(target)).toEqual(half);
  });

  test('not to an end position before it, and on to a later one', async () => {
    await using migration = await openMigration({ schema });
    const { source, target } = migration;
    const clone = cloneFollow(migration, ...copyOptions);
    await expectDeath(migration, clone, 'clone.table-committed:1');
    const early = await setEndpos(migration);
    await source.sql(touchAll('behind the end'));

    const refused = await runToEnd(migration, [...clone, '--resume']);
    expect(refused.code, refused.stderr).toBe(6);
    expect(refused.stderr).toContain(`is behind the end position ${early}`);
    expect(await generations(migration)).toEqual([]);

    // Set back once the copy is there, it is refused as well, before anything ends there.
    await setEndpos(migration, '0/0');
    await expectDeath(migration, [...clone, '--resume'], 'clone.copied');
    for (const tooEarly of [early, '0/1']) {
      await setEndpos(migration, tooEarly);
      // Twice: what it has applied by then makes no end of it.
      for (const _ of [1, 2]) {
        const stopped = await runToEnd(migration, [...clone, '--resume']);
        expect(stopped.code, stopped.stderr).toBe(1);
        expect(stopped.stderr).toMatch(new RegExp(`the end position ${tooEarly} cannot be reached`));
      }
    }

    await setEndpos(migration);
    const ended = await runToEnd(migration, [...clone, '--resume']);
    expect(ended.code, ended.stderr).toBe(0);
    await expectEqual(source, target);
  });
});

test('a stream whose copy had not begun is made anew', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  const clone = cloneFollow(migration, ...copyOptions);
  await expectDeath(migration, clone, 'clone.dumped');
  await source.sqlAsOwner(`create table younger (id int primary key); insert into younger values (1)`);

  await using resumed = run(migration, [...clone, '--resume']);
  await resumed.waitForOutput(/applying changes from/);
  expect(resumed.stderr).toContain('the stream is set up anew');
  await source.sqlAsOwner(`insert into younger values (2)`);
  await setEndpos(migration);
  expect((await resumed.exit).code, resumed.stderr).toBe(0);
  await expectEqual(source, target);
  expect(
    await source.sql(`select from pg_replication_slots where slot_name = '${slotOf(migration)}'`),
  ).toHaveLength(1);
});
