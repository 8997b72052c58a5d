/**
 * Setting a stream up, and taking it down. The order is what makes a crash at any instant harmless:
 *
 *   1 the catalog records what is about to be made, and on which server (phase `slot` begun; half-made.ts)
 *   2 publications, committed before the slot, or decoding would never find them (DESIGN 11.8)
 *   3 the slot, with its snapshot
 *   4 the catalog records slot, start and snapshot, and the sentinel
 *   5 the target's position row stands at the start (phase `slot` done)
 *
 * A setup that is refused takes back what it made: a slot that nobody reads would hold back the source's WAL for ever.
 * Killed between 1 and 4, the slot belongs to nobody: nothing was copied from it, and it is made again. Killed between
 * 4 and 5, the position row is made when the stream is set up the next time.
 */
import { saveColumns } from '../catalog/columns.js';
import type { Catalog } from '../catalog/database.js';
import { loadSentinel, setupSentinel } from '../catalog/sentinel.js';
import { endPhase, phaseDone, reopenPhases, startPhase } from '../catalog/setup.js';
import {
  deleteStream,
  loadStream,
  saveSlotIntent,
  saveStream,
  type StreamRecord,
} from '../catalog/stream.js';
import { restoreGuarded, validateGuarded } from '../apply/guard-restore.js';
import { failpoint } from '../failpoint.js';
import { Failure } from '../failure.js';
import type { FilterFile } from '../filter/parse.js';
import type { Log } from '../log.js';
import type { ColumnsOfTables } from '../model/column-change.js';
import { zeroLsn, type Lsn } from '../model/lsn.js';
import { defaultPlugin, type PluginName } from '../model/plugin.js';
import { fetchColumns } from '../postgres/column-lists.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { createPosition, deletePosition, fetchPosition } from '../postgres/position-row.js';
import { dropPublications } from '../postgres/publication.js';
import { expectTwoDatabases } from '../postgres/same-database.js';
import {
  checkSlotFacts,
  checkTimeline,
  createSlot,
  dropSlot,
  fetchSlot,
  fetchTimeline,
  type CreatedSlot,
} from '../postgres/slot.js';
import { importSnapshot } from '../postgres/snapshot.js';
import { expectFollowable, expectNoSlot } from '../postgres/stream-requirements.js';
import { fetchSystemIdentifier } from '../postgres/system-identifier.js';
import { ensureTargetSchema } from '../postgres/target-schema.js';
import { expectUnaltered } from './altered-publications.js';
import { takeEndposOption } from './endpos-option.js';
import { dropHalfMade, expectHalfMadeHere, forgetHalfMade, halfMade } from './half-made.js';
import { expectStreamSource, fetchStreamSource } from '../postgres/stream-source.js';
import { keptTables, settleFilters } from './filter-scope.js';
import { chooseFollowed, isOfOthers, type ChosenTables } from './stream-tables.js';
import { dropTargetRecords } from './target-records.js';

export type StreamChoices = {
  /** Null: that of the stream, or pgoutput for a new one. */
  readonly plugin: PluginName | null;
  readonly slot: string;
  /** The stream's name on the target. */
  readonly origin: string;
  /** A publication made by somebody else; null: ours are made, called `publicationName`. */
  readonly publication: string | null;
  readonly publicationName: string;
  /** Set at the start when it was asked for; null leaves what the sentinel says. */
  readonly endpos: Lsn | null;
};

export type StreamSetupOptions = {
  readonly source: Conninfo;
  /** Null when only the source's side is wanted (`snapshot --follow`): the position row is made later. */
  readonly target: Conninfo | null;
  readonly catalog: Catalog;
  readonly choices: StreamChoices;
  /** Which tables are followed; all of them without. */
  readonly filters?: FilterFile | null | undefined;
  readonly log: Log;
  readonly signal: AbortSignal;
};

export type StreamSetup = {
  readonly stream: StreamRecord;
  /** Holds the slot's snapshot when the slot was made just now. */
  readonly created: CreatedSlot | null;
};

/** Makes the stream, or takes up the one that the work directory has. Done twice, it does nothing more. */
export async function setupStream(options: StreamSetupOptions): Promise<StreamSetup> {
  const { catalog, choices, log } = options;
  const recorded = loadStream(catalog);
  // Before there is a slot: a target that cannot be used is found out first.
  if (recorded === null && options.target !== null) {
    await expectTwo(options, options.target);
    await makeTargetSchema(options.target, log, options.signal);
  }
  const setup = recorded === null ? await makeStream(options) : { stream: recorded, created: null };
  try {
    if (recorded !== null) {
      checkSameChoices(recorded, choices);
      await checkSlot(options, recorded);
    } else if (isOfOthers(setup.stream)) {
      // What the slot sends must be what was looked at before it was there.
      await expectUnaltered({ ...options, stream: setup.stream, keeps: keptTables(catalog.directory) });
    }
    takeEndposOption(catalog, choices.endpos, log);
    if (options.target !== null)
      await setupTarget(options.target, catalog, setup.stream, log, options.signal);
    return setup;
  } catch (error) {
    if (setup.created !== null) {
      await setup.created.close();
      await takeBack(options);
    }
    throw error;
  }
}

/** Throws `work-directory-used` where the recorded stream is of other options, of another server or database. */
export async function expectSameStream(
  { source, catalog, choices, log, signal }: StreamSetupOptions,
  recorded: StreamRecord,
): Promise<void> {
  checkSameChoices(recorded, choices);
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry setup',
    log,
    signal,
  });
  await expectStreamSource(session, recorded.key, { source, directory: catalog.directory, log, signal });
}

function checkSameChoices(recorded: StreamRecord, choices: StreamChoices): void {
  const differences: string[] = [];
  const say = (option: string, was: string, is: string) => {
    if (was !== is) differences.push(`${option} was ${was} and is now ${is}`);
  };
  say('--slot-name', recorded.slot, choices.slot);
  say('--plugin', recorded.plugin, choices.plugin ?? recorded.plugin);
  say('--origin', recorded.key.stream, choices.origin);
  // Left out, it is that of the stream.
  if (choices.publication !== null) {
    const others = recorded.ownPublications.length === 0 ? recorded.publications[0] : undefined;
    say('--publication', others ?? 'made by the run', choices.publication);
  }
  if (differences.length > 0) {
    throw new Failure(
      'work-directory-used',
      `the work directory follows another stream: ${differences.join('; ')}`,
      {
        remedy: 'Use the options of that stream, or another --dir.',
      },
    );
  }
}

async function checkSlot({ source, log, signal }: StreamSetupOptions, stream: StreamRecord): Promise<void> {
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry setup',
    log,
    signal,
  });
  checkTimeline(await fetchTimeline(session), stream.timeline);
  checkSlotFacts(await fetchSlot(session, stream.slot), {
    name: stream.slot,
    plugin: stream.plugin,
    database: stream.key.database,
  });
}

async function expectTwo({ source, log, signal }: StreamSetupOptions, target: Conninfo): Promise<void> {
  const options = { applicationName: 'walferry setup', log, signal } as const;
  await using from = await connect(source, { side: 'source', ...options });
  await using to = await connect(target, { side: 'target', ...options });
  await expectTwoDatabases(from, to);
}

async function makeStream(options: StreamSetupOptions): Promise<StreamSetup> {
  const { source, catalog, choices, log, signal } = options;
  const plugin = choices.plugin ?? defaultPlugin;
  let chosen: ChosenTables;
  {
    await using session = await connect(source, {
      side: 'source',
      applicationName: 'walferry setup',
      log,
      signal,
    });
    await expectFollowable(session, plugin);
    const begun = halfMade(catalog) !== null;
    await dropHalfMade(session, catalog, options);
    await expectNoSlot(session, choices.slot);
    settleFilters(catalog, { given: options.filters ?? null, begun, log });
    await recordIntent(session, plugin, options);
    try {
      chosen = await chooseFollowed(session, { ...choices, plugin }, options);
    } catch (error) {
      // They are made in one transaction: nothing of them is there, and one of that name may be somebody else's.
      forgetHalfMade(catalog);
      throw error;
    }
  }
  const created = await createSlot({
    conninfo: source,
    name: choices.slot,
    plugin,
    signal,
    log,
  }).catch(async (error: unknown) => {
    await takeBack(options);
    throw error;
  });
  failpoint('follow.slot-made');
  try {
    const columns = await fetchColumnsThen(created, options);
    const stream: StreamRecord = {
      slot: choices.slot,
      plugin,
      ...chosen,
      ownPublications: choices.publication === null ? chosen.publications : [],
      key: {
        stream: choices.origin,
        systemIdentifier: created.identity.systemIdentifier,
        database: created.identity.database,
      },
      timeline: created.identity.timeline,
      walSegmentBytes: created.identity.walSegmentBytes,
      startLsn: created.consistentPoint,
      snapshot: created.snapshot,
    };
    catalog.database.transaction(() => {
      saveStream(catalog, stream);
      saveColumns(catalog, columns);
      // Of a stream that was taken down to be set up anew there is an end position, and no beginning.
      const sentinel = loadSentinel(catalog);
      if (sentinel === null || sentinel.startpos === zeroLsn) {
        setupSentinel(catalog, created.consistentPoint, sentinel?.endpos ?? zeroLsn);
      }
    })();
    return { stream, created };
  } catch (error) {
    await created.close();
    throw error;
  }
}

/** The columns of the tables as the copy sees them. */
async function fetchColumnsThen(
  { snapshot }: CreatedSlot,
  { source, log, signal }: StreamSetupOptions,
): Promise<ColumnsOfTables> {
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry setup',
    log,
    signal,
  });
  await importSnapshot(session, snapshot);
  return await fetchColumns(session);
}

/** What is about to be made, and where: step 1. */
async function recordIntent(
  session: Session,
  plugin: PluginName,
  { source, catalog, choices, log, signal }: StreamSetupOptions,
): Promise<void> {
  const { slot, publication, publicationName } = choices;
  const where = await fetchStreamSource(session, { source, log, signal });
  catalog.database.transaction(() => {
    const own = publication === null && plugin === 'pgoutput';
    saveSlotIntent(catalog, { slot, publication: own ? publicationName : null, ...where });
    startPhase(catalog, 'slot');
  })();
}

/**
 * Takes back what this setup has made on the source, so that the next one begins from nothing. A stop does not keep it
 * from that; where it fails, the next setup (or cleanup) does it.
 */
async function takeBack({ source, catalog, choices, log }: StreamSetupOptions): Promise<void> {
  const made = loadStream(catalog) !== null;
  try {
    await using session = await connect(source, {
      side: 'source',
      applicationName: 'walferry setup',
      log,
      retryForMs: 0,
    });
    // A slot that could not be made is not there, or is somebody else's.
    if (made) await dropSlot(session, choices.slot);
    if (choices.publication === null) await dropPublications(session, choices.publicationName);
    if (made) deleteStream(catalog);
    forgetHalfMade(catalog);
  } catch (error) {
    log.warn(
      `what was made on the source cannot be taken back now: ${String(error)}; do it with \`walferry stream cleanup\``,
    );
  }
}

/**
 * Takes back a stream that was made for a copy which was refused before it began: as if it had not been set up. What of
 * the target's rows another run has moved since stays.
 */
export async function undoSetup(
  options: StreamSetupOptions,
  { stream, created }: StreamSetup,
): Promise<void> {
  const { target, log } = options;
  await created?.close();
  if (target !== null) {
    const open = { side: 'target', applicationName: 'walferry setup', log, retryForMs: 0 } as const;
    try {
      await using session = await connect(target, open);
      await deletePosition(session, stream.key, stream.startLsn);
    } catch (error) {
      log.debug(`the position row is left on the target: ${String(error)}`);
    }
  }
  await takeBack(options);
}

async function makeTargetSchema(target: Conninfo, log: Log, signal: AbortSignal): Promise<void> {
  await using session = await connect(target, {
    side: 'target',
    applicationName: 'walferry setup',
    log,
    signal,
  });
  await ensureTargetSchema(session);
}

/** Makes the target's side: its schema, and the position row at the stream's start. */
async function setupTarget(
  target: Conninfo,
  catalog: Catalog,
  stream: StreamRecord,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  await using session = await connect(target, {
    side: 'target',
    applicationName: 'walferry setup',
    log,
    signal,
  });
  await ensureTargetSchema(session);
  if (!phaseDone(catalog, 'slot')) {
    await createPosition(session, stream.key, stream.startLsn);
    endPhase(catalog, 'slot');
    return;
  }
  if ((await fetchPosition(session, stream.key)) === null) {
    throw new Failure(
      'target-set-back',
      `the target holds no position of the stream "${stream.key.stream}": it is not the target that this run was set up for, or it was restored`,
    );
  }
}

export type CleanupOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo | null;
  readonly catalog: Catalog | null;
  /** Used where the catalog does not know better. */
  readonly choices: Pick<StreamChoices, 'slot' | 'origin' | 'publication' | 'publicationName'>;
  /** Whether slot and publications are this stream's to drop; false: only the target's rows go. */
  readonly onSource?: boolean;
  /** The end position stays for the stream that is set up next. */
  readonly keepEndpos?: boolean;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/**
 * Takes the stream down: first the slot, which holds WAL on the source and would be stuck without its publication,
 * then the publications that are ours, then the target's rows. What is not there is no error. Throws
 * `work-directory-used`, with nothing dropped, when the catalog's stream was made on another server or in another
 * database.
 */
export async function cleanupStream(options: CleanupOptions): Promise<void> {
  const { source, target, catalog, choices, onSource = true, log, signal } = options;
  const stream = catalog === null ? null : loadStream(catalog);
  const begun = catalog === null || stream !== null ? null : halfMade(catalog);
  const slot = stream?.slot ?? begun?.slot ?? choices.slot;
  const own = stream === null ? choices.publication === null : stream.ownPublications.length > 0;
  const publicationName = stream?.ownPublications[0] ?? choices.publicationName;
  let systemIdentifier = stream?.key.systemIdentifier ?? null;
  let database = stream?.key.database ?? source.database;
  {
    await using session = await connect(source, {
      side: 'source',
      applicationName: 'walferry cleanup',
      log,
      signal,
    });
    if (catalog !== null && stream !== null) {
      await expectStreamSource(session, stream.key, { source, directory: catalog.directory, log, signal });
    }
    if (catalog !== null && begun !== null) {
      const found = await fetchStreamSource(session, { source, log, signal });
      expectHalfMadeHere(begun, found, catalog.directory);
    }
    if (onSource && (await dropSlot(session, slot))) log.info(`Dropped replication slot "${slot}"`);
    if (onSource && own) {
      const dropped = await dropPublications(session, publicationName);
      if (dropped) log.info(`Dropped publication "${publicationName}"`);
    }
    systemIdentifier ??= await fetchSystemIdentifier(session);
    database = stream?.key.database ?? database;
  }
  if (target !== null) {
    await using session = await connect(target, {
      side: 'target',
      applicationName: 'walferry cleanup',
      log,
      signal,
    });
    const key = { stream: stream?.key.stream ?? choices.origin, systemIdentifier, database };
    await restoreGuarded({ target, key, log, signal });
    await validateGuarded({ target, key, log, signal });
    await dropTargetRecords(session, key, log);
  }
  if (catalog !== null) {
    const endpos = options.keepEndpos === true ? (loadSentinel(catalog)?.endpos ?? zeroLsn) : zeroLsn;
    catalog.database.transaction(() => {
      deleteStream(catalog);
      if (endpos !== zeroLsn) setupSentinel(catalog, zeroLsn, endpos);
    })();
    forgetHalfMade(catalog);
    // What is set up here next is a stream of its own.
    reopenPhases(catalog, ['drain']);
  }
}
