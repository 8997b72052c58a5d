/**
 * A transaction that is streamed while it runs and is larger than --max-journal-size: its changes lie in the transform
 * files until it ends, and what ends beside it must be applied all the same. The brake must not wait for what cannot
 * come.
 */
import { expect, test } from 'vitest';
import { expectEqual } from '../../support/equal.js';
import {
  follow,
  openMigration,
  run,
  setEndpos,
  setupStream,
  slotOf,
  streamOptions,
  succeed,
  type Migration,
} from '../../support/live-migration.js';
import { until } from '../../support/until.js';
import { streamEarly, streamingOf } from './weave.js';

const schema = `create table big (id int primary key, body text); create table small (id int primary key, body text)`;
const cap = ['--max-journal-size', '4 MB'];

/** About six megabytes in the transform files. */
const part = (nth: number) =>
  `insert into big select ${nth} * 6000 + i, repeat(md5(i::text), 32) from generate_series(0, 5999) i`;

const count = async ({ target }: Migration, table: string) =>
  Number((await target.sql(`select count(*) as n from ${table}`))[0]?.['n']);

test('in one process: small transactions pass it while it grows, and at its end it is applied whole', async () => {
  await using migration = await openMigration({ role: 'superuser', schema, onBoth: true });
  const { source, target } = migration;
  await streamEarly(source);
  await setupStream(migration);
  await using following = run(migration, follow(migration, '--resume', ...cap));
  await following.waitForOutput(/applying changes from/);
  await using large = await source.session();
  await using locker = await target.session();

  // Given a target that is locked, and a transaction that fills the files beyond their cap while it runs:
  await locker.sql('begin; lock table small in access exclusive mode');
  await source.sql(`insert into small values (0, 'before')`);
  await large.sql(`begin; ${part(0)}; ${part(1)}`);
  // what is committed and cannot be applied brakes it,
  await following.waitForOutput(/reading from the slot rests/);
  await locker.sql('rollback');
  // and once that is applied, it goes on.
  await following.waitForOutput(/reading from the slot goes on/);

  // When it grows to several times the cap, others that end meanwhile are applied,
  for (let nth = 1; nth <= 3; nth += 1) {
    await large.sql(part(nth + 1));
    await source.sql(`insert into small values (${nth}, 'beside')`);
    await until(`small ${nth} is applied`, async () => (await count(migration, 'small')) === nth + 1);
  }
  expect(await count(migration, 'big')).toBe(0);
  // and it is applied whole at its end.
  await large.sql('commit');
  await until('the large one is applied', async () => (await count(migration, 'big')) === 30_000);

  // One that is rolled back leaves nothing, and holds nobody up.
  await large.sql(`begin; ${part(10)}; ${part(11)}; rollback`);
  await source.sql(`insert into small values (100, 'after')`);
  await setEndpos(migration);
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(0);
  const { streamed } = await streamingOf(source, slotOf(migration));
  expect(streamed).toBeGreaterThanOrEqual(2);
  await expectEqual(source, target);
});

test('received in one process and applied in another, neither waits for the other for ever', async () => {
  await using migration = await openMigration({ role: 'superuser', schema, onBoth: true });
  const { source, target } = migration;
  await streamEarly(source);
  await setupStream(migration);
  await using receiving = run(migration, ['stream', 'receive', ...streamOptions(migration), ...cap]);
  await receiving.waitForOutput(/receiving changes from/);
  await using large = await source.session();
  await source.sql(`insert into small values (0, 'before')`);
  await large.sql(`begin; ${[0, 1, 2, 3].map(part).join('; ')}`);
  await receiving.waitForOutput(/reading from the slot rests/);
  await source.sql(`insert into small values (1, 'beside')`);
  await succeed(migration, ['stream', 'catchup', '--resume']);
  await receiving.waitForOutput(/reading from the slot goes on/);
  await large.sql('commit');
  await setEndpos(migration);
  let done = false;
  void receiving.exit.then(() => (done = true));
  await until('all is received', async () => {
    await succeed(migration, ['stream', 'catchup', '--resume']);
    return done;
  });
  expect((await receiving.exit).code, receiving.stderr).toBe(0);
  await succeed(migration, ['stream', 'catchup', '--resume']);
  await expectEqual(source, target);
});
