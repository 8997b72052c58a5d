/**
 * Notes what the applier writes, for a comparison at the end (catalog/touches.ts): always which tables, and once a
 * comparison has asked for it, which rows, as long as they are not too many. What is written is noted before its COMMIT
 * is sent; `covered` moves behind COMMIT replies. So the record holds at least what the target holds up to there.
 */
import { runTables, touchedRows, type TouchLog } from '../apply/touches.js';
import type { Run } from '../apply/run.js';
import { closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import {
  clearTouches,
  loadTouchRequest,
  loadTouchState,
  makeTouchTables,
  saveTouches,
  type TouchState,
} from '../catalog/touches.js';
import type { Log } from '../log.js';
import { laterLsn, zeroLsn, type Lsn } from '../model/lsn.js';

const saveEveryMs = 250;
/** A comparison tells more often than this that it is still there. */
const requestAliveMs = 10_000;
/** Of one table, since the last request: what can be looked up one by one in a second or two. */
const mostRows = 50_000;
/** Of all tables together: about 50 MB here and in the catalog. */
const mostRowsOfAll = 500_000;

type Table = { readonly schema: string; readonly name: string };
type Noted = Table & { readonly columns: readonly string[]; readonly keys: Set<string>; lsn: Lsn };

/** Before anything was applied. */
const nothing: TouchState = { epoch: 0, covered: zeroLsn, collecting: 0 };

/** A save is tried again soon, and the applier must not wait for it. */
const catalogWaitsMs = 250;

export class TouchTracker implements TouchLog {
  readonly #directory: string;
  /** Null as long as it cannot be opened. */
  #catalog: Catalog | null = null;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  #state: TouchState = nothing;
  /** Of the group under way. */
  readonly #openTables = new Map<string, Table>();
  readonly #openRows = new Map<string, Omit<Noted, 'lsn'>>();
  /** Not saved yet. */
  readonly #tables = new Map<string, Table & { lsn: Lsn }>();
  readonly #rows = new Map<string, Noted>();
  /** Rows noted of a table since the last request; tables beyond the bound are noted as a whole. */
  readonly #counts = new Map<string, number>();
  #countOfAll = 0;
  #sent: Lsn = zeroLsn;
  #eagerUntil = 0;
  /** Where the applier began; null before that. */
  #openedAt: Lsn | null = null;
  /** A new epoch has begun that the catalog does not know of yet: nothing else is written before it does. */
  #clearIsDue = false;
  #changed = false;
  #troubled = false;

  /** Never throws: a catalog that is busy, full or damaged now is tried again at every save. */
  constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
    this.#save();
    this.#timer = setInterval(() => this.#save(), saveEveryMs);
  }

  /** Whether a comparison waits for the position row: it is to be moved without delay. */
  get eager(): boolean {
    return Date.now() < this.#eagerUntil;
  }

  /**
   * The applier begins at the position row. It stands at what was covered, or inside of a process, where a COMMIT was
   * sent whose reply was lost; anywhere else somebody else has applied, or the target was set back: a new epoch.
   */
  opened(position: Lsn): void {
    const { covered, epoch, collecting } = this.#state;
    const again = this.#openedAt !== null;
    this.#openedAt ??= position;
    const known = again
      ? position >= covered && position <= laterLsn(covered, this.#sent)
      : position === covered;
    // Where the catalog could not be read yet, it is compared when it can be.
    if (known || (!again && this.#catalog === null)) {
      this.#state = { ...this.#state, covered: position };
      return;
    }
    this.#state = { epoch: epoch + 1, covered: position, collecting };
    this.#tables.clear();
    this.#rows.clear();
    this.#clearIsDue = true;
    this.#changed = true;
    this.#save();
  }

  add(run: Run): void {
    if (run.kind === 'truncate' || this.#state.collecting === 0) {
      for (const { schema, name } of runTables(run))
        this.#openTables.set(keyOf(schema, name), { schema, name });
      return;
    }
    const { schema, name } = run.plan.relation;
    const table = keyOf(schema, name);
    if (this.#openTables.has(table)) return;
    if ((this.#counts.get(table) ?? 0) >= mostRows || this.#countOfAll >= mostRowsOfAll) {
      this.#openTables.set(table, { schema, name });
      return;
    }
    const { columns, keys } = touchedRows(run);
    if (columns === null) {
      this.#openTables.set(table, { schema, name });
      return;
    }
    // Another key of the same table, since its description has changed, is noted beside the first.
    const noted = `${table} ${columns.join(' ')}`;
    let open = this.#openRows.get(noted);
    if (open === undefined) this.#openRows.set(noted, (open = { schema, name, columns, keys: new Set() }));
    for (const key of keys) open.keys.add(key);
    this.#counts.set(table, (this.#counts.get(table) ?? 0) + keys.length);
    this.#countOfAll += keys.length;
  }

  end(to: Lsn): void {
    this.#sent = laterLsn(this.#sent, to);
    for (const [key, { schema, name }] of this.#openTables) {
      this.#tables.set(key, { schema, name, lsn: to });
    }
    for (const [key, { keys, ...open }] of this.#openRows) {
      const noted = this.#rows.get(key);
      if (noted === undefined) this.#rows.set(key, { ...open, keys, lsn: to });
      else {
        for (const one of keys) noted.keys.add(one);
        noted.lsn = to;
      }
    }
    this.#openTables.clear();
    this.#openRows.clear();
    this.#changed = true;
  }

  /** A COMMIT was answered. */
  applied(lsn: Lsn): void {
    if (lsn <= this.#state.covered) return;
    this.#state = { ...this.#state, covered: lsn };
    this.#changed = true;
  }

  /** Saves now: a cutover is told that everything is on the target, and compares what was written. */
  save(): void {
    this.#save();
  }

  /** Saves and closes. */
  close(): void {
    clearInterval(this.#timer);
    this.#save();
    if (this.#catalog !== null) closeCatalog(this.#catalog);
  }

  /** The catalog, with what it knows joined to what is known here. */
  #open(): Catalog {
    if (this.#catalog !== null) return this.#catalog;
    const catalog = openCatalog(this.#directory, 'status');
    try {
      catalog.database.pragma(`busy_timeout = ${catalogWaitsMs}`);
      makeTouchTables(catalog);
      this.#join(loadTouchState(catalog) ?? nothing);
    } catch (error) {
      closeCatalog(catalog);
      throw error;
    }
    return (this.#catalog = catalog);
  }

  #join(recorded: TouchState): void {
    const { epoch, collecting, covered } = recorded;
    if (this.#openedAt === null) this.#state = recorded;
    else {
      if (this.#openedAt !== covered) this.#clearIsDue = true;
      this.#state = { epoch: this.#clearIsDue ? epoch + 1 : epoch, covered: this.#state.covered, collecting };
      this.#changed = true;
    }
  }

  /** What cannot be saved is kept for the next time; trouble with the catalog must not stop a stream. */
  #save(): void {
    try {
      const catalog = this.#open();
      this.#look(catalog);
      if (!this.#changed || this.#openedAt === null) return;
      // In one transaction: what is covered is never told without what was written up to there.
      catalog.database.transaction(() => {
        if (this.#clearIsDue) clearTouches(catalog, this.#state);
        saveTouches(catalog, {
          state: this.#state,
          tables: [...this.#tables.values()],
          rows: [...this.#rows.values()].map(({ keys, ...noted }) => ({ ...noted, keys: [...keys] })),
        });
      })();
      this.#clearIsDue = false;
      this.#tables.clear();
      this.#rows.clear();
      this.#changed = false;
      this.#troubled = false;
    } catch (error) {
      if (!this.#troubled) this.#log.warn(`what was written cannot be noted now: ${String(error)}`);
      this.#troubled = true;
    }
  }

  /** A new comparison: the count of rows begins anew, since what it proves covers those before. */
  #look(catalog: Catalog): void {
    const request = loadTouchRequest(catalog);
    if (request === null) return;
    this.#eagerUntil = request.aliveAt + requestAliveMs;
    if (request.number === this.#state.collecting) return;
    this.#state = { ...this.#state, collecting: request.number };
    this.#counts.clear();
    this.#countOfAll = 0;
    this.#changed = true;
  }
}

function keyOf(schema: string, name: string): string {
  return JSON.stringify([schema, name]);
}
