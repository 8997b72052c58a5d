/**
 * What the stream does not tell of: tables that were made on the source after it began, which nobody copies and no
 * publication carries; a publication that was altered since; a partition published under its root's name that was
 * truncated, or rewritten; columns that were changed. The applied changes would look complete all the same, so it is looked
 * for these and said, the last time when everything is received; and what is lost for certain ends the run.
 */
import type { StreamRecord } from '../catalog/stream.js';
import type { Failure } from '../failure.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import { describeColumnChanges, type ColumnsOfTables } from '../model/column-change.js';
import { relationLabel } from '../model/relation.js';
import { fetchColumns, fetchColumnsFingerprint } from '../postgres/column-lists.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { fetchUnpublished, findAlteration, readTable, type FoundTable } from './altered-publications.js';

const lookEveryMs = 60_000;

/** The files of partitions that are published under another name. */
const partitionFiles = `
  select c.oid::text, n.nspname as schema, c.relname as name, pg_catalog.pg_relation_filenode(c.oid)::text as file
    from pg_catalog.json_to_recordset($1::json) as w(schema text, name text)
    join pg_catalog.pg_namespace n on n.nspname = w.schema
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
   order by 2, 3`;

export type NewTablesOptions = {
  readonly source: Conninfo;
  readonly stream: StreamRecord;
  /** Whether tables were left out on purpose: then those of the first look are not new. */
  readonly leavesOut: boolean;
  /** The tables that are copied and followed. */
  readonly keeps: Keeps;
  /** The columns of the source's tables when the stream began; null where that is not known. */
  readonly columns: ColumnsOfTables | null;
  /** Told once that a publication was altered. */
  readonly onAltered: (failure: Failure) => void;
  readonly log: Log;
};

/** Looks now and then while it watches. Trouble with looking is no trouble of the stream. */
export class NewTables {
  readonly #options: NewTablesOptions;
  /** OIDs of the tables that no publication carries, and whether they were made after the stream began. */
  readonly #known = new Map<string, boolean>();
  readonly #files = new Map<string, string>();
  #columnsSeen: string | null = null;
  /** What has become of the columns, as it was said last. */
  #changes: string | null = null;
  #altered = false;
  #timer: NodeJS.Timeout | null = null;
  #looked = false;
  #looking = false;

  constructor(options: NewTablesOptions) {
    this.#options = options;
  }

  /** Looks at once, and each minute from now on. */
  watch(): void {
    this.#timer ??= setInterval(() => void this.#look(), lookEveryMs).unref();
    void this.#look();
  }

  /** Until it is told to watch again it does not look, and tells nothing of a look that is under way. */
  rest(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /**
   * Everything up to the end position is received: looks once more, and says all that was found since the stream began,
   * for whoever is about to switch has not read the log of last week. Never throws.
   */
  async sayAtEnd(signal: AbortSignal): Promise<void> {
    const { source, stream, log } = this.#options;
    try {
      await using session = await connect(source, {
        side: 'source',
        applicationName: 'walferry look',
        retryForMs: 0,
        signal,
      });
      if (stream.publications.length > 0) this.#sayTables(await fetchUnpublished(session, stream), true);
      await this.#lookForColumns(session, true);
    } catch (error) {
      log.debug('new tables cannot be looked for now', { reason: String(error) });
    }
  }

  /** One look; never throws. */
  async #look(): Promise<void> {
    const { source, stream, log } = this.#options;
    if (this.#looking) return;
    this.#looking = true;
    try {
      await using session = await connect(source, {
        side: 'source',
        applicationName: 'walferry look',
        retryForMs: 0,
      });
      // Without publications the plugin sends every table.
      if (stream.publications.length > 0) await this.#lookForTables(session);
      await this.#lookForFiles(session);
      if (this.#timer !== null) await this.#lookForColumns(session, false);
      this.#looked = true;
    } catch (error) {
      log.debug('new tables cannot be looked for now', { reason: String(error) });
    } finally {
      this.#looking = false;
    }
  }

  async #lookForTables(session: Session): Promise<void> {
    const { stream, onAltered, log } = this.#options;
    const tables = await fetchUnpublished(session, stream);
    if (!this.#altered) {
      const signal = new AbortController().signal;
      const failure = await findAlteration(session, { ...this.#options, signal }, tables);
      if (this.#timer === null) return;
      if (failure !== null) {
        this.#altered = true;
        return onAltered(failure);
      }
    }
    this.#sayTables(tables, false);
    if (!this.#looked) log.debug('the stream carries what it began with');
  }

  #sayTables(tables: readonly FoundTable[], again: boolean): void {
    const unseen = tables.filter(({ oid }) => !this.#known.has(oid));
    const isNew = this.#looked || !this.#options.leavesOut;
    for (const { oid } of unseen) this.#known.set(oid, isNew);
    const said = again ? tables.filter(({ oid }) => this.#known.get(oid)) : isNew ? unseen : [];
    if (said.length === 0) return;
    this.#options.log.warn(
      `tables on the source that are not followed, because they were made after the stream began: ` +
        `${said.map(relationLabel).join(', ')}; copy them by hand, or start again with --restart`,
    );
  }

  async #lookForColumns(session: Session, again: boolean): Promise<void> {
    const { columns, keeps, log } = this.#options;
    if (columns === null) return;
    const seen = await fetchColumnsFingerprint(session);
    const said = this.#changes;
    if (seen !== this.#columnsSeen) {
      const kept = Object.entries(await fetchColumns(session)).filter(([, table]) => keeps(table));
      this.#changes = describeColumnChanges(columns, Object.fromEntries(kept));
      this.#columnsSeen = seen;
    }
    if (this.#changes === null || (this.#changes === said && !again)) return;
    log.warn(
      `columns were changed on the source after the stream began, which no stream carries: ${this.#changes}; ` +
        'make the same change on the target, and compare the data: what came meanwhile was taken as the target has the column',
    );
  }

  async #lookForFiles(session: Session): Promise<void> {
    const { stream, log } = this.#options;
    const partitions = stream.parts.filter(({ root }) => root !== null);
    if (partitions.length === 0) return;
    const names = partitions.map(({ schema, name }) => ({ schema, name }));
    for (const row of await session.query(partitionFiles, [JSON.stringify(names)])) {
      const { oid, ...table } = readTable(row);
      const [before, file] = [this.#files.get(oid), row['file'] ?? ''];
      this.#files.set(oid, file);
      if (before === undefined || before === file) continue;
      log.warn(
        `the partition ${relationLabel(table)} was truncated or rewritten on the source. It is published under the name of its root, and the source does not send a TRUNCATE of it: where it was one, truncate it on the target too, and compare`,
      );
    }
  }
}
