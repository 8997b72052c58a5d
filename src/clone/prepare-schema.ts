/**
 * What a clone must know of the source before anything is made: its catalogs, read and judged, and its dump, which
 * pg_dump makes meanwhile where nothing is left out of it. Both lie in the work directory afterwards.
 */
import { deleteFilter, saveFilter } from '../catalog/filter-record.js';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import { failpoint } from '../failpoint.js';
import { relationLabel } from '../model/relation.js';
import type { Session } from '../postgres/connect.js';
import { catalogOids, dumpSchema, listDump } from '../postgres/dump.js';
import type { DumpExclusions } from '../postgres/dump.js';
import { fetchBinaryTables } from '../postgres/binary-copy.js';
import { fetchEntryIdentities } from '../postgres/object-identity.js';
import { fetchSeen } from '../postgres/generation.js';
import { fetchSourceSchema } from '../postgres/schema.js';
import type { SourceSchema, TableFacts } from '../postgres/schema.js';
import type { DoneTask } from '../postgres/task-table.js';
import {
  dumpExclusions,
  expectKeysHold,
  filterSchema,
  leftOutEntries,
  resolveOnSource,
  tablesWithoutRows,
} from './filtered-schema.js';
import type { ObjectFilter } from '../filter/decide.js';
import { keptSequencesOf } from '../filter/scope.js';
import { fetchDatabaseProperties } from './database-properties.js';
import { fetchCitusTables } from './extension-hooks.js';
import { expectExtensions, fetchExtensions, fetchExtensionSchemas } from './extensions.js';
import { expectKeysHoldInParts } from './published-keys.js';
import { expectReadableLargeObjects } from './large-objects.js';
import { expectRowTypesHold } from './column-order.js';
import type { CloneOptions } from './options.js';
import { expectNoneHalfDetached, expectReadable } from './requirements.js';
import { expectReadableSequences } from './sequences.js';
import { recordProblems } from './problems.js';
import type { ProgressTeller } from './progress.js';
import { loadSchemaFile, saveSchemaFile, schemaPaths } from './schema-file.js';
import type { SchemaFile } from './schema-file.js';
import { openInSnapshot } from './sessions.js';
import { skipChoices, withoutSkipped } from './skipped.js';
import { lendTarget } from './spare-target.js';
import { withSplits } from './split-schema.js';
import { stepLabels } from './summary.js';
import { timed } from './timed.js';

/** The task of the target's task table that says that every row is there. */
export const copyPhaseTask = 'copy phase';

/** As a clone's; without a target nothing is asked of it before the dump. */
export type SchemaOptions = Omit<CloneOptions, 'target'> & { readonly target: CloneOptions['target'] | null };

/** The source's schema: from the work directory when it is there, else read and dumped in the snapshot. */
export async function prepareSchema(
  options: SchemaOptions,
  done: ReadonlyMap<string, DoneTask>,
  progress: ProgressTeller,
): Promise<SchemaFile> {
  const stored = options.resume ? await loadSchemaFile(options.directory) : null;
  const isCurrent = (file: SchemaFile) =>
    file.snapshot === options.snapshot ||
    options.notConsistent === true ||
    options.generation !== undefined ||
    // Once every row is there the snapshot has done its work.
    done.has(copyPhaseTask);
  if (stored !== null && isCurrent(stored)) return withoutSkipped(stored, options);
  if (done.size > 0) {
    throw new Failure(
      'snapshot-lost',
      `this clone was begun with ${stored === null ? 'a snapshot that is not known any more' : `the snapshot ${stored.snapshot}`}, and cannot be finished with ${options.snapshot}`,
    );
  }
  await using source = await openInSnapshot(options.source, options.snapshot, 'clone', options);
  progress.enter('catalog');
  const { dump } = schemaPaths(options.directory);
  const dumping = new AbortController();
  const dumpWith = (exclude: DumpExclusions | undefined) =>
    timed(options, stepLabels.dump, 'source', 1, () =>
      dumpSchema({
        source: options.source,
        snapshot: options.snapshot,
        file: dump,
        serverVersion: source.serverVersion,
        exclude,
        log: options.log,
        signal: anySignal(options.signal, dumping.signal),
      }),
    );
  // What a filter leaves out is known only when the catalogs are read; without one pg_dump begins at once.
  const early = (options.filters ?? null) === null ? dumpWith(undefined) : null;
  early?.catch(() => {});
  const read = await timed(options, stepLabels.catalog, 'source', 1, () => readSchema(source, options)).catch(
    async (error: unknown) => {
      dumping.abort(error);
      await early?.catch(() => {});
      throw error;
    },
  );
  const { whole, filter, schema, ...others } = read;
  progress.enter('dump');
  await (early ?? dumpWith(filter === null ? undefined : dumpExclusions(whole, filter)));
  return await timed(options, stepLabels.dump, 'source', 1, async () => {
    const entries = await listDump(dump, {
      serverVersion: source.serverVersion,
      log: options.log,
      signal: options.signal,
    });
    const identities = await fetchEntryIdentities(source, entries);
    const extensionSchemas = await fetchExtensionSchemas(source);
    failpoint('clone.dumped');
    const file = await saveSchemaFile(options.directory, {
      snapshot: options.snapshot,
      ...(await whatItSees(source, options)),
      schema,
      entries,
      identities: [...identities],
      leftOut: filter === null ? [] : leftOutEntries(entries, filter),
      skipped: skipChoices(options),
      extensionSchemas: [...extensionSchemas],
      withoutRows: [
        ...(filter === null ? [] : tablesWithoutRows(schema, filter)),
        ...unreadableOnStandby(source, schema, options),
      ],
      ...others,
    });
    return withoutSkipped(file, options);
  });
}

function anySignal(first: AbortSignal | undefined, second: AbortSignal): AbortSignal {
  return first === undefined ? second : AbortSignal.any([first, second]);
}

/** A standby's snapshot does not name the transactions in progress (DESIGN 11.4). */
async function whatItSees(source: Session, { follow }: SchemaOptions): Promise<Pick<SchemaFile, 'seen'>> {
  if (!follow || source.inRecovery) return {};
  return { seen: await fetchSeen(source) };
}

/** A standby has the unlogged tables, and none of their rows: they are made empty, and it is told. */
function unreadableOnStandby(source: Session, schema: SourceSchema, { directory }: SchemaOptions): number[] {
  if (!source.inRecovery) return [];
  const unlogged = schema.tables.filter(
    ({ kind, persistence }) => kind === 'table' && persistence === 'unlogged',
  );
  const message = 'it is unlogged, and a standby does not have its rows: copy them from the primary';
  recordProblems(
    directory,
    unlogged.map((table) => ({ object: `rows of ${relationLabel(table)}`, message, sql: null })),
  );
  return unlogged.map(({ oid }) => oid);
}

type ReadSchema = Pick<SchemaFile, 'schema' | 'extensions' | 'properties' | 'citusTables'> & {
  readonly whole: SourceSchema;
  readonly filter: ObjectFilter | null;
};

/** What the source holds, and what filters and options leave of it; what can be refused is refused here. */
async function readSchema(source: Session, options: SchemaOptions): Promise<ReadSchema> {
  const read = await readTables(source, options);
  const { filter } = read;
  if (read.schema.largeObjects && options.skipLargeObjects !== true) await expectReadableLargeObjects(source);
  const all = await fetchExtensions(source);
  const isKept = (classOid: number, oid: number) => filter === null || !filter.leavesOut(classOid, oid);
  const extensions = all.filter(({ oid }) => isKept(catalogOids.extension, oid));
  if (options.target !== null) {
    await using lent = await lendTarget({ ...options, target: options.target });
    await expectExtensions(source, lent.session, extensions, options, isKept);
  }
  return {
    ...read,
    extensions,
    properties: await fetchDatabaseProperties(source),
    citusTables: await fetchCitusTables(source, extensions),
  };
}

/** The whole schema of the source, and what a filter leaves of it; what it decided is remembered. */
async function readTables(
  source: Session,
  options: SchemaOptions,
): Promise<Pick<ReadSchema, 'whole' | 'filter' | 'schema'>> {
  const { filters = null, published = [], catalog, log } = options;
  const whole: SourceSchema = {
    ...(await fetchSourceSchema(source, { estimateSizes: options.estimateTableSizes === true })),
    binary: await fetchBinaryTables(source),
    parts: published,
  };
  if (filters === null) {
    deleteFilter(catalog);
    expectReadable(whole.tables, options.source.user);
    await expectNoneHalfDetached(source, whole.tables);
    await sayColumnOrder(source, whole.tables, () => true, log);
    await expectReadableSequences(source, () => true, options.source.user);
    await expectKeysHoldInParts(source, whole);
    return { whole, filter: null, schema: await withSplits(source, whole, options.split) };
  }
  const filter = await resolveOnSource(source, filters, log);
  const schema = filterSchema(whole, filter);
  expectReadable(schema.tables, options.source.user);
  await expectNoneHalfDetached(source, schema.tables);
  await sayColumnOrder(source, schema.tables, ({ oid }) => filter.decideRelation(oid).data, log);
  await expectReadableSequences(source, keptSequencesOf(filter.scope()), options.source.user);
  await expectKeysHold(source, schema, filters, filter);
  await expectKeysHoldInParts(source, schema);
  saveFilter(catalog, { file: filters.file, rules: filters.rules, scope: filter.scope() });
  return { whole, filter, schema: await withSplits(source, schema, options.split) };
}

async function sayColumnOrder(
  source: Session,
  tables: SourceSchema['tables'],
  withRows: (table: TableFacts) => boolean,
  log: Log,
): Promise<void> {
  const remark = await expectRowTypesHold(
    source,
    tables.map((table) => ({ ...table, withRows: withRows(table) })),
  );
  if (remark !== null) log.warn(remark);
}
