import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { openMigration, runToEnd, streamOptions, type Migration } from '../../support/live-migration.js';

const schema = `
  create table t (id int primary key, a text, must text not null);
  create table everything (id int, a text);
  alter table everything replica identity full;
  create table keyless (id int) partition by list (id);
  create table keyless_1 partition of keyless for values in (1);
  alter table keyless_1 add primary key (id);
  create table p (id int primary key, other int not null) partition by list (id);
  create table p_1 partition of p for values in (1);
  create table p_2 partition of p for values in (2);
  create unique index p_2_other on p_2 (other);
  alter table p_2 replica identity using index p_2_other;
  create table q (id int primary key) partition by list (id);
  create table q_1 partition of q for values in (1);
  create table q_2 partition of q for values in (2);
  create table owner (id int primary key, region text not null, tag text unique);
  create table thing (id int primary key, owner int references owner, tag text references owner (tag));
  insert into owner values (1, 'eu', 'x'), (2, 'us', 'y');
  insert into thing values (1, 2, null);`;

async function setup(migration: Migration, publication: string) {
  const options = [...streamOptions(migration), '--publication', publication];
  return await runToEnd(migration, ['stream', 'setup', ...options]);
}

test('a publication that cannot be followed exactly is refused, and says why', async () => {
  await using migration = await openMigration({ schema });
  const cases = [
    ['inserts', `for table t with (publish = 'insert')`, 'does not publish every operation'],
    [
      'required',
      'for table t (id, a)',
      'public.t: its column list leaves out "must", NOT NULL without a default: no row could be inserted',
    ],
    [
      'unidentified',
      'for table t (a, must)',
      'public.t: its column list leaves out "id" of the replica identity',
    ],
    [
      'part_of_full',
      'for table everything (id)',
      'public.everything: its column list leaves out "a" of the replica identity',
    ],
    [
      'rootless',
      'for table keyless with (publish_via_partition_root)',
      'public.keyless: it publishes the partition public.keyless_1 under this name, which has no replica identity',
    ],
    [
      'mixed',
      'for table p with (publish_via_partition_root)',
      'public.p_2: it is published under the name of public.p, whose replica identity is another one',
    ],
  ] as const;
  for (const [name, definition, reason] of cases) {
    await migration.source.sqlAsOwner(`create publication ${name} ${definition}`);
    const exit = await setup(migration, name);
    expect([exit.code, exit.stderr]).toEqual([6, expect.stringContaining(reason)]);
  }

  // A filter file that leaves out one partition of a root.
  await migration.source.sqlAsOwner('create publication root for table q with (publish_via_partition_root)');
  const filters = `${migration.directory}-filters.ini`;
  await writeFile(filters, '[exclude-table]\npublic.q_2\n');
  const plan = ['clone', '--follow', '--plan', '--publication', 'root', '--filters', filters];
  const filtered = await runToEnd(migration, plan);
  expect([filtered.code, filtered.stderr]).toEqual([
    6,
    expect.stringContaining(
      'public.q: it publishes partitions under this name, and the filters leave out public.q_2',
    ),
  ]);

  const slots = `select slot_name from pg_replication_slots where database = current_database()`;
  expect(await migration.source.sql(slots)).toEqual([]);

  // One of whole tables is taken; what it leaves out is named.
  await migration.source.sqlAsOwner('create publication whole for table t, owner, thing');
  const taken = await setup(migration, 'whole');
  expect([taken.code, taken.stderr]).toEqual([0, expect.stringMatching(/changes are lost: .*public\.p_1/)]);
});

test('a foreign key to rows that are not published is refused before anything is copied', async () => {
  await using migration = await openMigration({ schema });
  await migration.source.sqlAsOwner(
    `alter table owner replica identity full; create publication eu for table owner where (region = 'eu'), thing`,
  );
  const command = ['clone', '--follow', '--no-owner', ...streamOptions(migration), '--publication'];
  const filtered = await runToEnd(migration, [...command, 'eu']);
  expect([filtered.code, filtered.stderr]).toEqual([
    12,
    expect.stringContaining(
      'foreign key thing_owner_fkey of public.thing cannot hold: rows that are published point at rows of public.owner that are not',
    ),
  ]);
  expect(await migration.target.sql(`select to_regclass('thing') as t`)).toEqual([{ t: null }]);
  expect(
    await migration.source.sql('select from pg_replication_slots where database = current_database()'),
  ).toEqual([]);

  // A key that the list does not carry is none that a row could point at; rows without a reference do no harm.
  await migration.source.sqlAsOwner(
    `alter table owner replica identity default; create publication narrow for table owner (id, region), thing;
     update thing set owner = 1`,
  );
  await runToEnd(migration, [...command, 'narrow', '--plan']).then(({ code, stderr }) =>
    expect(code, stderr).toBe(0),
  );
  await migration.source.sqlAsOwner(`update thing set tag = 'x'`);
  const narrow = await runToEnd(migration, [...command, 'narrow', '--plan']);
  expect([narrow.code, narrow.stderr]).toEqual([12, expect.stringContaining('foreign key thing_tag_fkey')]);
});

test('so is one to a partitioned table of which a part is published', async () => {
  const seats = `${schema}
    insert into q values (1), (2); create table seat (id int primary key, q int references q);
    insert into seat values (1, 1), (2, 2)`;
  await using migration = await openMigration({ schema: seats });
  await migration.source.sqlAsOwner(
    'create publication odd for table q where (id = 1), seat with (publish_via_partition_root)',
  );
  const command = ['clone', '--follow', '--plan', ...streamOptions(migration), '--publication', 'odd'];
  const refused = await runToEnd(migration, command);
  expect([refused.code, refused.stderr]).toEqual([
    12,
    expect.stringContaining('rows that are published point at rows of public.q that are not'),
  ]);

  await migration.source.sqlAsOwner('delete from seat where q = 2');
  const planned = await runToEnd(migration, command);
  expect(planned.code, planned.stderr).toBe(0);
});
