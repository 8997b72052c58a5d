import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import {
  differenceSentence,
  momentsSentence,
  judge,
  leaveOutUnlogged,
  planComparison,
  sidesDiffer,
  type DataComparison,
  type ListedTable,
  type TableComparison,
} from '../../src/compare/comparison.js';

let nextOid = 16384;

function table(name: string, given: Partial<ListedTable> = {}): ListedTable {
  return {
    schema: 'public',
    name,
    oid: String(nextOid++),
    partitioned: false,
    above: [],
    history: '',
    columns: [column('id')],
    pages: 0,
    bytes: 0,
    estimatedRows: 0,
    heap: true,
    file: '1',
    unlogged: false,
    key: null,
    orders: [],
    ...given,
  };
}

function column(name: string, generated = false) {
  return { name, number: 1, generated, type: 'integer', inside: null, comparable: true };
}

const names = (tables: readonly { name: string }[]) => tables.map(({ name }) => name);

describe('the plan', () => {
  test('tables are paired by name, sorted by it', () => {
    const plan = planComparison([table('b'), table('a')], [table('a'), table('b')]);
    expect(plan.tables).toMatchObject([
      { kind: 'read', name: 'a', sourceTree: false, targetTree: false },
      { kind: 'read', name: 'b' },
    ]);
    expect(plan.onlyOnTarget).toEqual([]);
  });

  test('unlogged tables of the source are left out where that is asked for, but not one that the target lacks', () => {
    const unlogged = { unlogged: true };
    const plan = planComparison(
      [table('a'), table('b', unlogged), table('c', unlogged), table('d')],
      [table('a'), table('b'), table('d', unlogged)],
    );
    const left = leaveOutUnlogged(plan);
    expect(left.tables).toMatchObject([{ name: 'a' }, { kind: 'missing', name: 'c' }, { name: 'd' }]);
    expect(left.unlogged).toEqual([{ schema: 'public', name: 'b' }]);
  });

  test('the same name in another schema is another table', () => {
    const plan = planComparison([table('t', { schema: 'one' })], [table('t', { schema: 'two' })]);
    expect(plan.tables).toMatchObject([{ kind: 'missing', schema: 'one', name: 't' }]);
    expect(plan.onlyOnTarget).toEqual([{ schema: 'two', name: 't' }]);
  });

  test('columns are matched by name and read in one order', () => {
    const plan = planComparison(
      [table('t', { columns: [column('b'), column('a'), column('B')] })],
      [table('t', { columns: [column('a'), column('B'), column('b')] })],
    );
    expect(plan.tables).toMatchObject([{ kind: 'read', columns: ['B', 'a', 'b'] }]);
  });

  test.each([
    { source: [column('a'), column('g', true)], target: [column('a'), column('g', true)], read: ['a'] },
    { source: [column('a'), column('g', true)], target: [column('a')], read: ['a'] },
    { source: [column('a'), column('g', true)], target: [column('a'), column('g')], read: ['a'] },
    { source: [column('a'), column('g')], target: [column('a'), column('g', true)], read: ['a', 'g'] },
    { source: [column('a')], target: [column('a'), column('g', true)], read: ['a'] },
    { source: [], target: [], read: [] },
  ])('a column that the source generates is left out: %o', ({ source, target, read }) => {
    const plan = planComparison([table('t', { columns: source })], [table('t', { columns: target })]);
    expect(plan.tables).toMatchObject([{ kind: 'read', columns: read }]);
  });

  test('other columns are a difference that needs no reading', () => {
    const plan = planComparison(
      [table('t', { columns: [column('a'), column('b')] })],
      [table('t', { columns: [column('b'), column('c')] })],
    );
    expect(plan.tables).toEqual([
      { kind: 'columns', schema: 'public', name: 't', missing: ['a'], extra: ['c'] },
    ]);
  });

  test('of a partitioned table on both sides the leaves are compared, one by one', () => {
    const side = () => {
      const root = table('root', { partitioned: true });
      const middle = table('middle', { partitioned: true, above: [root.oid] });
      return [
        root,
        middle,
        table('leaf1', { above: [root.oid] }),
        table('leaf2', { above: [middle.oid, root.oid] }),
      ];
    };
    const plan = planComparison(side(), side());
    expect(names(plan.tables)).toEqual(['leaf1', 'leaf2']);
    expect(plan.onlyOnTarget).toEqual([]);
  });

  test('a leaf that the target lacks is missing', () => {
    const root = table('root', { partitioned: true });
    const plan = planComparison(
      [root, table('leaf', { above: [root.oid] })],
      [table('root', { partitioned: true })],
    );
    expect(plan.tables).toMatchObject([{ kind: 'missing', name: 'leaf' }]);
  });

  test('partitioned on the target only: the whole tree against the table, leaves are neither missing nor extra', () => {
    const root = table('t', { partitioned: true });
    const plan = planComparison([table('t')], [root, table('t_1', { above: [root.oid] })]);
    expect(plan.tables).toMatchObject([{ kind: 'read', name: 't', sourceTree: false, targetTree: true }]);
    expect(plan.onlyOnTarget).toEqual([]);
  });

  test('partitioned on the source only: the same the other way round', () => {
    const root = table('t', { partitioned: true });
    const plan = planComparison([root, table('t_1', { above: [root.oid] })], [table('t')]);
    expect(plan.tables).toMatchObject([{ kind: 'read', name: 't', sourceTree: true, targetTree: false }]);
  });

  test.each(['source', 'target'] as const)(
    'a partition that is partitioned itself on the %s only is compared with its whole tree',
    (side) => {
      const trees = {
        deep: (() => {
          const root = table('t', { partitioned: true });
          const middle = table('t_1', { partitioned: true, above: [root.oid] });
          return [root, middle, table('t_1_a', { above: [middle.oid, root.oid] })];
        })(),
        flat: (() => {
          const root = table('t', { partitioned: true });
          return [root, table('t_1', { above: [root.oid] })];
        })(),
      };
      const onSource = side === 'source';
      const plan = onSource ? planComparison(trees.deep, trees.flat) : planComparison(trees.flat, trees.deep);
      expect(plan.tables).toMatchObject([
        { kind: 'read', name: 't_1', sourceTree: onSource, targetTree: !onSource },
      ]);
      expect(plan.tables).toHaveLength(1);
      expect(plan.onlyOnTarget).toEqual([]);
    },
  );

  test('of the tables that only the target has, those below one of both sides are told apart', () => {
    const [root, parent, other] = [table('root', { partitioned: true }), table('parent'), table('other')];
    const grandchild = table('grandchild', { above: ['1', parent.oid] });
    const plan = planComparison(
      [table('root', { partitioned: true }), table('parent')],
      [
        root,
        parent,
        other,
        table('root_1', { above: [root.oid] }),
        grandchild,
        table('others_child', { above: [other.oid] }),
      ],
    );
    expect(names(plan.onlyOnTarget)).toEqual(['grandchild', 'other', 'others_child', 'root_1']);
    expect(names(plan.extraChildren)).toEqual(['grandchild', 'root_1']);
  });

  test('a plan for some tables looks at no others', () => {
    const plan = planComparison(
      [table('a'), table('b')],
      [table('b'), table('c')],
      [{ schema: 'public', name: 'b' }],
    );
    expect(names(plan.tables)).toEqual(['b']);
    expect(plan.onlyOnTarget).toEqual([]);
  });

  test('a table that the source does not have cannot be asked for', () => {
    const ask = () => planComparison([table('a')], [table('b')], [{ schema: 'public', name: 'b' }]);
    expect(ask).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describe('the verdict', () => {
  const contents = (rows: bigint, checksum: string) => ({ rows, checksum });

  test.each([
    [contents(1n, 'a'), contents(1n, 'a'), null],
    [contents(1n, 'a'), contents(2n, 'b'), { kind: 'rows' }],
    [contents(1n, 'a'), contents(1n, 'b'), { kind: 'values' }],
  ])('%o and %o', (source, target, difference) => {
    expect(judge(source, target)).toEqual(difference);
  });

  const compared = (name: string, given: Partial<TableComparison>): TableComparison => ({
    schema: 'public',
    name,
    source: contents(2n, 'a'),
    target: contents(3n, 'b'),
    difference: null,
    ...given,
  });

  test.each([
    [compared('t', { difference: { kind: 'missing' } }), 'public.t is missing on the target'],
    [
      compared('T', { difference: { kind: 'rows' } }),
      'public."T" has 2 rows on the source and 3 on the target',
    ],
    [
      compared('t', { difference: { kind: 'values' } }),
      'public.t has 2 rows on the source and on the target, but not the same ones',
    ],
    [
      compared('t', { difference: { kind: 'columns', missing: ['a'], extra: ['b', 'c'] } }),
      'public.t has other columns: the target lacks "a" and has "b", "c" besides',
    ],
    [
      compared('t', {
        source: null,
        target: null,
        difference: { kind: 'values' },
        rows: { key: ['id'], missing: 0, extra: 0, different: 1, complete: true, shown: [] },
      }),
      'public.t differs: 1 with other values',
    ],
  ])('%o is said as %s', (table, sentence) => {
    expect(differenceSentence(table)).toBe(sentence);
  });

  test('checksums of different moments are explained, where tables are equal all the same', () => {
    const [source, target] = [
      { rows: 2n, checksum: 'a' },
      { rows: 2n, checksum: 'b' },
    ];
    const moving = { changing: 0 };
    const tables = [
      compared('moved', { source, target, moving, difference: null }),
      compared('still', { source, target: source, moving, difference: null }),
      compared('differs', { source, target, moving, difference: { kind: 'values' } }),
    ];
    expect(momentsSentence(tables)).toMatch(/ moments: public\.moved; each row/);
    expect(momentsSentence(tables.slice(1))).toBeNull();
  });

  const comparison = (tables: TableComparison[]): DataComparison => ({
    database: 'd',
    tables,
    onlyOnTarget: [{ schema: 'public', name: 'extra' }],
  });

  test('a table that only the target has is no difference', () => {
    expect(sidesDiffer(comparison([compared('t', {})]))).toBeNull();
  });

  test('a difference ends with exit status 21 and names the tables, up to ten', () => {
    const different = Array.from({ length: 12 }, (_, index) =>
      compared(`t${index}`, { difference: { kind: 'rows' } }),
    );
    const failure = sidesDiffer(comparison([...different, compared('same', {})]));
    expect(failure).toBeInstanceOf(Failure);
    expect(failure?.policy.exit).toBe(21);
    expect(failure?.message).toContain('differ in 12 of 13 tables');
    expect(failure?.message).toContain('public.t9 ');
    expect(failure?.message).not.toContain('public.t10 ');
    expect(failure?.message).toContain('and 2 more');
    expect(failure?.message).not.toContain('same');
  });
});
