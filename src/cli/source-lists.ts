/** How the `list` commands ask the source: one session, one moment, nothing kept in the work directory. */
import type { ListScope } from '../postgres/catalog-lists.js';
import type { Session } from '../postgres/connect.js';
import type { ObjectFilter } from '../filter/decide.js';
import { Failure } from '../failure.js';
import type { CommandContext } from './command.js';
import type { Settings } from './settings.js';

/**
 * Opens a session on the source, in a transaction that sees one moment (that of --snapshot, where it is given), and
 * closes it after the work. Definitions name their objects in full, since the search path is empty.
 */
export async function onSource<Result>(
  context: CommandContext,
  work: (session: Session) => Promise<Result>,
): Promise<Result> {
  const { connect } = await import('../postgres/connect.js');
  const { importSnapshot } = await import('../postgres/snapshot.js');
  const { settings, log, signal } = context;
  const applicationName = `walferry ${context.path}`;
  await using session = await connect(context.source(), { side: 'source', applicationName, log, signal });
  if (settings.snapshot !== null) await importSnapshot(session, settings.snapshot);
  else await session.query('begin isolation level repeatable read, read only');
  await session.query(`select pg_catalog.set_config('search_path', '', false)`);
  return await work(session);
}

/** What a list shows of what it finds. */
export type Listed = {
  /** Null without --filters. */
  readonly filter: ObjectFilter | null;
  /** `SOURCE_FILTER_TYPE_…` and the entries, as `list schema` prints them. */
  readonly filters: Readonly<Record<string, unknown>>;
  /** What the filters keep; with --list-skipped what they leave out; everything without filters. */
  readonly shows: (isKept: (filter: ObjectFilter) => boolean) => boolean;
};

/** Reads --filters and --list-skipped, and asks the source what they come to. Throws `usage`, `filter-mismatch`. */
export async function chooseListed({ settings, log }: CommandContext, session: Session): Promise<Listed> {
  const { filterText } = await import('../filter/scope.js');
  if (settings.filters === null) {
    return { filter: null, filters: JSON.parse(filterText([])) as Listed['filters'], shows: () => true };
  }
  const { loadFilterFile } = await import('../filter/load.js');
  const { resolveOnSource } = await import('../clone/filtered-schema.js');
  const file = await loadFilterFile(settings.filters);
  const filter = await resolveOnSource(session, file, log);
  return {
    filter,
    filters: JSON.parse(filterText(file.rules)) as Listed['filters'],
    shows: (isKept) => isKept(filter) !== settings.listSkipped,
  };
}

/** The schema and table that are asked for. A table is looked for in public unless told otherwise. */
export function listScope({ schemaName, tableName }: Settings): ListScope {
  return { schema: schemaName ?? (tableName === null ? null : 'public'), table: tableName };
}

/** As the peer: a schema alone is refused where a table is what is asked for. Throws `usage`. */
export function tableScope(settings: Settings): ListScope {
  if (settings.schemaName !== null && settings.tableName === null) {
    throw new Failure('usage', 'Option --schema-name needs --table-name');
  }
  return listScope(settings);
}
