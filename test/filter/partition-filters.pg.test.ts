/** Filters that part a partitioned table, or take a key from under a foreign key: a schema that is right, or a sentence. */
import { expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { readFilters } from '../../src/filter/parse.js';
import { cloneFor } from '../clone/clone-for.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';

/** A partitioned table that others point at, one of its partitions partitioned again. */
const setup = `
  create table ref (id int primary key); insert into ref values (1), (2);
  create table part (id int, k int, r int references ref, primary key (id, k)) partition by list (k);
  create index part_r on part (r);
  create table part_1 partition of part for values in (1);
  create table part_2 partition of part for values in (2) partition by list (id);
  create table part_2a partition of part_2 for values in (1);
  create table part_2b partition of part_2 default;
  insert into part values (1, 1, 1), (1, 2, 2), (2, 2, null);
  create table other (id int, k int, foreign key (id, k) references part);
  create table direct (id int, k int, foreign key (id, k) references part_1);
  create table boss (id int, k int, foreign key (id, k) references part) partition by list (k);
  create table boss_1 partition of boss for values in (1); create table boss_2 partition of boss for values in (2);
  insert into other values (1, 2), (null, 1); insert into direct values (1, 1);
  insert into boss values (1, 1), (2, 2);
  create table mother (a int); create table daughter () inherits (mother);
  grant select on all tables in schema public to public`;

const relationsQuery = `
  select relname || case when relispartition or relkind in ('i', 'I') and exists (select from pg_inherits where inhrelid = c.oid)
      then ' of ' || (select inhparent::regclass from pg_inherits where inhrelid = c.oid) else '' end
    || case when not coalesce((select indisvalid from pg_index where indexrelid = c.oid), true) then ', invalid' else '' end as name
  from pg_class c where relnamespace = 'public'::regnamespace order by relname collate "C"`;

const keysQuery = `
  select conname || case when convalidated then '' else ', not valid' end as name from pg_constraint
  where contype = 'f' and conparentid = 0 and connamespace = 'public'::regnamespace order by 1`;

async function names(database: TestDatabase, query: string): Promise<(string | null | undefined)[]> {
  return (await database.sql(query)).map((row) => row['name']);
}

const otherKey = 'foreign key other_id_k_fkey of public.other';
const bossKey = 'foreign key boss_id_k_fkey of public.boss';
const directKey = 'foreign key direct_id_k_fkey of public.direct';
const inParts = 'cannot hold: rows of it point at partitions of public.part that are not copied';

test.each([
  ['[exclude-table]\npublic.part_2a', [`${otherKey} ${inParts}`]],
  ['[exclude-table]\npublic.part_2', [`${otherKey} ${inParts}`, `${bossKey} ${inParts}`]],
  ['[exclude-table-data]\npublic.part_2b', [`${bossKey} ${inParts}`]],
  [
    '[exclude-table-data]\npublic.part_1',
    [
      `${directKey} cannot hold: its rows point at public.part_1, whose rows are not copied`,
      `${bossKey} ${inParts}`,
    ],
  ],
  ['[include-only-table]\npublic.part_1\npublic.other', [`${otherKey} ${inParts}`]],
  [
    '[include-only-table]\npublic.daughter',
    [
      'public.daughter is to be copied, and cannot be made: it depends on public.mother (not in [include-only-table])',
    ],
  ],
])('%s is refused before anything is copied', async (filters, lines) => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(setup);
  await using run = await cloneFor(source, target);

  const failure: unknown = await run
    .clone({ filters: readFilters(filters, 'f') })
    .catch((error: unknown) => error);

  expect(failure).toBeInstanceOf(Failure);
  expect(failure).toMatchObject({ code: 'filter-mismatch' });
  expect(String(failure).split('\n').slice(1)).toEqual(lines);
  expect(await names(target, relationsQuery)).toEqual([]);
});

/** By the filter: what is not on the target, keys and relations, and what is there in another state. */
const possible: readonly (readonly [filters: string, lost: readonly string[], instead: readonly string[]])[] =
  [
    // Rows that point at nothing that is missing.
    [
      '[exclude-table]\npublic.part_2b\n[exclude-table-data]\npublic.boss_2',
      ['part_2b of part_2', 'part_2b_pkey of part_2_pkey', 'part_2b_r_idx of part_2_r_idx'],
      [],
    ],
    [
      '[exclude-table]\npublic.part_2b\npublic.boss_2',
      ['boss_2 of boss', 'part_2b of part_2', 'part_2b_pkey of part_2_pkey', 'part_2b_r_idx of part_2_r_idx'],
      [],
    ],
    ['[exclude-table-data]\npublic.part_1\npublic.boss_1\npublic.direct', [], []],
    // What is pointed at goes, and the key with it.
    ['[exclude-table]\npublic.ref', ['part_r_fkey', 'ref', 'ref_pkey'], []],
    [
      '[exclude-table]\npublic.part_1\n[exclude-table-data]\npublic.boss',
      ['direct_id_k_fkey', 'part_1 of part', 'part_1_pkey of part_pkey', 'part_1_r_idx of part_r'],
      [],
    ],
    // A key of which a part is missing is not valid, and nothing points at it.
    [
      '[exclude-index]\npublic.part_1_pkey',
      ['boss_id_k_fkey', 'direct_id_k_fkey', 'other_id_k_fkey', 'part_1_pkey of part_pkey', 'part_pkey'],
      ['part_pkey, invalid'],
    ],
    [
      '[exclude-index]\npublic.part_2_pkey',
      [
        'boss_id_k_fkey',
        'other_id_k_fkey',
        'part_2_pkey of part_pkey',
        'part_2a_pkey of part_2_pkey',
        'part_2b_pkey of part_2_pkey',
        'part_pkey',
      ],
      ['part_pkey, invalid'],
    ],
    [
      '[exclude-index]\npublic.part_pkey',
      [
        'boss_id_k_fkey',
        'direct_id_k_fkey',
        'other_id_k_fkey',
        'part_1_pkey of part_pkey',
        'part_2_pkey of part_pkey',
        'part_2a_pkey of part_2_pkey',
        'part_2b_pkey of part_2_pkey',
        'part_pkey',
      ],
      [],
    ],
    ['[exclude-index]\npublic.part_1_r_idx', ['part_1_r_idx of part_r', 'part_r'], ['part_r, invalid']],
    ['[exclude-table]\npublic.mother', ['daughter', 'mother'], []],
  ];

test.each(possible)('%s makes everything else', async (filters, lost, instead) => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(setup);
  await using run = await cloneFor(source, target);

  const summary = await run.clone({ filters: readFilters(filters, 'f') });

  expect([summary.problems, run.said]).toEqual([[], []]);
  const all = async (database: TestDatabase) => [
    ...(await names(database, keysQuery)),
    ...(await names(database, relationsQuery)),
  ];
  const [there, here] = [await all(source), await all(target)];
  expect(new Set(there.filter((name) => !here.includes(name)))).toEqual(new Set(lost));
  expect(here.filter((name) => !there.includes(name))).toEqual(instead);
});

test('what is left out need not be readable for that', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sqlAsOwner(setup);
  await source.sql('alter table part_2a owner to postgres; revoke all on part_2a from public');
  await using run = await cloneFor(source, target, { as: 'owner' });

  const failure: unknown = await run
    .clone({ filters: readFilters('[exclude-table]\npublic.part_2a', 'f') })
    .catch((error: unknown) => error);

  expect(String(failure)).toContain(`${otherKey} ${inParts}`);
});
