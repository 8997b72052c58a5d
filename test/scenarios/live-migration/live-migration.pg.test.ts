import { describe, expect, test } from 'vitest';
import { createDatabase } from '../../support/databases.js';
import { temporaryDirectory } from '../../support/directory.js';
import { expectEqual } from '../../support/equal.js';
import {
  cloneFollow,
  run,
  runToEnd,
  hasApplied,
  setEndpos,
  type Migration,
} from '../../support/live-migration.js';
import { ledgerSchema, startLoad } from '../../support/load.js';
import { until } from '../../support/until.js';

describe.each(['owner', 'superuser'] as const)('a live migration as %s', (role) => {
  test('ends with both sides equal', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using directory = await temporaryDirectory();
    await source.sqlAsOwner(ledgerSchema);
    const migration: Migration = { source, target, directory: directory.path, role };

    // Given a database that is written to all the time.
    const load = await startLoad(source, 3);
    await using migrating = run(migration, cloneFollow(migration, '--no-owner'));

    // When it is copied and followed, the writers stop, and the end position is set from a second process.
    await migrating.waitForOutput(/applying changes from/);
    await until('some were', () => hasApplied(migration));
    const written = await load.stop();
    await setEndpos(migration);
    const exit = await migrating.exit;

    // Then the run has ended by itself, and both sides hold the same.
    expect(exit.stderr).not.toMatch(/ERROR/);
    expect(exit.code).toBe(0);
    expect(written).toBeGreaterThan(10);
    await expectEqual(source, target);
    expect(exit.stdout).toContain('Total Wall Clock Duration');

    // And what is printed to be run next finds this run.
    const inDirectory = `--dir ${directory.path}`;
    for (const next of [
      'cutover',
      'stream sentinel set endpos --current',
      'compare data',
      'stream cleanup',
    ]) {
      expect(exit.stderr).toContain(`walferry ${next} ${inDirectory}`);
    }

    // And what waits for the last change is there: foreign keys, sequences.
    const keys = `select count(*) from pg_constraint where contype = 'f' and convalidated`;
    expect(await target.sql(keys)).toEqual(await source.sql(keys));
    const sequence = `select last_value, is_called from journal_id_seq`;
    expect(await target.sql(sequence)).toEqual(await source.sql(sequence));

    // And run again, it has nothing to do.
    const again = await runToEnd(migration, cloneFollow(migration, '--no-owner'));
    expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('nothing to do')]);
  });
});
