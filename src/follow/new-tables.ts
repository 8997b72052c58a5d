/**
 * What the stream does not tell of: tables that were made on the source after it began, which nobody copies and no
 * publication carries; a publication that was altered since; a partition published under its root's name that was
 * truncated, or rewritten. The applied changes would look complete all the same, so it is looked for these and said; and
 * what is lost for certain ends the run.
 */
import type { StreamRecord } from '../catalog/stream.js';
import type { Failure } from '../failure.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { fetchUnpublished, findAlteration, readTable } from './altered-publications.js';

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
  /** Told once that a publication was altered. */
  readonly onAltered: (failure: Failure) => void;
  readonly log: Log;
};

/** Looks now and then while it watches. Trouble with looking is no trouble of the stream. */
export class NewTables {
  readonly #options: NewTablesOptions;
  readonly #known = new Set<string>();
  readonly #files = new Map<string, string>();
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

  /** One look; never throws. */
  async #look(): Promise<void> {
    const { source, stream, log } = this.#options;
    // Without publications the plugin sends every table.
    if (this.#looking || stream.publications.length === 0) return;
    this.#looking = true;
    try {
      await using session = await connect(source, {
        side: 'source',
        applicationName: 'walferry look',
        retryForMs: 0,
      });
      await this.#lookForTables(session);
      await this.#lookForFiles(session);
      this.#looked = true;
    } catch (error) {
      log.debug('new tables cannot be looked for now', { reason: String(error) });
    } finally {
      this.#looking = false;
    }
  }

  async #lookForTables(session: Session): Promise<void> {
    const { stream, leavesOut, onAltered, log } = this.#options;
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
    const unseen = tables.filter(({ oid }) => !this.#known.has(oid));
    for (const { oid } of unseen) this.#known.add(oid);
    if (unseen.length > 0 && (this.#looked || !leavesOut)) {
      log.warn(
        `tables on the source that are not followed, because they were made after the stream began: ` +
          `${unseen.map(relationLabel).join(', ')}; copy them by hand, or start again with --restart`,
      );
    }
    if (!this.#looked) log.debug('the stream carries what it began with');
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
