import { describe, expect, test } from 'vitest';
import {
  alwaysIdentities,
  copyInStatement,
  copyOutStatement,
  isFrozen,
  maintenanceWorkMemKb,
  planClone,
  planForeignKeys,
} from '../../src/clone/plan.js';
import { WorkQueue } from '../../src/clone/work-queue.js';
import type { ForeignKeyFacts, IndexFacts, SourceSchema, TableFacts } from '../../src/postgres/schema.js';

function table(oid: number, changes: Partial<TableFacts> = {}): TableFacts {
  return {
    oid,
    schema: 'public',
    name: `t${oid}`,
    kind: 'table',
    persistence: 'permanent',
    partition: false,
    bytes: 0,
    estimatedRows: 0,
    replicaIdentity: 'default',
    identifiable: true,
    readable: true,
    filtered: false,
    owned: true,
    ...changes,
  };
}

function index(oid: number, tableOid: number, changes: Partial<IndexFacts> = {}): IndexFacts {
  return {
    oid,
    schema: 'public',
    name: `i${oid}`,
    tableOid,
    accessMethod: 'btree',
    definition: `CREATE INDEX i${oid}`,
    valid: true,
    tablespace: null,
    clustered: false,
    replicaIdentity: false,
    statistics: [],
    constraint: null,
    ...changes,
  };
}

function constraint(
  oid: number,
  type: 'primary' | 'unique' | 'exclusion',
  deferrable = false,
  deferred = false,
) {
  return { oid, name: `k${oid}`, type, definition: `DEF ${oid}`, deferrable, deferred };
}

function schema(changes: Partial<SourceSchema>): SourceSchema {
  return {
    serverVersion: 150000,
    encoding: 'UTF8',
    tables: [],
    columns: {},
    indexes: [],
    foreignKeys: [],
    viewRules: [],
    inheritedTriggers: [],
    publications: [],
    subscriptions: [],
    largeObjects: false,
    ...changes,
  };
}

describe('the plan of the tables', () => {
  test('largest first; partitioned parents hold no rows and are left to pg_restore, indexes and all', () => {
    const tables = [
      table(1, { bytes: 5 }),
      table(2, { bytes: 50 }),
      table(3, { kind: 'partitioned' }),
      table(4, { bytes: 5 }),
    ];
    const plan = planClone(schema({ tables, indexes: [index(30, 3), index(20, 2)] }));

    expect(plan.tables.map((one) => one.table.oid)).toEqual([2, 1, 4]);
    expect([...plan.ownIndexes]).toEqual([20]);
  });

  test.each([
    [constraint(9, 'primary'), ['add constraint "k9" primary key using index "i7"']],
    [constraint(9, 'unique', true), ['add constraint "k9" unique using index "i7" deferrable']],
    [
      constraint(9, 'unique', true, true),
      ['add constraint "k9" unique using index "i7" deferrable initially deferred'],
    ],
  ])('a key takes over the index that was built: %j', (key, expected) => {
    const plan = planClone(schema({ tables: [table(1)], indexes: [index(7, 1, { constraint: key })] }));

    expect(plan.tables[0]?.indexes.map((one) => one.name)).toEqual(['i7']);
    expect(plan.tables[0]?.finishing.map((step) => step.sql)).toEqual(
      expected.map((sql) => `alter table only "public"."t1" ${sql}`),
    );
    expect([...plan.ownConstraints]).toEqual([9]);
  });

  test.each([
    index(7, 1, { accessMethod: 'gist', constraint: constraint(9, 'exclusion') }),
    index(7, 1, { accessMethod: 'gist', constraint: constraint(9, 'primary') }),
  ])('an exclusion constraint, and a key without overlaps, builds its own index', (one) => {
    const plan = planClone(schema({ tables: [table(1)], indexes: [one] }));

    expect(plan.tables[0]?.indexes).toEqual([]);
    expect(plan.tables[0]?.finishing).toEqual([
      { constraint: 'k9', sql: 'alter table only "public"."t1" add constraint "k9" DEF 9' },
    ]);
  });

  test('identity, cluster and statistics of an index follow when it is built', () => {
    const one = index(7, 1, {
      clustered: true,
      replicaIdentity: true,
      statistics: [{ column: 2, target: 500 }],
    });
    const plan = planClone(schema({ tables: [table(1)], indexes: [one] }));

    expect(plan.tables[0]?.finishing.map((step) => step.sql)).toEqual([
      'alter index "public"."i7" alter column 2 set statistics 500',
      'alter table "public"."t1" cluster on "i7"',
      'alter table only "public"."t1" replica identity using index "i7"',
    ]);
  });

  test('an index that is invalid or was dropped is not ours, and is said', () => {
    const indexes = [index(7, 1, { valid: false }), index(8, 1, { definition: null })];
    const plan = planClone(schema({ tables: [table(1)], indexes }));

    expect(plan.tables[0]?.indexes).toEqual([]);
    expect(plan.ownIndexes.size).toBe(0);
    expect(plan.remarks).toHaveLength(2);
  });

  test('COPY names the columns that hold data, and none where there are none', () => {
    const generated = { name: 'g', generated: true, identity: 'none' } as const;
    const plain = { name: 'a"b', generated: false, identity: 'none' } as const;
    const columns = { 1: [plain, generated], 2: [] };
    const [one, two] = planClone(schema({ tables: [table(1), table(2)], columns })).tables;

    expect(one && copyOutStatement(one)).toBe('copy "public"."t1" ("a""b") to stdout');
    expect(one && copyInStatement(one, true)).toBe('copy "public"."t1" ("a""b") from stdin with (freeze)');
    expect(two && copyInStatement(two, false)).toBe('copy "public"."t2" from stdin');
  });

  test('small tables are not truncated for FREEZE', () => {
    expect(isFrozen(table(1, { bytes: 8192 }))).toBe(false);
    expect(isFrozen(table(1, { bytes: 1024 * 1024 }))).toBe(true);
    expect(isFrozen(table(1, { bytes: 1024 * 1024, kind: 'partitioned' }))).toBe(false);
  });

  test('a partition has its identity from its parent, from version 17 on', () => {
    const columns = { 1: [{ name: 'id', generated: false, identity: 'always' } as const] };
    const tables = [table(1, { partition: true })];

    expect(alwaysIdentities(schema({ tables, columns }))).toHaveLength(1);
    expect(alwaysIdentities(schema({ tables, columns, serverVersion: 170000 }))).toEqual([]);
  });
});

describe('foreign keys', () => {
  const key = (changes: Partial<ForeignKeyFacts>): ForeignKeyFacts => ({
    oid: 1,
    name: 'k',
    schema: 's',
    table: 't',
    tableKind: 'table',
    definition: 'FOREIGN KEY (a) REFERENCES s.u(a)',
    validated: true,
    ...changes,
  });
  const added = (changes: Partial<ForeignKeyFacts>, version: number) => {
    const [plan] = planForeignKeys([key(changes)], version);
    return [plan?.add.replace(/^.*"k" /, ''), plan?.validate !== null];
  };

  test.each([
    ['an ordinary one', {}, 150000, 'FOREIGN KEY (a) REFERENCES s.u(a) not valid', true],
    [
      'not valid on the source: stays so',
      { validated: false, definition: 'FOREIGN KEY (a) REFERENCES s.u(a) NOT VALID' },
      150000,
      'FOREIGN KEY (a) REFERENCES s.u(a) NOT VALID',
      false,
    ],
    [
      'of a partitioned table',
      { tableKind: 'partitioned' },
      170000,
      'FOREIGN KEY (a) REFERENCES s.u(a)',
      false,
    ],
    [
      'the same from 18 on',
      { tableKind: 'partitioned' },
      180000,
      'FOREIGN KEY (a) REFERENCES s.u(a) not valid',
      true,
    ],
  ] as const)('%s', (_what, changes, version, definition, validated) => {
    expect(added(changes, version)).toEqual([definition, validated]);
  });

  test('only an ordinary table is altered alone', () => {
    expect(planForeignKeys([key({})], 150000)[0]?.add).toMatch(/^alter table only "s"\."t"/);
    expect(planForeignKeys([key({ tableKind: 'partitioned' })], 150000)[0]?.add).toMatch(
      /^alter table "s"\."t"/,
    );
  });

  test('one that was dropped is left out', () => {
    expect(planForeignKeys([key({ definition: null })], 150000)).toEqual([]);
  });
});

test.each([
  [
    'a small server keeps what it is set to',
    { currentKb: 65536, effectiveCacheKb: 524288, indexJobs: 4 },
    65536,
  ],
  ['a share for each worker', { currentKb: 65536, effectiveCacheKb: 4194304, indexJobs: 4 }, 262144],
  ['no more than 1 GB', { currentKb: 65536, effectiveCacheKb: 67108864, indexJobs: 1 }, 1048576],
  [
    'never less than the server is set to',
    { currentKb: 2097152, effectiveCacheKb: 67108864, indexJobs: 1 },
    2097152,
  ],
])('maintenance memory: %s', (_what, settings, expected) => {
  expect(maintenanceWorkMemKb(settings)).toBe(expected);
});

test('a work queue hands out every piece once, in order, and ends its waiters when it is closed', async () => {
  const queue = new WorkQueue<number>();
  queue.push(1);
  const taken = [queue.next(), queue.next(), queue.next()];
  queue.push(2);
  queue.close();

  expect(await Promise.all(taken)).toEqual([1, 2, null]);
  expect(await queue.next()).toBeNull();
});
