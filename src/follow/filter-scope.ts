/**
 * The filter of a run: given on the command line or remembered from the run's beginning, and what it comes to, which
 * must be known before the first change is received.
 */
import { deleteFilter, loadFilter, saveFilter } from '../catalog/filter-record.js';
import { loadColumns } from '../catalog/columns.js';
import { openCatalog, closeCatalog, type Catalog } from '../catalog/database.js';
import { loadSetup } from '../catalog/setup.js';
import { resolveOnSource } from '../clone/filtered-schema.js';
import { Failure } from '../failure.js';
import type { ObjectFilter } from '../filter/decide.js';
import type { FilterFile } from '../filter/parse.js';
import { filteredPlugin, filterText, keepsOf, type Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import type { ColumnsOfTables } from '../model/column-change.js';
import type { Plugin } from '../model/plugin.js';
import type { Session } from '../postgres/connect.js';

/** The filters that were given; without any, those that the run in this directory was begun with. */
export function chooseFilters(catalog: Catalog, given: FilterFile | null): FilterFile | null {
  if (given !== null) return given;
  const recorded = loadFilter(catalog);
  return recorded === null ? null : { file: recorded.file, rules: recorded.rules, warnings: [] };
}

/** Whether these are the filters that the directory remembers. */
export function isRemembered(catalog: Catalog, filters: FilterFile): boolean {
  const recorded = loadFilter(catalog);
  return recorded !== null && filterText(recorded.rules) === filterText(filters.rules);
}

/** Throws `work-directory-used` when the directory was begun with other filters, or with none. */
export function expectSameFilters(catalog: Catalog, given: FilterFile | null): void {
  if (given === null) return;
  const recorded = loadFilter(catalog);
  const was = recorded === null ? 'none' : filterText(recorded.rules);
  const is = filterText(given.rules);
  if (was === is) return;
  throw new Failure(
    'work-directory-used',
    `the work directory follows with other filters: they were ${was} and are now ${is}`,
    { remedy: 'Leave --filters out to go on with those, or use another --dir.' },
  );
}

/**
 * What becomes of the filter that a directory remembers when a stream is set up there and none is given. It stays, and is
 * said, where a copy was made by it, or where that setup was begun already (`begun`). Else it is that of an earlier stream,
 * which was taken down, and is forgotten: nobody asked for it.
 */
export function settleFilters(
  catalog: Catalog,
  { given, begun, log }: { readonly given: FilterFile | null; readonly begun: boolean; readonly log: Log },
): void {
  const recorded = loadFilter(catalog);
  if (given !== null || recorded === null) return;
  if (begun || loadSetup(catalog) !== null) {
    log.info(
      `changes of what ${recorded.file} leaves out are not followed: this directory was begun with it`,
    );
  } else deleteFilter(catalog);
}

/** Asks the source what the filters come to, as it is now. The session has no open transaction. */
export async function resolveNow(session: Session, filters: FilterFile, log: Log): Promise<ObjectFilter> {
  await session.query('begin isolation level repeatable read read only');
  const filter = await resolveOnSource(session, filters, log);
  await session.query('commit');
  return filter;
}

/** Asks the source what the filters come to, as it is now, and remembers it. The session has no open transaction. */
export async function rememberScope(
  session: Session,
  catalog: Catalog,
  filters: FilterFile,
  log: Log,
): Promise<ObjectFilter> {
  const filter = await resolveNow(session, filters, log);
  saveFilter(catalog, { file: filters.file, rules: filters.rules, scope: filter.scope() });
  return filter;
}

/** The plugin, without the changes of what the run in this directory leaves out. */
export function pluginInScope(directory: string, plugin: Plugin): Plugin {
  const catalog = openCatalog(directory, 'status');
  try {
    const scope = loadFilter(catalog)?.scope ?? null;
    return scope === null ? plugin : filteredPlugin(plugin, keepsOf(scope));
  } finally {
    closeCatalog(catalog);
  }
}

/** The tables whose rows the run in this directory copies and follows. */
export function keptTables(directory: string): Keeps {
  const catalog = openCatalog(directory, 'status');
  try {
    const scope = loadFilter(catalog)?.scope ?? null;
    return scope === null ? () => true : keepsOf(scope);
  } finally {
    closeCatalog(catalog);
  }
}

/** The columns of the source's tables when the stream of this directory began; null where that is not known. */
export function columnsThen(directory: string): ColumnsOfTables | null {
  const catalog = openCatalog(directory, 'status');
  try {
    return loadColumns(catalog);
  } finally {
    closeCatalog(catalog);
  }
}

/** Whether the run in this directory leaves something out. */
export function leavesOut(directory: string): boolean {
  const catalog = openCatalog(directory, 'status');
  try {
    return loadFilter(catalog) !== null;
  } finally {
    closeCatalog(catalog);
  }
}
