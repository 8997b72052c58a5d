import { describe, expect, test } from 'vitest';
import {
  alwaysIdentities,
  chooseFormat,
  copyInStatement,
  copyOutStatement,
  isFrozen,
  maintenanceWorkMemKb,
  planClone,
  planForeignKeys,
  type FormatChoice,
  type PartPlan,
  type TablePlan,
} from '../../src/clone/plan.js';
import { planPieces } from '../../src/clone/pieces.js';
import { WorkQueue } from '../../src/clone/work-queue.js';
import type { CopyTarget } from '../../src/postgres/copy-target.js';
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

function whole(plan: TablePlan): PartPlan {
  const [part] = plan.parts;
  if (part === undefined) throw new Error('a table without parts');
  return part;
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
  test('a small table with much to be built comes before a larger one, a tree of entries before a B-tree of its size', () => {
    const { tables } = planClone(
      schema({
        tables: [table(1, { bytes: 50 }), table(2, { bytes: 10 }), table(3, { bytes: 10 })],
        indexes: [
          index(4, 2, { bytes: 20 }),
          index(5, 3, { bytes: 20, accessMethod: 'gin' }),
          // What is not built costs nothing.
          index(6, 1, { bytes: 1000, valid: false }),
        ],
      }),
    );
    expect(tables.map((one) => one.table.oid)).toEqual([3, 2, 1]);
    expect(tables.flatMap((one) => one.indexes.map(({ cost }) => cost))).toEqual([200, 60]);
  });

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
    // Or both are made by one statement.
    expect(plan.tables[0]?.finishing.map(({ withIndex }) => withIndex)).toEqual([
      {
        task: plan.tables[0]?.indexes[0]?.task,
        sql: 'alter table only "public"."t1" add constraint "k9" DEF 9',
      },
    ]);
    expect([...plan.ownConstraints]).toEqual([9]);
  });

  test.each([
    index(7, 1, { accessMethod: 'gist', constraint: constraint(9, 'exclusion') }),
    index(7, 1, { accessMethod: 'gist', constraint: constraint(9, 'primary') }),
  ])('an exclusion constraint, and a key without overlaps, builds its own index', (one) => {
    const plan = planClone(schema({ tables: [table(1)], indexes: [one] }));

    expect(plan.tables[0]?.indexes).toEqual([]);
    expect(plan.tables[0]?.finishing).toEqual([
      {
        constraint: { name: 'k9', definition: 'DEF 9' },
        sql: 'alter table only "public"."t1" add constraint "k9" DEF 9',
        withIndex: null,
        builds: { schema: 'public', name: 'i7', label: 'public.i7', tablespace: null },
        mayFail: null,
      },
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

    expect(one && copyOutStatement(one, whole(one), 'text')).toBe('copy "public"."t1" ("a""b") to stdout');
    expect(one && copyInStatement(one, 'text', true)).toBe(
      'copy "public"."t1" ("a""b") from stdin with (freeze)',
    );
    expect(one && copyInStatement(one, 'binary', true)).toBe(
      'copy "public"."t1" ("a""b") from stdin with (format binary, freeze)',
    );
    expect(two && copyOutStatement(two, whole(two), 'binary')).toBe(
      'copy "public"."t2" to stdout with (format binary)',
    );
    expect(two && copyInStatement(two, 'text', false)).toBe('copy "public"."t2" from stdin');
  });

  test('each part of a split table is a task of its own, with its own condition', () => {
    const columns = { 1: [{ name: 'id', generated: false, identity: 'none' } as const] };
    const splits = { 1: { by: 'key', column: 'id', conditions: ['id < 5', 'id >= 5'] } } as const;
    const [one] = planClone(schema({ tables: [table(1, { bytes: 100 })], columns, splits })).tables;
    if (one === undefined) throw new Error('no plan');

    expect(one.parts).toEqual([
      {
        task: 'copy "public"."t1" part 1 of 2',
        label: 'public.t1, part 1 of 2',
        condition: 'id < 5',
        bytes: 50,
      },
      {
        task: 'copy "public"."t1" part 2 of 2',
        label: 'public.t1, part 2 of 2',
        condition: 'id >= 5',
        bytes: 50,
      },
    ]);
    expect(one.parts.map((part) => copyOutStatement(one, part, 'text'))).toEqual([
      'copy (select "id" from only "public"."t1" where (id < 5)) to stdout',
      'copy (select "id" from only "public"."t1" where (id >= 5)) to stdout',
    ]);
  });

  test('FREEZE: only large tables, whole, that we may truncate and that are not partitioned on the target', () => {
    const large = { bytes: 1024 * 1024 };
    const frozen = (facts: Partial<TableFacts>, target?: CopyTarget, splits: SourceSchema['splits'] = {}) => {
      const [one] = planClone(schema({ tables: [table(1, facts)], splits })).tables;
      return one !== undefined && isFrozen(one, target);
    };
    const target = { partitioned: false, truncatable: true, columns: null, foreignBelow: false };
    const split = { 1: { by: 'ctid', column: null, conditions: ['a', 'b'] } } as const;

    expect(frozen({ bytes: 8192 })).toBe(false);
    expect(frozen(large)).toBe(true);
    expect(frozen(large, target)).toBe(true);
    expect(frozen(large, { ...target, truncatable: false })).toBe(false);
    expect(frozen(large, { ...target, partitioned: true })).toBe(false);
    expect(frozen(large, target, split)).toBe(false);
  });

  test('binary where nothing can be different, or where it is asked for and possible', () => {
    const source = { version: 150_020, encoding: 'UTF8' };
    const choice: FormatChoice = { binaryAsked: false, source, target: { ...source, version: 150_001 } };
    const asked = { ...choice, binaryAsked: true };
    const safe = { verdict: 'safe', columns: 'id integer' } as const;
    const possible = { ...safe, verdict: 'possible' } as const;
    const target = { partitioned: false, truncatable: true, columns: 'id integer', foreignBelow: false };
    const newer = { ...source, version: 160_000 };

    expect(chooseFormat(choice, safe, target)).toBe('binary');
    expect(chooseFormat(choice, possible, target)).toBe('text');
    expect(chooseFormat(asked, possible, target)).toBe('binary');
    expect(chooseFormat({ ...choice, target: newer }, safe, target)).toBe('text');
    expect(chooseFormat({ ...asked, target: newer }, safe, target)).toBe('binary');
    expect(chooseFormat(asked, safe, { ...target, columns: 'id bigint' })).toBe('text');
    expect(chooseFormat(asked, safe, undefined)).toBe('text');
    expect(chooseFormat(asked, undefined, target)).toBe('text');
    expect(chooseFormat({ ...asked, target: { ...source, encoding: 'LATIN1' } }, safe, target)).toBe('text');
    const bytes = { ...source, encoding: 'SQL_ASCII' };
    expect(chooseFormat({ binaryAsked: true, source: bytes, target: bytes }, safe, target)).toBe('text');
  });

  test('a partition has its identity from its parent, from version 17 on', () => {
    const columns = { 1: [{ name: 'id', generated: false, identity: 'always' } as const] };
    const tables = [table(1, { partition: true })];

    expect(alwaysIdentities(schema({ tables, columns }))).toHaveLength(1);
    expect(alwaysIdentities(schema({ tables, columns, serverVersion: 170000 }))).toEqual([]);
  });
});

describe('very many tables', () => {
  /** The process's own time, the least of three: a machine that others use as well is not taken for work. */
  function msOf(count: number): number {
    const many = schema({
      tables: Array.from({ length: count }, (_, oid) => table(oid, { bytes: oid % 977 })),
      columns: Object.fromEntries(
        Array.from({ length: count }, (_, oid) => [
          oid,
          [{ name: 'id', generated: false, identity: 'none' } as const],
        ]),
      ),
      indexes: Array.from({ length: count }, (_, oid) => index(count + oid, oid)),
    });
    const runs = Array.from({ length: 3 }, () => {
      const began = process.cpuUsage();
      const plan = planClone(many);
      planPieces(new Map(plan.tables.map((one) => [one, one.parts])), 4);
      const { user, system } = process.cpuUsage(began);
      return (user + system) / 1000;
    });
    return Math.min(...runs);
  }

  test('are planned in time linear in their number', () => {
    msOf(1000);
    // Four times as many: four times as long and what the collector adds, not sixteen times. Of fewer the time is too
    // short to be compared.
    expect(msOf(32_000)).toBeLessThan(10 * msOf(8000));
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
