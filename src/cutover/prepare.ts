/** What every call begins with: the right source, the right target, and the facts for the checks. */
import { loadCutover, type CutoverRecord } from '../catalog/cutover.js';
import type { Catalog } from '../catalog/database.js';
import { loadFilter } from '../catalog/filter-record.js';
import { loadSentinel } from '../catalog/sentinel.js';
import { loadSetup } from '../catalog/setup.js';
import type { StreamRecord } from '../catalog/stream.js';
import { fetchExtensions } from '../clone/extensions.js';
import { fetchUnreadableSequences } from '../clone/sequences.js';
import { Failure } from '../failure.js';
import { keepsOf, keptSequencesOf, type Keeps } from '../filter/scope.js';
import { fetchAlteration, fetchUnpublished } from '../follow/altered-publications.js';
import type { Log } from '../log.js';
import { zeroLsn } from '../model/lsn.js';
import { relationLabel } from '../model/relation.js';
import { connect, type ConnectOptions, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { holdsLargeObjects } from '../postgres/large-object.js';
import { fetchPosition } from '../postgres/position-row.js';
import { fetchSystemIdentifier } from '../postgres/system-identifier.js';
import { fetchCheckFacts, type CheckFacts } from './checks.js';
import { fetchUncarried } from './copy-again.js';
import type { CutoverRequest } from './decisions.js';
import { fetchDefiners } from './definers.js';
import { fetchFreezeFacts } from './freeze.js';
import { fetchGrants } from './grants.js';
import { fetchOtherSessions } from './sessions.js';
import { holdsFiles } from './taken-writes.js';

/**
 * The cutover that a request is about. After one that is complete somebody may have followed on: then the next one is
 * another.
 */
export function loadCutoverFor(request: CutoverRequest, catalog: Catalog): CutoverRecord | null {
  const record = loadCutover(catalog);
  const followsAgain =
    record?.state === 'done' && request === 'begin' && loadSentinel(catalog)?.endpos === zeroLsn;
  return followsAgain ? null : record;
}

/** Which tables the run copies. */
export function keptTables(catalog: Catalog): Keeps | null {
  const scope = loadFilter(catalog)?.scope ?? null;
  return scope === null ? null : keepsOf(scope);
}

/** Which sequences the run sets. */
export function keptSequences(catalog: Catalog): Keeps {
  const scope = loadFilter(catalog)?.scope ?? null;
  return scope === null ? () => true : keptSequencesOf(scope);
}

/** A session on the source of the stream. Throws `source-setup` where it is another server. */
export async function openStreamSource(
  source: Conninfo,
  stream: StreamRecord,
  options: Pick<ConnectOptions, 'log' | 'signal' | 'retryForMs' | 'refusedForMs'>,
): Promise<Session> {
  const session = await connect(source, { side: 'source', applicationName: 'walferry cutover', ...options });
  const here = await fetchSystemIdentifier(session);
  if (here === stream.key.systemIdentifier && source.database === stream.key.database) return session;
  await session.close();
  throw new Failure('source-setup', 'this is not the source of the stream in the work directory', {
    remedy: 'Check --source and --dir.',
  });
}

/** Facts for the checks, from both servers and the work directory. */
export async function gatherFacts(
  session: Session,
  target: Conninfo,
  catalog: Catalog,
  stream: StreamRecord,
  options: { readonly journalDirectory: string; readonly log: Log; readonly signal: AbortSignal },
): Promise<CheckFacts> {
  const { journalDirectory, ...how } = options;
  await using other = await connect(target, {
    side: 'target',
    applicationName: 'walferry cutover',
    ...how,
  });
  if ((await fetchPosition(other, stream.key)) === null) {
    throw new Failure('target-setup', `the target holds no position of the stream "${stream.key.stream}"`, {
      remedy: 'Check --target and --dir.',
    });
  }
  const keeps = keptTables(catalog) ?? (() => true);
  return await fetchCheckFacts(session, catalog, {
    files: await holdsFiles(journalDirectory),
    altered:
      (await fetchAlteration(session, stream, keeps, await fetchUnpublished(session, stream)))?.message ??
      null,
    freeze: await fetchFreezeFacts(session),
    grants: await fetchGrants(session, {
      keeps,
      keepsSequence: keptSequences(catalog),
    }),
    definers: await fetchDefiners(session),
    sessions: await fetchOtherSessions(session),
    largeObjects:
      loadSetup(catalog)?.settings['skip-large-objects'] !== true && (await holdsLargeObjects(session)),
    configuration: (await fetchExtensions(session)).flatMap(({ configuration }) =>
      configuration.flatMap((one) => (one.kind === 'table' ? [relationLabel(one)] : [])),
    ),
    uncarried: await fetchUncarried(session, stream, keeps),
    unreadableSequences: (await fetchUnreadableSequences(session, keptSequences(catalog))).map(relationLabel),
  });
}
