/**
 * What a comparison that runs beside the stream leaves for the one at the end: for each table the position up to which
 * its rows are known to be equal (catalog/touches.ts).
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { catalogExists, closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import {
  deleteProof,
  keepTouchRequestAlive,
  loadTouchState,
  makeTouchTables,
  requestTouches,
  saveProof,
} from '../catalog/touches.js';
import { loadStream } from '../catalog/stream.js';
import type { Side } from '../failure.js';
import type { Lsn } from '../model/lsn.js';
import { arrayLiteral } from '../model/sql.js';
import { relationLabel } from '../model/relation.js';
import type { Session } from '../postgres/connect.js';
import type { ListedTable, TableName } from './comparison.js';
import type { Pair } from './sides.js';
import type { ReadTable } from './reading.js';

const aliveEveryMs = 2000;
/** The applier looks several times a second. */
const answerMs = 5000;
const lookEveryMs = 100;

// Only what the stream tells of every change can be proven for later.
const publishedSql = `
  select t.schemaname as schema, t.tablename as name
  from pg_catalog.pg_publication_tables t join pg_catalog.pg_publication p on p.pubname = t.pubname
  where t.pubname = any ($1::pg_catalog.name[])
  group by 1, 2
  having pg_catalog.bool_or(p.pubinsert) and pg_catalog.bool_or(p.pubupdate)
    and pg_catalog.bool_or(p.pubdelete) and pg_catalog.bool_or(p.pubtruncate)`;

/**
 * Which files hold a table on both sides, and which columns are in them: a proof counts only as long as these are the
 * same, and the types of users too: a label that is renamed is another value in every row. A table that is rewritten
 * (ALTER TABLE, VACUUM FULL) gets another file, and the stream tells nothing of it. A column that is added with a
 * default gives every row a value without that (`default now()`: another one on each side). And the table must have been
 * under its name, and in its publications, all the while: else what was written to it is not noted under its name.
 */
export function filesOf({ source, target }: Pick<ReadTable, Side>): string {
  const columns = ({ columns: all }: ListedTable) =>
    all.map(({ name, number, type, inside, generated }) => [number, name, type, inside, generated]);
  const both = JSON.stringify([columns(source), columns(target), source.history, target.history]);
  return `${source.file} ${target.file} ${createHash('sha256').update(both).digest('hex')}`;
}

/** What a comparison proves, on its way into the work directory. */
export class Proofs {
  readonly #catalog: Catalog;
  readonly #timer: NodeJS.Timeout;
  readonly #epoch: number;
  readonly #followed: ReadonlySet<string>;

  private constructor(catalog: Catalog, epoch: number, followed: ReadonlySet<string>) {
    this.#catalog = catalog;
    this.#epoch = epoch;
    this.#followed = followed;
    this.#timer = setInterval(() => keepTouchRequestAlive(catalog, Date.now()), aliveEveryMs);
  }

  /**
   * Asks the applier to note which rows it writes. One that does not answer notes tables only: then what is written
   * from now on is compared again as a whole, and nothing else is lost.
   */
  static async open(directory: string, { source }: Pair, signal: AbortSignal | undefined): Promise<Proofs> {
    const catalog = openCatalog(directory);
    try {
      makeTouchTables(catalog);
      const request = requestTouches(catalog, Date.now());
      const until = Date.now() + answerMs;
      while (loadTouchState(catalog)?.collecting !== request && Date.now() < until) {
        signal?.throwIfAborted();
        await sleep(lookEveryMs);
      }
      const followed = await fetchFollowed(catalog, source);
      return new Proofs(catalog, loadTouchState(catalog)?.epoch ?? 0, followed);
    } catch (error) {
      closeCatalog(catalog);
      throw error;
    }
  }

  /** All rows of the table are equal, but for those that were written behind `lsn`. */
  record(table: ReadTable, lsn: Lsn): void {
    if (!this.#followed.has(relationLabel(table))) return;
    // What was proven in an epoch that has ended since counts for nothing, and is not there to mislead.
    if (loadTouchState(this.#catalog)?.epoch !== this.#epoch) return;
    const { schema, name } = table;
    saveProof(this.#catalog, { schema, name, epoch: this.#epoch, lsn, files: filesOf(table) });
  }

  close(): void {
    clearInterval(this.#timer);
    closeCatalog(this.#catalog);
  }
}

/** What is known to differ is proven no more, whatever was said before. */
export function forgetProofs(directory: string, tables: readonly TableName[]): void {
  if (tables.length === 0 || !catalogExists(directory)) return;
  const catalog = openCatalog(directory);
  try {
    makeTouchTables(catalog);
    for (const table of tables) deleteProof(catalog, table);
  } finally {
    closeCatalog(catalog);
  }
}

async function fetchFollowed(catalog: Catalog, source: Session): Promise<Set<string>> {
  const stream = loadStream(catalog);
  if (stream === null) return new Set();
  if (stream.tables !== null) {
    return new Set(
      stream.tables.filter(({ key, identity }) => key.length > 0 || identity === 'full').map(relationLabel),
    );
  }
  const rows: TableName[] = (await source.query(publishedSql, [arrayLiteral(stream.publications)])).map(
    (row) => ({
      schema: row['schema'] ?? '',
      name: row['name'] ?? '',
    }),
  );
  return new Set(rows.map(relationLabel));
}
