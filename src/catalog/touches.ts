/**
 * What a stream has written since when, and which tables were found equal at which position: by these two a comparison
 * at the end need not read again what nobody touched since it was proven.
 *
 * The applier's process writes what it wrote, several times a second and at its end, together with `covered`: up to there the
 * record is complete. When it begins anew and the target's position is not `covered` (a crash, another process),
 * nobody knows what was written in between: a new *epoch* begins, and proofs of an earlier one count no more.
 *
 * The tables are made when they are needed: a work directory of an earlier version gets them as well.
 */
import { formatLsn, readLsn, type Lsn } from '../model/lsn.js';
import type { Catalog } from './database.js';

const schema = `
  create table if not exists touch_state (
    id integer primary key check (id = 1),
    epoch integer not null,
    covered text not null,
    collecting integer not null
  );
  create table if not exists touch_request (
    id integer primary key check (id = 1),
    number integer not null,
    alive_at integer not null
  );
  create table if not exists touched_table (
    schema text not null,
    name text not null,
    lsn text not null,
    primary key (schema, name)
  );
  create table if not exists touched_rows (
    id integer primary key,
    schema text not null,
    name text not null,
    lsn text not null,
    columns text not null,
    keys text not null
  );
  create table if not exists proof (
    schema text not null,
    name text not null,
    epoch integer not null,
    lsn text not null,
    files text not null,
    primary key (schema, name)
  );
`;

/** Makes the tables where they are missing. */
export function makeTouchTables(catalog: Catalog): void {
  catalog.database.exec(schema);
}

export type TouchState = {
  readonly epoch: number;
  /** Everything that the target holds up to here is in the record. */
  readonly covered: Lsn;
  /** The last request that the applier has heard of: since then it notes rows, not only tables. */
  readonly collecting: number;
};

/** Null before anything was applied. */
export function loadTouchState(catalog: Catalog): TouchState | null {
  const row = catalog.database
    .prepare<[], { epoch: number; covered: string; collecting: number }>(
      'select * from touch_state where id = 1',
    )
    .get();
  return row === undefined ? null : { ...row, covered: readLsn(row.covered) };
}

/** A table that was written; its last writing lies at or before `lsn`. */
export type TouchedTable = { readonly schema: string; readonly name: string; readonly lsn: Lsn };

/** Rows of a table that were written at or before `lsn`. */
export type TouchedRowsRecord = TouchedTable & {
  readonly columns: readonly string[];
  readonly keys: readonly string[];
};

export type TouchUpdate = {
  readonly state: TouchState;
  /** Tables that were written in rows that are not noted. */
  readonly tables: readonly TouchedTable[];
  readonly rows: readonly TouchedRowsRecord[];
};

/** Adds to the record, all or nothing. */
export function saveTouches(catalog: Catalog, { state, tables, rows }: TouchUpdate): void {
  const { database } = catalog;
  database.transaction(() => {
    for (const { schema: table, name, lsn } of tables) {
      database
        .prepare('insert or replace into touched_table (schema, name, lsn) values (?, ?, ?)')
        .run(table, name, formatLsn(lsn));
    }
    for (const { schema: table, name, lsn, columns, keys } of rows) {
      database
        .prepare('insert into touched_rows (schema, name, lsn, columns, keys) values (?, ?, ?, ?, ?)')
        .run(table, name, formatLsn(lsn), JSON.stringify(columns), JSON.stringify(keys));
    }
    database
      .prepare('insert or replace into touch_state (id, epoch, covered, collecting) values (1, ?, ?, ?)')
      .run(state.epoch, formatLsn(state.covered), state.collecting);
  })();
}

/** Forgets what was written: a new epoch begins. */
export function clearTouches(catalog: Catalog, state: TouchState): void {
  catalog.database.transaction(() => {
    catalog.database.exec('delete from touched_table; delete from touched_rows; delete from proof');
    saveTouches(catalog, { state, tables: [], rows: [] });
  })();
}

/** A comparison that is under way: its number, and when it was last heard of, in milliseconds since 1970. */
export type TouchRequest = { readonly number: number; readonly aliveAt: number };

export function loadTouchRequest(catalog: Catalog): TouchRequest | null {
  const row = catalog.database
    .prepare<[], { number: number; alive_at: number }>(
      'select number, alive_at from touch_request where id = 1',
    )
    .get();
  return row === undefined ? null : { number: row.number, aliveAt: row.alive_at };
}

/** Asks the applier to note rows from now on; gives the number of the request. */
export function requestTouches(catalog: Catalog, now: number): number {
  catalog.database
    .prepare(
      `insert into touch_request (id, number, alive_at) values (1, 1, ?)
       on conflict (id) do update set number = number + 1, alive_at = excluded.alive_at`,
    )
    .run(now);
  return loadTouchRequest(catalog)?.number ?? 0;
}

export function keepTouchRequestAlive(catalog: Catalog, now: number): void {
  catalog.database.prepare('update touch_request set alive_at = ?').run(now);
}

/** A table whose rows were equal, but for those that were written behind `lsn`. */
export type Proof = TouchedTable & {
  readonly epoch: number;
  /** Which files held it on both sides, with which columns: a proof counts only as long as these are the same. */
  readonly files: string;
};

/** Records a proof, and drops the rows that it covers. */
export function saveProof(catalog: Catalog, proof: Proof): void {
  const { database } = catalog;
  const { schema: table, name, epoch, lsn, files } = proof;
  database.transaction(() => {
    database
      .prepare('insert or replace into proof (schema, name, epoch, lsn, files) values (?, ?, ?, ?, ?)')
      .run(table, name, epoch, formatLsn(lsn), files);
    for (const row of database
      .prepare<[string, string], { id: number; lsn: string }>(
        'select id, lsn from touched_rows where schema = ? and name = ?',
      )
      .all(table, name)) {
      if (readLsn(row.lsn) <= lsn) database.prepare('delete from touched_rows where id = ?').run(row.id);
    }
  })();
}

/** Takes back what was proven of a table: it was found to differ. */
export function deleteProof(
  catalog: Catalog,
  table: { readonly schema: string; readonly name: string },
): void {
  catalog.database.prepare('delete from proof where schema = ? and name = ?').run(table.schema, table.name);
}

/** Everything that a comparison needs to know, from one moment of the catalog. */
export type TouchRecord = {
  readonly state: TouchState | null;
  readonly tables: readonly TouchedTable[];
  readonly rows: readonly TouchedRowsRecord[];
  readonly proofs: readonly Proof[];
};

type RowsRow = { schema: string; name: string; lsn: string; columns: string; keys: string };

export function loadTouchRecord(catalog: Catalog): TouchRecord {
  const { database } = catalog;
  return database.transaction((): TouchRecord => ({
    state: loadTouchState(catalog),
    tables: database
      .prepare<[], { schema: string; name: string; lsn: string }>('select * from touched_table')
      .all()
      .map((row) => ({ ...row, lsn: readLsn(row.lsn) })),
    rows: database
      .prepare<[], RowsRow>('select schema, name, lsn, columns, keys from touched_rows order by id')
      .all()
      .map(({ columns, keys, lsn, ...row }) => ({
        ...row,
        lsn: readLsn(lsn),
        columns: JSON.parse(columns) as string[],
        keys: JSON.parse(keys) as string[],
      })),
    proofs: database
      .prepare<[], { schema: string; name: string; epoch: number; lsn: string; files: string }>(
        'select * from proof',
      )
      .all()
      .map((row) => ({ ...row, lsn: readLsn(row.lsn) })),
  }))();
}
