/**
 * kill -9 again and again while the stream is followed under load, each time after a random while, and each time the
 * same line with --resume. Most fall into the work, counted from where changes begin to be applied, so that a slow
 * machine meets them too; the others anywhere, into the start.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { expectEqual, expectLedger } from '../../support/equal.js';
import { cloneFollow, openMigration, run, setEndpos } from '../../support/live-migration.js';
import { ledgerSchema, startLoad } from '../../support/load.js';
import { seededRandom, testSeed } from '../../support/random.js';

export type Kills = {
  readonly kills: number;
  readonly clients: number;
  readonly pauseMs: number;
  /** How long a run lives at most, after its start or after it began to apply. */
  readonly longestLifeMs: number;
};

export async function killAgainAndAgain({ kills, clients, pauseMs, longestLifeMs }: Kills): Promise<void> {
  await using migration = await openMigration({ schema: ledgerSchema });
  const { source, target } = migration;
  const random = seededRandom(testSeed(`${kills} kills at random`));

  // Given a database that is written to all the time, and whose copy is complete,
  const load = await startLoad(source, clients, pauseMs);
  await using first = run(migration, cloneFollow(migration, '--no-owner'));
  await first.waitForOutput(/applying changes from/);

  // when the run is killed, and killed again,
  first.kill();
  await first.exit;
  let working = 0;
  for (let death = 1; death < kills; death++) {
    await using resumed = run(migration, cloneFollow(migration, '--no-owner', '--resume'));
    if (random() < 0.7) await resumed.waitForOutput(/applying changes from/);
    await sleep(random() * longestLifeMs);
    resumed.kill();
    const exit = await resumed.exit;
    expect(exit.signal, exit.stderr).toBe('SIGKILL');
    if (exit.stderr.includes('applying changes from')) working += 1;
  }

  // and at last left alone,
  await using last = run(migration, cloneFollow(migration, '--no-owner', '--resume'));
  await last.waitForOutput(/applying changes from/);
  const transactions = await load.stop();
  await setEndpos(migration);
  const exit = await last.exit;

  // then nothing is lost and nothing is doubled.
  expect(exit.code, exit.stderr).toBe(0);
  await expectEqual(source, target);
  await expectLedger(target);
  process.stdout.write(`${working + 1} of ${kills} kills met a run at work; ${transactions} transactions\n`);
  expect(working + 1, 'kills that met a run at work').toBeGreaterThan(kills / 3);
}
