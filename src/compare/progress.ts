/** How far a comparison is, in tables and in bytes. */
import type { PlannedTable, TableComparison, TableName } from './comparison.js';
import type { CompareDataOptions, CompareProgress } from './options.js';
import { bytesOf, type TableWork } from './table-work.js';

/** Counts what is done. */
export class Progress {
  readonly results = new Map<PlannedTable, TableComparison>();
  readonly #tables: readonly PlannedTable[];
  readonly #tell: (progress: CompareProgress) => void;
  readonly #bytesTotal: number;
  readonly #pieces = new Map<TableWork, number>();
  /** Rows that were written since and looked at again, by table. */
  readonly #settling = new Map<PlannedTable, number>();
  #bytesDone = 0;
  #last: TableComparison | null = null;

  constructor(tables: readonly PlannedTable[], tell: CompareDataOptions['onProgress']) {
    this.#tables = tables;
    this.#tell = tell ?? (() => {});
    this.#bytesTotal = tables.reduce((sum, table) => sum + (table.kind === 'read' ? bytesOf(table) : 0), 0);
    this.#now();
  }

  /** A piece, but not the table's last. */
  pieceDone(work: TableWork): void {
    this.#pieces.set(work, (this.#pieces.get(work) ?? 0) + 1);
    this.#now();
  }

  /** All pieces of a table are read, and so many rows that were written since were looked at again. */
  settling(table: PlannedTable, rows: number): void {
    this.#settling.set(table, rows);
    this.#now();
  }

  tableDone(table: PlannedTable, result: TableComparison): void {
    this.results.set(table, result);
    this.#last = result;
    this.#settling.delete(table);
    for (const work of this.#pieces.keys()) if (work.table === table) this.#pieces.delete(work);
    if (table.kind === 'read') this.#bytesDone += bytesOf(table);
    this.#now();
  }

  #now(): void {
    let underWay = 0;
    for (const [{ table, units }, done] of this.#pieces) underWay += (bytesOf(table) * done) / units.length;
    const settling = [...this.#settling].at(-1);
    this.#tell({
      done: this.results.size,
      total: this.#tables.length,
      last: this.#last,
      bytesDone: this.#bytesDone + Math.floor(underWay),
      bytesTotal: this.#bytesTotal,
      settling: settling === undefined ? null : { table: nameOf(settling[0]), rows: settling[1] },
    });
  }
}

function nameOf({ schema, name }: PlannedTable): TableName {
  return { schema, name };
}
