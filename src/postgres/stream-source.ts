/**
 * Which server and database a stream was made on. A slot and a publication are known by names that every run shares,
 * so that whoever drops them, or means to go on with them, asks first whether this is where they were made.
 */
import { asFailure, Failure } from '../failure.js';
import type { Log } from '../log.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from './connect.js';
import type { Conninfo } from './connection-string.js';
import { identifySource } from './identify.js';
import { connectWalsender } from './slot.js';
import { fetchSystemIdentifier } from './system-identifier.js';

export type StreamSource = Pick<StreamKey, 'systemIdentifier' | 'database'>;

type Source = {
  readonly source: Conninfo;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** Throws `work-directory-used` unless the session is on the server and in the database of the directory's stream. */
export async function expectStreamSource(
  session: Session,
  recorded: StreamSource,
  options: Source & { readonly directory: string },
): Promise<void> {
  const failure = otherSource(recorded, await fetchStreamSource(session, options), options.directory);
  if (failure !== null) throw failure;
}

/** Where the session is. */
export async function fetchStreamSource(session: Session, options: Source): Promise<StreamSource> {
  const [row] = await session.query('select pg_catalog.current_database() as name');
  return { systemIdentifier: await systemIdentifierOf(session, options), database: row?.['name'] ?? '' };
}

/** In words. */
export function sayStreamSource({ systemIdentifier, database }: StreamSource): string {
  return `the database "${database}" of the server with system identifier ${systemIdentifier}`;
}

/** The failure where a stream was made elsewhere; null where it was not. Pure. */
export function otherSource(recorded: StreamSource, found: StreamSource, directory: string): Failure | null {
  if (recorded.systemIdentifier === found.systemIdentifier && recorded.database === found.database)
    return null;
  return new Failure(
    'work-directory-used',
    `the stream in ${directory} was made on ${sayStreamSource(recorded)}, and --source is ${sayStreamSource(found)}`,
    {
      remedy:
        `Take that stream down first: \`walferry stream cleanup --dir ${directory}\`, with its own server as --source. ` +
        `Where that server is gone for good, remove ${directory} by hand. For another source use another --dir.`,
    },
  );
}

/** Asked as a plain clone asks, and over a walsender where the server keeps that function from our role. */
async function systemIdentifierOf(session: Session, { source, log, signal }: Source): Promise<string> {
  try {
    return await fetchSystemIdentifier(session);
  } catch (error) {
    if (asFailure(error).code !== 'source-rights') throw error;
  }
  await using walsender = await connectWalsender(source, 'walferry setup', signal, log);
  return (await identifySource(walsender)).systemIdentifier;
}
