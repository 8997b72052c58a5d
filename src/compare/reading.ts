/** Readings of one table on one side. */
import type { Side } from '../failure.js';
import { relationLabel } from '../model/relation.js';
import type { Session } from '../postgres/connect.js';
import {
  cellsSql,
  countSql,
  foundRowsSql,
  keysSql,
  rowsSql,
  sumsSql,
  type Buckets,
  type BucketSums,
  type ReadScope,
  type RowHash,
  type Sums,
} from './checksum.js';
import type { PlannedTable } from './comparison.js';
import { fetchHorizon, type Horizon } from './horizon.js';
import type { Piece } from './pieces.js';
import { addSums, keyCondition, type HashedRow } from './rows.js';

/** A table that both sides have with the same columns. */
export type ReadTable = Extract<PlannedTable, { readonly kind: 'read' }>;

/** What is read in one go, at one moment of a side: the pieces one after the other. */
export type Unit = {
  readonly table: ReadTable;
  readonly pieces: readonly Piece[];
  readonly buckets: Buckets;
};

/** Reads tables with one kind of hash. */
export class TableReader {
  readonly #hash: RowHash;
  /** Checked between the pieces of a unit. */
  readonly #onPiece: () => void;

  constructor(hash: RowHash, onPiece: () => void = () => {}) {
    this.#hash = hash;
    this.#onPiece = onPiece;
  }

  async sums(session: Session, { table, pieces, buckets }: Unit): Promise<BucketSums> {
    const all: BucketSums[] = [];
    for (const piece of pieces) {
      const sql = sumsSql(this.#scope(session.side, table, piece[session.side]), buckets);
      const rows = await session.query(sql, [], `could not read ${relationLabel(table)}`);
      all.push(new Map(rows.map((row) => [Number(row['bucket']), readSums(row)])));
      this.#onPiece();
    }
    return all.length === 1 && all[0] !== undefined ? all[0] : addSums(all);
  }

  /** To be asked before a piece is read, which is then known to have seen everything else. */
  async horizon(session: Session): Promise<Horizon> {
    return await fetchHorizon(session);
  }

  async count(session: Session, { table, pieces }: Unit): Promise<BucketSums> {
    let rows = 0n;
    for (const piece of pieces) {
      const sql = countSql(this.#scope(session.side, table, piece[session.side]));
      const [row] = await session.query(sql, [], `could not read ${relationLabel(table)}`);
      rows += BigInt(row?.['rows'] ?? 0);
    }
    return new Map([[0, { rows, high: 0n, low: 0n }]]);
  }

  /** The rows of some buckets. */
  async rows(session: Session, unit: Unit, chosen: readonly number[]): Promise<HashedRow[]> {
    const { table, pieces, buckets } = unit;
    const found: HashedRow[] = [];
    for (const piece of pieces) {
      const scope = this.#scope(session.side, table, piece[session.side]);
      const sql = rowsSql(scope, buckets, table.source.key);
      const rows = await session.query(
        sql,
        [`{${chosen.join(',')}}`],
        `could not read ${relationLabel(table)}`,
      );
      for (const row of rows) found.push(readRow(row));
    }
    return found;
  }

  /** The rows under these keys. */
  async found(session: Session, table: ReadTable, keys: readonly string[]): Promise<HashedRow[]> {
    const key = table.source.key ?? [];
    const found: HashedRow[] = [];
    for (const some of portions(keys, keysOfAStatement)) {
      const scope = this.#scope(session.side, table, keyCondition(keyColumns(table, session.side), some));
      const rows = await session.query(
        foundRowsSql(scope, key),
        [],
        `could not read ${relationLabel(table)}`,
      );
      for (const row of rows) found.push(readRow(row));
    }
    return found;
  }

  /** Puts the keys of the rows that match aside, so many at most, for {@link fetchKeys}, also behind the transaction. */
  async declareKeys(
    session: Session,
    table: ReadTable,
    condition: string,
    cursor: string,
    most: number,
  ): Promise<void> {
    const sql = keysSql(this.#scope(session.side, table, condition), table.source.key ?? []);
    await session.query(
      `declare ${cursor} no scroll cursor with hold for ${sql} limit ${most}`,
      [],
      `could not look for rows of ${relationLabel(table)} that were written meanwhile`,
    );
  }

  /** So many of them; none when there are no more. */
  async fetchKeys(session: Session, cursor: string, count: number): Promise<string[]> {
    return (await session.query(`fetch ${count} from ${cursor}`)).map((row) => row['key'] ?? '');
  }

  /** By key: a hash of each cell, in the order of the table's columns. */
  async cells(
    session: Session,
    table: ReadTable,
    keys: readonly string[],
  ): Promise<Map<string, (string | null)[]>> {
    const key = table.source.key ?? [];
    const found = new Map<string, (string | null)[]>();
    for (const some of portions(keys, keysOfAStatement)) {
      const scope = this.#scope(session.side, table, keyCondition(keyColumns(table, session.side), some));
      for (const row of await session.query(
        cellsSql(scope, key),
        [],
        `could not read ${relationLabel(table)}`,
      )) {
        found.set(row['key'] ?? '', JSON.parse(row['cells'] ?? '[]') as (string | null)[]);
      }
    }
    return found;
  }

  #scope(side: Side, table: ReadTable, condition: string | null): ReadScope {
    const { columns, rowFilter, sourceTree, targetTree } = table;
    // The target is to hold no other rows, so all of its rows are read.
    const filtered = side === 'source' && rowFilter !== null;
    return {
      table,
      columns,
      tree: side === 'source' ? sourceTree : targetTree,
      hash: this.#hash,
      condition: !filtered ? condition : condition === null ? rowFilter : `(${condition}) and (${rowFilter})`,
    };
  }
}

/** A statement of bounded length. */
const keysOfAStatement = 500;

function* portions<T>(list: readonly T[], size: number): Generator<readonly T[]> {
  for (let from = 0; from < list.length; from += size) yield list.slice(from, from + size);
}

function keyColumns(table: ReadTable, side: Side) {
  return (table.source.key ?? []).flatMap(
    (name) => table[side].columns.find((column) => column.name === name) ?? [],
  );
}

type Row = Readonly<Record<string, string | null>>;

function readSums(row: Row): Sums {
  return {
    rows: BigInt(row['rows'] ?? 0),
    high: BigInt(row['high'] ?? 0),
    low: BigInt(row['low'] ?? 0),
  };
}

function readRow(row: Row): HashedRow {
  const hash = row['hash'] ?? '';
  return {
    key: row['key'] ?? hash,
    hash,
    version: row['version'] ?? '',
    copies: Number(row['copies'] ?? 1),
  };
}
