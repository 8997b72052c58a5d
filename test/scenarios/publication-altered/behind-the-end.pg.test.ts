/**
 * What becomes of the publications, or of the source, when everything up to the end position is received: nothing before
 * it is lost any more, however long the target still needs.
 */
import { expect, test } from 'vitest';
import { startServer } from '../../support/clusters.js';
import {
  appliedPosition,
  follow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  setupStream,
  slotOf,
  type Migration,
} from '../../support/live-migration.js';
import { until } from '../../support/until.js';

const schema = 'create table item (id int primary key)';

/** A run that is held up on the target, and has looked at the publications at its end position. */
async function heldUp(migration: Migration) {
  await setupStream(migration);
  const locker = await migration.target.session();
  await locker.sql('begin; lock table item');
  const following = run(migration, [...follow(migration), '--debug']);
  const dispose = async () => {
    await following[Symbol.asyncDispose]();
    await locker[Symbol.asyncDispose]();
  };
  try {
    await following.waitForOutput(/receiving changes from/);
    await migration.source.sql('insert into item values (1)');
    const endpos = await setEndpos(migration);
    await following.waitForOutput(new RegExp(`carried everything up to the end position ${endpos}`));
  } catch (error) {
    await dispose();
    throw error;
  }
  const goOn = () => locker.sql('rollback');
  return { following, goOn, [Symbol.asyncDispose]: dispose };
}

const applied = ({ target }: Migration) => target.sql('select id from item order by id');

async function takeOut({ source }: Migration, slot: string): Promise<void> {
  await source.sqlAsOwner(`alter publication ${slot} drop table item`);
}

test('a source that is gone: what was received of it is applied, and the run ends well', async () => {
  await using sourceServer = await startServer('source');
  await using migration = await openMigration({ schema, onBoth: true, sourceServer });
  await using held = await heldUp(migration);
  await sourceServer.cluster.stop('immediate');
  await held.goOn();
  const { code, stderr } = await held.following.exit;
  expect(code, stderr).toBe(0);
  expect(await applied(migration)).toEqual([{ id: '1' }]);
  // Its database is dropped.
  await sourceServer.cluster.start();
});

test('a source that is gone before the end position is set: the run ends well, and says what it could not look at', async () => {
  await using sourceServer = await startServer('source');
  await using migration = await openMigration({ schema, onBoth: true, sourceServer });
  await setupStream(migration);
  await using following = run(migration, follow(migration));
  await following.waitForOutput(/receiving changes from/);
  await migration.source.sql('insert into item values (1)');
  await until('it is applied', async () => (await applied(migration)).length === 1);
  await sourceServer.cluster.stop('immediate');
  await following.waitForOutput(/connecting again/);
  await setEndpos(migration, (await appliedPosition(migration)) ?? '');
  const { code, stderr } = await following.exit;
  expect([code, stderr]).toEqual([0, expect.stringMatching(/WARN .*could not be looked whether/)]);
  // Its database is dropped.
  await sourceServer.cluster.start();
});

test('a publication that is altered: the run ends well', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await using held = await heldUp(migration);
  await takeOut(migration, slotOf(migration));
  await held.goOn();
  const { code, stderr } = await held.following.exit;
  expect(code, stderr).toBe(0);
  expect(await applied(migration)).toEqual([{ id: '1' }]);
});

test('a publication that is altered, and a run that is killed: the next one ends well', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  {
    await using _held = await heldUp(migration);
    await takeOut(migration, slotOf(migration));
  }
  const { code, stderr } = await runToEnd(migration, follow(migration, '--resume'));
  expect(code, stderr).toBe(0);
  expect(await applied(migration)).toEqual([{ id: '1' }]);
});

test('a publication that is altered: a stream that goes on from there loses what comes next, and says so', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await using held = await heldUp(migration);
  await takeOut(migration, slotOf(migration));
  await migration.source.sql('insert into item values (2)');
  await setEndpos(migration);
  const { code, stderr } = await held.following.exit;
  expect([code, stderr]).toEqual([23, expect.stringMatching(/public\.item/)]);
});
