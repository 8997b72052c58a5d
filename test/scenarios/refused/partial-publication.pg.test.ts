import { expect, test } from 'vitest';
import { runToEnd, openMigration, streamOptions } from '../../support/live-migration.js';

const schema = `
  create table t (id int primary key, a text);
  create table p (id int primary key) partition by list (id);
  create table p1 partition of p for values in (1);`;

test('a publication that carries less than is copied is refused, and says why', async () => {
  await using migration = await openMigration({ schema });
  const cases = [
    ['filtered', 'for table t where (id > 5)', 'has row filters or column lists'],
    ['columns', 'for table t (id)', 'has row filters or column lists'],
    ['inserts', `for table t with (publish = 'insert')`, 'does not publish every operation'],
    ['root', 'for table p with (publish_via_partition_root)', 'publishes partitions as their root'],
  ] as const;
  for (const [name, definition, reason] of cases) {
    await migration.source.sqlAsOwner(`create publication ${name} ${definition}`);
    const options = [...streamOptions(migration), '--publication', name];
    const exit = await runToEnd(migration, ['stream', 'setup', ...options]);
    expect([exit.code, exit.stderr]).toEqual([
      6,
      expect.stringContaining(`the publication "${name}" ${reason}`),
    ]);
  }
  const slots = `select slot_name from pg_replication_slots where database = current_database()`;
  expect(await migration.source.sql(slots)).toEqual([]);

  // One of whole tables is taken; what it leaves out is named.
  await migration.source.sqlAsOwner('create publication whole for table t');
  const options = [...streamOptions(migration), '--publication', 'whole'];
  const taken = await runToEnd(migration, ['stream', 'setup', ...options]);
  expect([taken.code, taken.stderr]).toEqual([0, expect.stringContaining('changes are lost: public.p1')]);
});
