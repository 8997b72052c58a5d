/**
 * What a setup of a stream that was killed may have left on its source: publications, and a slot that nobody reads.
 * Their names are recorded before they are made, with the server and the database that they are made on: a name alone
 * says nothing, since every run uses the same ones, and another server's slot of this name is another run's.
 */
import { deleteSlotIntent, loadSlotIntent, type SlotIntent } from '../catalog/stream.js';
import type { Catalog } from '../catalog/database.js';
import { phaseStarted, reopenPhases } from '../catalog/setup.js';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { dropPublications } from '../postgres/publication.js';
import { dropSlot } from '../postgres/slot.js';
import { fetchStreamSource, sayStreamSource, type StreamSource } from '../postgres/stream-source.js';

type Source = { readonly source: Conninfo; readonly log: Log; readonly signal: AbortSignal };

/** The setup that was begun in this directory and has made no stream; null where there is none, or it is not known. */
export function halfMade(catalog: Catalog): SlotIntent | null {
  return phaseStarted(catalog, 'slot') ? loadSlotIntent(catalog) : null;
}

/** Throws `work-directory-used` when a killed setup was one on another server or in another database. */
export function expectHalfMadeHere(intent: SlotIntent, found: StreamSource, directory: string): void {
  if (intent.systemIdentifier === found.systemIdentifier && intent.database === found.database) return;
  throw new Failure(
    'work-directory-used',
    `a setup in ${directory} was not completed on ${sayStreamSource(intent)}, and --source is ${sayStreamSource(found)}: nothing was dropped`,
    {
      remedy:
        `It may have left the replication slot "${intent.slot}" there. Drop it: \`walferry stream cleanup --dir ${directory}\`, with its own server as --source. ` +
        `Where that server is gone for good, remove ${directory} by hand. For another source use another --dir.`,
    },
  );
}

/** Drops what a killed setup of this directory has left on this source. Throws as `expectHalfMadeHere`. */
export async function dropHalfMade(session: Session, catalog: Catalog, options: Source): Promise<void> {
  const intent = halfMade(catalog);
  if (intent === null) return;
  expectHalfMadeHere(intent, await fetchStreamSource(session, options), catalog.directory);
  if (await dropSlot(session, intent.slot)) {
    options.log.info(`dropped replication slot "${intent.slot}", left by a setup that was not completed`);
  }
  if (intent.publication !== null) await dropPublications(session, intent.publication);
  forgetHalfMade(catalog);
}

/** Nothing of it is left on the source. */
export function forgetHalfMade(catalog: Catalog): void {
  catalog.database.transaction(() => {
    deleteSlotIntent(catalog);
    reopenPhases(catalog, ['slot']);
  })();
}
