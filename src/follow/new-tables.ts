/**
 * Tables that were made on the source after the stream began: nobody copies them, and no publication carries their
 * changes. The applied changes would look complete all the same, so it is looked for them and said.
 */
import type { StreamRecord } from '../catalog/stream.js';
import type { Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';

const lookEveryMs = 60_000;

/** Permanent tables of users that the publications do not carry. Those of an extension come with the extension. */
const notPublished = `
  select c.oid::text, n.nspname as schema, c.relname as name
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.relkind = 'r' and c.relpersistence = 'p' and c.oid >= 16384
     and n.nspname not in ('pg_catalog', 'information_schema', 'walferry') and n.nspname !~ '^pg_'
     and not exists (select from pg_catalog.pg_depend d
                      where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.deptype = 'e')
     and not exists (select from pg_catalog.pg_publication_tables t
                      where t.pubname = any ($1::name[]) and t.schemaname = n.nspname
                        and (t.tablename = c.relname or t.tablename in (
                              select r.relname from pg_catalog.pg_partition_ancestors(c.oid) a
                                join pg_catalog.pg_class r on r.oid = a.relid)))
   order by 2, 3`;

export type NewTablesOptions = {
  readonly source: Conninfo;
  readonly stream: StreamRecord;
  /** Whether tables were left out on purpose: then those of the first look are not new. */
  readonly leavesOut: boolean;
  readonly log: Log;
};

/** Looks now and then until it is closed. Trouble with looking is no trouble of the stream. */
export class NewTables {
  readonly #options: NewTablesOptions;
  readonly #known = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  #looked = false;
  #looking = false;

  constructor(options: NewTablesOptions, everyMs = lookEveryMs) {
    this.#options = options;
    this.#timer = setInterval(() => void this.look(), everyMs).unref();
    void this.look();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** One look; never throws. */
  async look(): Promise<void> {
    const { source, stream, leavesOut, log } = this.#options;
    // Without publications the plugin sends every table.
    if (this.#looking || stream.publications.length === 0) return;
    this.#looking = true;
    try {
      await using session = await connect(source, {
        side: 'source',
        applicationName: 'walferry look',
        retryForMs: 0,
      });
      const list = `{${stream.publications.map((name) => `"${name.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`;
      const rows = await session.query(notPublished, [list]);
      const tables = rows.map((row) => ({
        oid: row['oid'] ?? '',
        schema: row['schema'] ?? '',
        name: row['name'] ?? '',
      }));
      const unseen = tables.filter(({ oid }) => !this.#known.has(oid));
      for (const { oid } of unseen) this.#known.add(oid);
      if (unseen.length > 0 && (this.#looked || !leavesOut)) {
        log.warn(
          `tables on the source that are not followed, because they were made after the stream began: ` +
            `${unseen.map(relationLabel).join(', ')}; copy them by hand, or start again with --restart`,
        );
      }
      this.#looked = true;
    } catch (error) {
      log.debug('new tables cannot be looked for now', { reason: String(error) });
    } finally {
      this.#looking = false;
    }
  }
}
