/**
 * --restart: what an earlier run left goes, and is named. The tables on the target go with the new clone.
 *
 * Only what this work directory knows to be its own is dropped on the source. Slots and publications have names that
 * runs share (`walferry` unless told): one that is there while the directory knows of none belongs to a run in another
 * directory, which may be stopped and resumed tomorrow. And before anything goes, it is asked whether the new run could
 * begin: else there would be neither.
 */
import { rm } from 'node:fs/promises';
import { closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import { loadStream } from '../catalog/stream.js';
import { clearWorkDirectory } from '../catalog/work-directory.js';
import type { Log } from '../log.js';
import { defaultPlugin } from '../model/plugin.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { tryPublication } from '../postgres/publication.js';
import { expectFollowable, expectNoSlot } from '../postgres/stream-requirements.js';
import { fetchOtherTarget, sayWhatStays } from './other-target.js';
import { expectHalfMadeHere, halfMade } from './half-made.js';
import { expectStreamSource, fetchStreamSource } from '../postgres/stream-source.js';
import { cleanupStream, type StreamChoices } from './stream-setup.js';

export type RestartOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly directory: string;
  readonly journalDirectory: string;
  readonly origin: string;
  /** Of the run that begins; null: without a stream. */
  readonly choices: StreamChoices | null;
  /**
   * Looks for what would end the new run. `ownStream`: slot and publications that are there are this run's own;
   * `ownTarget`: so are the tables.
   */
  readonly expectUsable: (own: { readonly ownStream: boolean; readonly ownTarget: boolean }) => Promise<void>;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/**
 * Drops the earlier run. Throws before anything was dropped: `work-directory-used` when its stream was made on another
 * server or in another database, `slot-exists` when the new stream's slot is there and not this directory's, and what
 * `expectUsable` throws. Gives whether the new run is into the target of the earlier one, whose tables it may drop.
 */
export async function dropEarlierRun(options: RestartOptions): Promise<{ readonly ownTarget: boolean }> {
  const { directory, journalDirectory, source, target, log, signal } = options;
  let ownTarget = true;
  const catalog = openCatalog(directory);
  try {
    const own = ownStream(catalog, options);
    await expectOwn(catalog, own, options);
    const other = await fetchOtherTarget(catalog, options);
    ownTarget = other === null;
    await options.expectUsable({ ownStream: own !== null, ownTarget });
    const tables = ownTarget ? ', and their tables on the target' : '';
    log.info(`--restart: dropping what earlier runs left in ${directory}${tables}`);
    if (other !== null) sayWhatStays(log, directory, other, target);
    const choices = own ?? options.choices;
    if (choices !== null) {
      const sides = { onSource: own !== null, target: ownTarget ? target : null };
      await cleanupStream({ source, catalog, choices, log, signal, ...sides });
    }
  } finally {
    closeCatalog(catalog);
  }
  clearWorkDirectory(directory);
  // The peer's place for them is not below its work directory.
  await rm(journalDirectory, { recursive: true, force: true });
  return { ownTarget };
}

type OwnStream = Pick<StreamChoices, 'slot' | 'origin' | 'publication' | 'publicationName'>;

/** The stream of this directory, or what a setup that was killed here meant to make; null: none. */
function ownStream(catalog: Catalog, { origin }: RestartOptions): OwnStream | null {
  const stream = loadStream(catalog);
  if (stream !== null) {
    const [publicationName = ''] = stream.ownPublications;
    return { slot: stream.slot, origin, publication: null, publicationName };
  }
  const begun = halfMade(catalog);
  if (begun === null) return null;
  const { slot, publication } = begun;
  // What is somebody else's publication is named, and so left alone.
  return publication === null
    ? { slot, origin, publication: '', publicationName: '' }
    : { slot, origin, publication: null, publicationName: publication };
}

/** Looks, on the source, at what would be dropped and at what is to be made. */
async function expectOwn(
  catalog: Catalog,
  own: OwnStream | null,
  { source, directory, choices, log, signal }: RestartOptions,
): Promise<void> {
  const stream = loadStream(catalog);
  const begun = stream === null ? halfMade(catalog) : null;
  if (stream === null && begun === null && choices === null) return;
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry setup',
    log,
    signal,
  });
  if (stream !== null) await expectStreamSource(session, stream.key, { source, directory, log, signal });
  if (begun !== null) {
    expectHalfMadeHere(begun, await fetchStreamSource(session, { source, log, signal }), directory);
  }
  if (choices === null) return;
  const { slot, publication, publicationName, plugin } = choices;
  if (own?.slot !== slot) await expectNoSlot(session, slot);
  await expectFollowable(session, plugin ?? defaultPlugin);
  const makesPublication = publication === null && (plugin ?? defaultPlugin) === 'pgoutput';
  if (makesPublication && own?.publicationName !== publicationName) {
    await tryPublication(session, publicationName);
  }
}
