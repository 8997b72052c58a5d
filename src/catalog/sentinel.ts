/**
 * The sentinel row: what steers a stream (startpos, endpos, apply) and how far it is. A second terminal reads and
 * writes it while a run goes on; the run looks at it again when the database's data_version has moved.
 */
import { Failure } from '../failure.js';
import { formatLsn, readLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { Sentinel } from '../model/progress.js';
import type { Catalog } from './database.js';

type SentinelRow = {
  startpos: string;
  endpos: string;
  apply: number;
  write_lsn: string;
  flush_lsn: string;
  transform_lsn: string;
  replay_lsn: string;
};

/** The sentinel; null before `stream setup` or `stream sentinel setup`. */
export function loadSentinel(catalog: Catalog): Sentinel | null {
  const row = catalog.database.prepare<[], SentinelRow>('select * from sentinel where id = 1').get();
  if (row === undefined) return null;
  return {
    startpos: readLsn(row.startpos),
    endpos: readLsn(row.endpos),
    apply: row.apply !== 0,
    writeLsn: readLsn(row.write_lsn),
    flushLsn: readLsn(row.flush_lsn),
    transformLsn: readLsn(row.transform_lsn),
    replayLsn: readLsn(row.replay_lsn),
  };
}

/** The sentinel of a directory that must have one. Throws `source-setup` (exit 6, as pgcopydb) when it has none. */
export function requireSentinel(catalog: Catalog): Sentinel {
  const sentinel = loadSentinel(catalog);
  if (sentinel !== null) return sentinel;
  throw new Failure(
    'source-setup',
    `there is no sentinel in ${catalog.directory}: no stream was set up there`,
    {
      remedy:
        'Run `walferry stream setup` or `walferry clone --follow` first, or name its directory with --dir.',
    },
  );
}

/** Makes the row, or overwrites it: apply off, no progress. */
export function setupSentinel(catalog: Catalog, startpos: Lsn, endpos: Lsn): void {
  const zero = formatLsn(zeroLsn);
  catalog.database
    .prepare(
      `insert or replace into sentinel
         (id, startpos, endpos, apply, write_lsn, flush_lsn, transform_lsn, replay_lsn)
       values (1, ?, ?, 0, ?, ?, ?, ?)`,
    )
    .run(formatLsn(startpos), formatLsn(endpos), zero, zero, zero, zero);
}

export function setStartpos(catalog: Catalog, lsn: Lsn): void {
  requireSentinel(catalog);
  catalog.database.prepare('update sentinel set startpos = ?').run(formatLsn(lsn));
}

/** Sets the end position; `zeroLsn` takes it back. */
export function setEndpos(catalog: Catalog, lsn: Lsn): void {
  requireSentinel(catalog);
  catalog.database.prepare('update sentinel set endpos = ?').run(formatLsn(lsn));
}

export function setApply(catalog: Catalog, apply: boolean): void {
  requireSentinel(catalog);
  catalog.database.prepare('update sentinel set apply = ?').run(apply ? 1 : 0);
}

/** How far a stream is; each process records what it knows. */
export type Positions = { readonly writeLsn?: Lsn; readonly flushLsn?: Lsn; readonly replayLsn?: Lsn };

/**
 * Records positions, for whoever looks. What is safe is decided elsewhere (journal, position row): these may be lost.
 * The transform files are written by the receiver itself, so transform_lsn moves with flush_lsn.
 */
export function recordPositions(catalog: Catalog, positions: Positions): void {
  const text = (lsn: Lsn | undefined) => (lsn === undefined ? null : formatLsn(lsn));
  catalog.database
    .prepare(
      `update sentinel set write_lsn = coalesce(:write, write_lsn), flush_lsn = coalesce(:flush, flush_lsn),
         transform_lsn = coalesce(:flush, transform_lsn), replay_lsn = coalesce(:replay, replay_lsn)`,
    )
    .run({
      write: text(positions.writeLsn),
      flush: text(positions.flushLsn),
      replay: text(positions.replayLsn),
    });
}

/** A number that changes whenever another connection has changed the catalog. */
export function catalogDataVersion(catalog: Catalog): number {
  return Number(catalog.database.pragma('data_version', { simple: true }));
}
