/**
 * The comparison inside of the pause: both sides stand still, the target at the end position. Behind it is whatever
 * compare/ can do; a cutover wants to know whether the sides are equal, and if not, which rows are not.
 */
import { closeCatalog, openCatalog } from '../catalog/database.js';
import { loadTouchRecord, makeTouchTables } from '../catalog/touches.js';
import {
  differenceSentence,
  rowLines,
  sidesDiffer,
  type DataComparison,
  type TableComparison,
  type TableName,
} from '../compare/comparison.js';
import { compareData } from '../compare/data.js';
import { openComparison } from '../compare/opening.js';
import type { CompareDataOptions } from '../compare/options.js';
import { filesOf, forgetProofs } from '../compare/proofs.js';
import type { SessionsAhead } from '../compare/sides.js';
import { compareTouched, judgeTouched } from '../compare/touched.js';
import { listLabels } from '../clone/requirements.js';
import { asFailure, Failure } from '../failure.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import { zeroLsn } from '../model/lsn.js';
import type { PublishedPart } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { VerifyMode } from './choices.js';
import type { UncarriedTable } from './copy-again.js';

export type VerifyOptions = {
  readonly mode: VerifyMode;
  readonly source: Conninfo;
  readonly target: Conninfo;
  /** The work directory, where proofs are kept. */
  readonly directory: string;
  readonly key: StreamKey;
  readonly jobs: number;
  readonly keeps: Keeps | null;
  /** Sessions that were opened before the pause. */
  readonly ahead?: SessionsAhead | undefined;
  /** Of which tables the stream carries a part. */
  readonly parts: readonly PublishedPart[];
  /** Of which the stream does not carry every change. */
  readonly uncarried: readonly UncarriedTable[];
  /** They are copied again in the pause: unlogged ones too are compared there, and none of them before it. */
  readonly copyAgain: boolean;
  readonly log: Log;
  readonly signal: AbortSignal;
};

export type Verification = {
  /** What was looked at, in words. */
  readonly detail: string;
  /** Null where both sides are equal. */
  readonly difference: Failure | null;
};

/** A difference is looked at once more, for the rows: what differs is known by its keys then. */
export async function verify(options: VerifyOptions): Promise<Verification> {
  switch (options.mode) {
    case 'none':
      return { detail: 'not asked for', difference: null };
    case 'touched': {
      const comparison = await compareTouched({ ...options, loggedOnly: loggedOnly(options) });
      const { untouched, rows, whole } = comparison.reused;
      const detail = `touched: ${untouched} tables not written since they were proven, ${rows} in the rows written since, ${whole} as a whole${leftOut(comparison, options.log)}`;
      return { detail, difference: await differenceOf(comparison, options) };
    }
    case 'counts':
    case 'full': {
      const depth = options.mode === 'counts' ? 'counts' : 'checksums';
      const comparison = await compareStill(options, { depth });
      const rows = comparison.tables.reduce((sum, table) => sum + (table.source?.rows ?? 0n), 0n);
      const detail = `${options.mode}: ${comparison.tables.length} tables, ${rows} rows${leftOut(comparison, options.log)}`;
      return { detail, difference: await differenceOf(comparison, options) };
    }
  }
}

function compareStill(
  options: VerifyOptions,
  how: Pick<CompareDataOptions, 'depth' | 'tables'>,
): Promise<DataComparison> {
  const { source, target, jobs, keeps, parts, ahead, log, signal } = options;
  const which = { keeps, parts, loggedOnly: loggedOnly(options), ...how };
  return compareData({ source, target, jobs, ahead, log, signal, ...which });
}

function loggedOnly({ copyAgain }: VerifyOptions): boolean {
  return !copyAgain;
}

/** The stream told nothing of unlogged tables: what was written to them since their copy is not on the target. */
function leftOut({ unlogged = [] }: DataComparison, log: Log): string {
  if (unlogged.length === 0) return '';
  const names = unlogged.map(relationLabel).join(', ');
  log.warn(`not compared, because their changes are in no stream: unlogged ${names}`);
  return `; not compared, because unlogged: ${names}`;
}

/** The failure, after the rows that differ were named one by one; what was found stands also when that is cut short. */
async function differenceOf(comparison: DataComparison, options: VerifyOptions): Promise<Failure | null> {
  const different = comparison.tables.filter(({ difference }) => difference !== null);
  if (different.length === 0) return null;
  // An earlier proof would let the next cutover pass over what this one has found.
  forgetProofs(options.directory, different);
  const unnamed = different.filter(({ rows }) => rows === undefined);
  const looked = unnamed.length === 0 ? [] : await searchRows(comparison, unnamed, options);
  const again = new Map(looked.map((table) => [relationLabel(table), table]));
  const tables = comparison.tables.map((table) => again.get(relationLabel(table)) ?? table);
  for (const table of tables) {
    if (table.rows === undefined) continue;
    for (const line of rowLines(table.rows)) options.log.error(`${relationLabel(table)}: ${line}`);
  }
  const failure = sidesDiffer({ ...comparison, tables }) ?? sidesDiffer(comparison);
  return failure === null ? null : withWayOn(failure, different, options);
}

/** What the stream could not bring is no reason to look for a fault. */
function withWayOn(
  failure: Failure,
  different: readonly TableName[],
  { uncarried, copyAgain }: VerifyOptions,
): Failure {
  const labels = new Set(uncarried.map(relationLabel));
  const known = different.map(relationLabel).filter((label) => labels.has(label));
  if (copyAgain || known.length === 0) return failure;
  return new Failure(failure.code, failure.message, {
    remedy: `No stream carries updates and deletes of tables without a replica identity (${listLabels(known)}): with --copy-again they are copied again in the pause.`,
  });
}

/** The application waits while rows are searched: which tables differ is known already. */
const searchWithinMs = 60_000;

/** The rows that differ, as far as they are found in time. Said beforehand: the search may take, or be stopped. */
async function searchRows(
  comparison: DataComparison,
  tables: readonly TableComparison[],
  options: VerifyOptions,
): Promise<readonly TableComparison[]> {
  const { log } = options;
  const found = sidesDiffer(comparison)?.message.split('\n') ?? [];
  for (const line of found) log.error(line);
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(searchWithinMs)]);
  try {
    return (await compareStill({ ...options, signal }, { depth: 'rows', tables })).tables;
  } catch (error) {
    const why = signal.aborted ? 'there was no time' : asFailure(error).message.split('\n')[0];
    log.warn(`the rows that differ are not named: ${why}; \`walferry compare data --rows\` names them`);
    return [];
  }
}

/** A table that was written all the while may be proven at the next try; one that always is stays unproven. */
const proofTries = 3;

/**
 * Before the pause, while changes flow: tables of which it is not proven that they are equal are compared, so that the
 * comparison in the pause has only to look at what is written from now on. Throws `sides-differ`.
 */
export async function prove(options: VerifyOptions): Promise<string> {
  let unproven = await fetchUnproven(options);
  if (unproven.length === 0) return 'every table is proven already';
  const { length } = unproven;
  for (let tries = 1; unproven.length > 0 && tries <= proofTries; tries += 1) {
    await proveOnce(options, unproven);
    unproven = await fetchUnproven(options);
  }
  if (unproven.length === 0) return `${length} tables compared`;
  const names = unproven.map(relationLabel).join(', ');
  options.log.warn(`not proven, and so compared as a whole in the pause: ${names}`);
  return `${length} tables compared, of which ${unproven.length} will be compared as a whole in the pause: ${names}`;
}

async function proveOnce(options: VerifyOptions, tables: readonly TableName[]): Promise<void> {
  const { source, target, jobs, keeps, parts, key, directory, log, signal } = options;
  const comparison = await compareData({
    source,
    target,
    jobs,
    keeps,
    parts,
    log,
    signal,
    tables,
    following: key,
    directory,
    depth: 'rows',
    loggedOnly: true,
  });
  const undecided = comparison.tables.filter((table) => table.difference?.kind === 'undecided');
  for (const table of undecided) log.info(differenceSentence(table));
  const decided = comparison.tables.filter((table) => !undecided.includes(table));
  const difference = await differenceOf({ ...comparison, tables: decided }, options);
  if (difference !== null) throw difference;
}

async function fetchUnproven({
  source,
  target,
  jobs,
  keeps,
  parts,
  directory,
  uncarried,
  copyAgain,
  log,
  signal,
}: VerifyOptions): Promise<TableName[]> {
  const later = new Set(copyAgain ? uncarried.map(relationLabel) : []);
  const catalog = openCatalog(directory);
  try {
    makeTouchTables(catalog);
    const record = loadTouchRecord(catalog);
    return await openComparison(
      { source, target, jobs, keeps, parts, log, signal, loggedOnly: true },
      ({ plan }) => {
        const covered = record.state?.covered ?? zeroLsn;
        const unproven = plan.tables.filter(
          (table) =>
            !later.has(relationLabel(table)) &&
            (table.kind !== 'read' ||
              judgeTouched(record, { ...table, files: filesOf(table) }, covered).kind === 'whole'),
        );
        return Promise.resolve(unproven.map(({ schema, name }) => ({ schema, name })));
      },
    );
  } finally {
    closeCatalog(catalog);
  }
}
