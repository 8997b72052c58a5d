/**
 * Which tables a stream follows, and what of each: decided before there is a slot, by our own publications, by one of
 * somebody else, or, for plugins that know no publications, by a list of our own.
 */
import type { Catalog } from '../catalog/database.js';
import type { StreamRecord } from '../catalog/stream.js';
import type { FilterFile } from '../filter/parse.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import type { PluginName } from '../model/plugin.js';
import { describePart, partsByName, type PublishedPart } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';
import type { SourceTable } from '../model/source-table.js';
import type { Session } from '../postgres/connect.js';
import { createPublications, fetchPublicationState, type PublishedTable } from '../postgres/publication.js';
import { fetchPublicationParts, type CandidateTable } from '../postgres/published-parts.js';
import { fetchTables, type TableFacts } from '../postgres/schema.js';
import { fetchSourceTables } from '../postgres/source-tables.js';
import { expectPublicationRead } from '../postgres/stream-requirements.js';
import { rememberScope } from './filter-scope.js';

/** What the stream's record says of its tables. */
export type ChosenTables = Pick<StreamRecord, 'publications' | 'tables' | 'parts' | 'carried' | 'made'>;

export type TableChoices = {
  readonly plugin: PluginName;
  /** A publication made by somebody else; null: ours are made, called `publicationName`. */
  readonly publication: string | null;
  readonly publicationName: string;
};

type ChooseOptions = {
  readonly catalog: Catalog;
  readonly filters?: FilterFile | null | undefined;
  readonly log: Log;
};

/**
 * Chooses the tables, and makes our publications where they are wanted: the only thing that it makes, in one
 * transaction. Throws `source-setup`, `source-rights`, `usage`, `filter-mismatch`.
 */
export async function chooseFollowed(
  session: Session,
  choices: TableChoices,
  options: ChooseOptions,
): Promise<ChosenTables> {
  const { plugin, publication } = choices;
  const { log } = options;
  const all = await fetchCandidates(session, options);
  const copied = all.filter((table) => table.copied);
  if (plugin !== 'pgoutput') {
    const tables = await listTables(session, copied, choices, log);
    return { publications: [], parts: [], carried: [], made: null, tables };
  }
  if (publication === null) {
    const made = await makePublications(session, copied, choices.publicationName, log);
    return { ...made, parts: [], tables: null };
  }
  return {
    publications: [publication],
    ...(await fetchParts(session, publication, all, log)),
    made: null,
    tables: null,
  };
}

/** Every table of the source, and whether its rows are copied. */
async function fetchCandidates(
  session: Session,
  { catalog, filters = null, log }: ChooseOptions,
): Promise<readonly (TableFacts & CandidateTable)[]> {
  const tables = await fetchTables(session);
  const filter = filters === null ? null : await rememberScope(session, catalog, filters, log);
  return tables.map((table) => ({
    ...table,
    copied: filter === null || filter.decideRelation(table.oid).data,
  }));
}

/** What the publication of somebody else carries of the tables that are copied. Throws `source-setup`. */
async function fetchParts(
  session: Session,
  publication: string,
  tables: readonly CandidateTable[],
  log: Log,
): Promise<Pick<ChosenTables, 'parts' | 'carried'>> {
  const { parts, missing, warnings } = await fetchPublicationParts(session, publication, tables);
  if (missing.length > 0) {
    log.warn(
      `publication "${publication}" leaves out, so that their changes are lost: ${missing.join(', ')}`,
    );
  }
  for (const part of parts) {
    const words = describePart(part);
    if (words !== null) log.info(`publication "${publication}": of ${relationLabel(part)}: ${words}`);
  }
  for (const warning of warnings) log.warn(`publication "${publication}": ${warning}`);
  const leftOut = new Set(missing);
  const carried = tables
    .filter(({ kind, copied }) => kind === 'table' && copied)
    .map(relationLabel)
    .filter((label) => !leftOut.has(label));
  return { parts, carried };
}

/** Makes our publications for every table that is copied. */
async function makePublications(
  session: Session,
  copied: readonly TableFacts[],
  name: string,
  log: Log,
): Promise<Pick<ChosenTables, 'publications' | 'carried' | 'made'>> {
  const tables: PublishedTable[] = copied
    .filter((table) => table.kind === 'table')
    .map(({ oid, schema, name }) => ({ oid: String(oid), schema, name }));
  const made = await createPublications(session, { name, tables });
  if (made.insertsOnly.length > 0) {
    log.warn(
      'tables without a replica identity: inserts and truncates are followed, updates and deletes are not: ' +
        made.insertsOnly.map(relationLabel).join(', '),
    );
  }
  const unlogged = made.leftOut.filter((table) => table.leftOut === 'unlogged');
  if (unlogged.length > 0) {
    log.warn(
      `unlogged tables are copied, their changes cannot be followed: ${unlogged.map(relationLabel).join(', ')}`,
    );
  }
  const leftOut = new Set(made.leftOut.map(relationLabel));
  return {
    publications: made.names,
    carried: tables.map(relationLabel).filter((label) => !leftOut.has(label)),
    made: await fetchPublicationState(session, made.names),
  };
}

/**
 * The other plugins print the changes of every table, and leave it to us which of them are followed: those that are
 * copied, as they are before the slot is made.
 */
async function listTables(
  session: Session,
  tables: readonly TableFacts[],
  { plugin, publication }: TableChoices,
  log: Log,
): Promise<readonly SourceTable[]> {
  expectPublicationRead(publication, plugin);
  const copied = new Map(tables.map((table) => [table.oid, table]));
  const described = await fetchSourceTables(session);
  const followed = described.tables.filter(({ oid }) => copied.has(oid));
  const unidentified = followed.filter((table) => table.identity !== 'full' && table.key.length === 0);
  if (unidentified.length > 0) {
    log.warn(
      'tables without a replica identity: inserts and truncates are followed, an update or a delete will stop the ' +
        `stream, since ${plugin} cannot say which row it was: ${unidentified.map(relationLabel).join(', ')}`,
    );
  }
  const unlogged = [...copied.values()].filter((table) => table.persistence === 'unlogged');
  if (unlogged.length > 0) {
    log.warn(
      `unlogged tables are copied, their changes cannot be followed: ${unlogged.map(relationLabel).join(', ')}`,
    );
  }
  if (plugin === 'wal2json') {
    log.warn(
      'wal2json does not say whether a TRUNCATE restarts the identity: none is restarted on the target',
    );
  }
  return followed;
}

/** Whether the stream is read through a publication made by somebody else. */
export function isOfOthers({ publications, ownPublications }: StreamRecord): boolean {
  return publications.length > 0 && ownPublications.length === 0;
}

/** In words. */
export function sayChanged({ publications }: StreamRecord, changed: readonly string[]): string {
  return `the publication "${publications[0]}" publishes other tables, columns or rows than when the stream began, of ${changed.join(', ')}: the target was copied by what it published then`;
}

/** The tables of which a publication of somebody else carries another part than when the stream began, or none, as labels. */
export async function fetchChangedParts(
  session: Session,
  stream: StreamRecord,
  keeps: Keeps,
): Promise<readonly string[]> {
  const [publication] = stream.publications;
  if (publication === undefined || !isOfOthers(stream)) return [];
  const tables = (await fetchTables(session, { estimateSizes: true })).map((table) => ({
    ...table,
    copied: keeps(table),
  }));
  const now = await fetchPublicationParts(session, publication, tables);
  const there = new Set(tables.map(relationLabel));
  const carried = new Set(stream.carried);
  const lost = now.missing.filter((label) => carried.has(label));
  // What was dropped is published no more.
  const changed = changedParts(
    stream.parts.filter((part) => there.has(relationLabel(part))),
    now.parts,
  );
  return [...new Set([...lost, ...changed])];
}

/** Labels of the tables of which another part is published now. Partitions made later go by their root. Pure. */
export function changedParts(then: readonly PublishedPart[], now: readonly PublishedPart[]): string[] {
  const words = ({ columns, rowFilter, root }: PublishedPart) => JSON.stringify([columns, rowFilter, root]);
  const [was, is] = [partsByName(then), partsByName(now)];
  const isNewPartition = (part: PublishedPart) => part.root !== null && was(part.root) !== null;
  const gone = then.filter((part) => is(part) === null);
  const other = now.filter((part) => {
    const before = was(part);
    return before === null ? !isNewPartition(part) : words(before) !== words(part);
  });
  return [...gone, ...other].map(relationLabel);
}
