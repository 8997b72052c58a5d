/** Beside a stream: a table counts as equal only when every row that might differ was looked at. */
import { describe, expect, test } from 'vitest';
import type { BucketSums } from '../../src/compare/checksum.js';
import {
  differenceSentence,
  sidesDiffer,
  type DataComparison,
  type ListedTable,
  type TableComparison,
} from '../../src/compare/comparison.js';
import type { DifferingRows } from '../../src/compare/differing.js';
import type { Horizon } from '../../src/compare/horizon.js';
import { compareMoving, judgeMoving } from '../../src/compare/moving.js';
import { Moments, TargetPosition } from '../../src/compare/moments.js';
import { wholeTable } from '../../src/compare/pieces.js';
import { TableReader, type Unit } from '../../src/compare/reading.js';
import { comparisonJson, comparisonTable } from '../../src/compare/report.js';
import type { HashedRow } from '../../src/compare/rows.js';
import type { Pair } from '../../src/compare/sides.js';
import { readLsn } from '../../src/model/lsn.js';
import type { Session } from '../../src/postgres/connect.js';

const found = (keys: readonly string[], complete: boolean): DifferingRows => ({
  source: new Map(),
  target: new Map(),
  keys,
  complete,
});

test.each([
  ['all was looked at and nothing differs: equal', [], true, null],
  ['not all was looked at, and nothing of it differs: undecided', [], false, 'undecided'],
  ['rows differ: so does the table', ['["1"]'], true, 'values'],
  ['rows differ, and there may be more: so does the table', ['["1"]'], false, 'values'],
] as const)('%s', (_, keys, complete, kind) => {
  expect(judgeMoving(found(keys, complete))?.kind ?? null).toBe(kind);
});

describe('an undecided table', () => {
  const contents = { rows: 5n, checksum: 'a' };
  const named = (name: string, difference: TableComparison['difference']): TableComparison => {
    return { schema: 'public', name, source: contents, target: contents, difference };
  };
  const of = (...tables: readonly TableComparison[]): DataComparison => {
    return { database: 'shop', tables, onlyOnTarget: [] };
  };
  const undecided = named('big', { kind: 'undecided' });

  test('fails the comparison, and is called neither equal nor different', () => {
    const failure = sidesDiffer(of(named('fine', null), undecided));
    expect(failure?.code).toBe('sides-differ');
    expect(failure?.message).toMatch(/^it is not known whether the sides are equal in 1 of 2 tables:\n/);
    expect(failure?.message).toContain(differenceSentence(undecided));
    expect(differenceSentence(undecided)).toMatch(/^public\.big is not known to be equal: /);
  });

  test('stands behind those that differ', () => {
    const failure = sidesDiffer(of(undecided, named('other', { kind: 'values' })));
    expect(failure?.message).toMatch(
      /^the sides differ in 1 of 2 tables, and 1 more are not known to be equal:\n {2}public\.other .*\n {2}public\.big /,
    );
  });

  test('is marked in the table and in JSON', () => {
    expect(comparisonTable(of(undecided))).toContain('shop.public.big | ? |');
    expect(JSON.parse(comparisonJson(of(undecided)))).toMatchObject([{ difference: 'undecided' }]);
  });
});

describe('buckets too large to be looked into', () => {
  const listed: ListedTable = {
    schema: 'public',
    name: 't',
    oid: '1',
    partitioned: false,
    above: [],
    history: '',
    columns: [],
    pages: 0,
    bytes: 0,
    estimatedRows: 0,
    heap: true,
    file: '1',
    unlogged: false,
    key: ['id'],
    orders: [],
  };
  const unit: Unit = {
    table: {
      kind: 'read',
      schema: 'public',
      name: 't',
      columns: ['id'],
      rowFilter: null,
      sourceTree: false,
      targetTree: false,
      source: listed,
      target: listed,
    },
    pieces: [wholeTable],
    buckets: { count: 1, by: null },
  };
  const session = (side: 'source' | 'target') => ({ side }) as unknown as Session;
  const pair: Pair = { source: session('source'), target: session('target') };

  /** The target's row 7 is another. */
  class Readings extends TableReader {
    readonly buckets: number[] = [];
    readonly #largest: (buckets: number) => bigint;

    constructor(largest: (buckets: number) => bigint) {
      super({ kind: 'sha256' } as never);
      this.#largest = largest;
    }

    override sums({ side }: Session, { buckets }: Unit): Promise<BucketSums> {
      if (side === 'source') this.buckets.push(buckets.count);
      const high = side === 'source' ? 1n : 2n;
      const differing = this.#largest(buckets.count);
      const rest = { rows: 60_000n - differing, high: 0n, low: 0n };
      return Promise.resolve(
        new Map([
          [0, { rows: differing, high, low: 0n }],
          [1, rest],
        ]),
      );
    }

    override horizon(): Promise<Horizon> {
      return Promise.resolve({ next: 1n, running: [] });
    }

    override rows({ side }: Session): Promise<HashedRow[]> {
      return Promise.resolve([{ key: '["7"]', hash: side, version: '1', copies: 1 }]);
    }

    override found(one: Session): Promise<HashedRow[]> {
      return this.rows(one);
    }
  }

  class StillMoments extends Moments {
    constructor() {
      const key = { stream: 's', systemIdentifier: '1', database: 'd' };
      super(key, new TargetPosition(pair.target, key));
    }

    override async read<T>(of: Pair, _oid: string, read: (one: Session) => Promise<T>) {
      const at = readLsn('0/1');
      return { source: await read(of.source), target: await read(of.target), low: at, high: at, applied: at };
    }
  }

  test('are made smaller by the rows that were counted, and the row is found', async () => {
    const reader = new Readings((buckets) => (buckets === 1 ? 60_000n : 500n));
    const outcome = await compareMoving(new StillMoments(), reader, pair, unit);
    expect(outcome.differing).toMatchObject({ keys: ['["7"]'], complete: true });
    expect(reader.buckets).toEqual([1, 128]);
  });

  test('leave the table undecided and unproven where they stay too large', async () => {
    const reader = new Readings(() => 60_000n);
    const outcome = await compareMoving(new StillMoments(), reader, pair, unit);
    expect(judgeMoving(outcome.differing)).toEqual({ kind: 'undecided' });
    expect(outcome).toMatchObject({ changing: [], low: null });
  });
});
