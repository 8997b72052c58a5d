import { expect, test } from 'vitest';
import { expectEqual, expectLedger } from '../../support/equal.js';
import { cloneFollow, openMigration, run, runToEnd, setEndpos } from '../../support/live-migration.js';
import { startLoad } from '../../support/load.js';
import { seededRandom, testSeed } from '../../support/random.js';
import { copyOptions, schema, touchAll } from './tables.js';

const failpoints = [
  'clone.table-copied',
  'clone.table-committed',
  'clone.table-recorded',
  'clone.index-built',
];

test('a copy that dies 25 times under heavy load, each time with its snapshot, ends with both sides equal', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  const random = seededRandom(testSeed('25 deaths of a copy'));
  const clone = cloneFollow(migration, ...copyOptions);
  const load = await startLoad(source, 4);

  let deaths = 0;
  for (let round = 0; round < 25; round++) {
    const place = failpoints[Math.floor(random() * failpoints.length)] ?? '';
    const passes = 1 + Math.floor(random() * 3);
    const command = round === 0 ? clone : [...clone, '--resume'];
    await using dying = run(migration, command, { WALFERRY_FAILPOINT: `${place}:${passes}` });
    await source.sql(touchAll(`round ${round}`));
    // Once all is copied it passes no failpoint any more, and follows.
    const died = await Promise.race([
      dying.exit.then(({ signal }) => signal === 'SIGKILL'),
      dying.waitForOutput(/applying changes from/).then(() => false),
    ]);
    if (!died) break;
    deaths += 1;
  }

  await load.stop();
  await setEndpos(migration);
  const last = await runToEnd(migration, [...clone, '--resume']);
  expect(last.code, last.stderr).toBe(0);
  await expectEqual(source, target);
  await expectLedger(target);
  process.stdout.write(`${deaths} deaths\n`);
  expect(deaths).toBeGreaterThan(3);
});
