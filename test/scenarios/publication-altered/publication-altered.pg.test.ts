/**
 * A publication that is altered while a run goes on: what it leaves out from then on the stream does not tell of, so that
 * everything would look complete.
 */
import { expect, test } from 'vitest';
import {
  cloneFollow,
  follow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  setupStream,
  slotOf,
  streamOptions,
  type Migration,
} from '../../support/live-migration.js';
import type { WalferryProcess } from '../../support/walferry.js';
import { anyLag, draining, expectFollows, followed, heldUpInDrain, shopSchema } from '../cutover/shop.js';

const schema = `create table item (id int primary key, note text); create table keyless (note text);
  create table gone (id int primary key)`;

/** A run that has looked at the publication once, and will not again for a minute. */
async function following(migration: Migration): Promise<WalferryProcess> {
  await setupStream(migration);
  const process = run(migration, [...follow(migration, '--resume'), '--debug']);
  await process.waitForOutput(/the stream carries what it began with/);
  return process;
}

test.each<[string, (publication: string) => string, RegExp]>([
  ['a table is taken out', (name) => `alter publication ${name} drop table item`, /public\.item/],
  [
    'a table is taken out and put in again',
    (name) => `alter publication ${name} drop table item; alter publication ${name} add table item`,
    /public\.item/,
  ],
  [
    'a table is published in part',
    (name) => `alter publication ${name} set table item where (id > 5), gone`,
    /public\.item/,
  ],
  [
    'fewer operations are published',
    (name) => `alter publication ${name} set (publish = 'insert')`,
    /publishes insert, .* insert, update, delete, truncate/,
  ],
  [
    'fewer operations are published for a moment',
    (name) =>
      `alter publication ${name} set (publish = 'insert'); alter publication ${name} set (publish = 'insert, update, delete, truncate')`,
    /was altered, and altered back/,
  ],
  [
    'the one of tables without a key',
    (name) => `alter publication ${name}_inserts set (publish = 'truncate')`,
    /_inserts" publishes truncate, /,
  ],
])('%s: a run that reaches its end position does not end well', async (_what, alter, says) => {
  await using migration = await openMigration({ schema, onBoth: true });
  const { source } = migration;
  await using process = await following(migration);
  await source.sql(`insert into item values (1, 'one')`);
  await source.sqlAsOwner(alter(slotOf(migration)));
  await setEndpos(migration);
  const exit = await process.exit;
  expect([exit.code, exit.stderr]).toEqual([23, expect.stringMatching(says)]);
});

test('what loses nothing ends nothing: a table that is dropped, one that is put in, another owner', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  const { source, target } = migration;
  await using process = await following(migration);
  const name = slotOf(migration);
  await source.sqlAsOwner(`drop table gone; create table more (id int primary key)`);
  await target.sqlAsOwner('create table more (id int primary key)');
  await source.sqlAsOwner(`alter publication ${name} add table more; insert into more values (1)`);
  await source.sql(`alter publication ${name} owner to postgres`);
  await setEndpos(migration);
  const exit = await process.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect(await target.sql('select id from more')).toEqual([{ id: '1' }]);
});

test('a run that begins, or only receives, says it as well', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await setupStream(migration);
  await migration.source.sqlAsOwner(`alter publication ${slotOf(migration)} drop table item`);
  const begun = await runToEnd(migration, follow(migration, '--resume'));
  expect([begun.code, begun.stderr]).toEqual([23, expect.stringMatching(/public\.item/)]);
  const prefetch = await runToEnd(migration, ['stream', 'prefetch', ...streamOptions(migration)]);
  expect([prefetch.code, prefetch.stderr]).toEqual([23, expect.stringMatching(/public\.item/)]);
});

test('a publication of somebody else', async () => {
  await using migration = await openMigration({
    schema: `${schema}; create publication part for table item (id)`,
  });
  const { source } = migration;
  await using process = run(
    migration,
    cloneFollow(migration, '--no-owner', '--publication', 'part', '--debug'),
  );
  await process.waitForOutput(/the stream carries what it began with/);
  await process.waitForOutput(/applying changes from/);
  await source.sqlAsOwner('alter publication part set table item where (id > 5)');
  await setEndpos(migration);
  const exit = await process.exit;
  expect([exit.code, exit.stderr]).toEqual([23, expect.stringMatching(/publishes other .*public\.item/)]);
});

test('a cutover freezes nothing, and is undone where it comes meanwhile', { timeout: 120_000 }, async () => {
  await using migration = await openMigration({ schema: shopSchema });
  const { source } = migration;
  const name = slotOf(migration);
  {
    await using process = await followed(migration);
    await expectFollows(migration);
    const blocker = await heldUpInDrain(migration);
    await using cutting = run(migration, ['cutover', ...anyLag]);
    await cutting.waitForOutput(draining);
    await source.sql('set default_transaction_read_only to off');
    await source.sql(`alter publication ${name} drop table item`);
    await blocker.end();
    await blocker[Symbol.asyncDispose]();
    const exit = await cutting.exit;
    expect([exit.code, exit.stderr]).toEqual([23, expect.stringMatching(/public\.item.*\n.*was undone/)]);
    process.kill('SIGTERM');
    await process.exit;
  }
  const plan = await runToEnd(migration, ['cutover', ...anyLag, '--dry-run']);
  expect([plan.code, plan.stdout]).toEqual([12, expect.stringMatching(/BLOCK .*public\.item/)]);
});
