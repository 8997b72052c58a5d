/**
 * Marking where the source stands now, so that something arrives behind it also on an idle source. The position of
 * another server is never taken for this stream's.
 */
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import type { Lsn } from '../model/lsn.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { emitMark } from '../postgres/logical-message.js';
import { fetchSystemIdentifier } from '../postgres/system-identifier.js';

export type MarkOptions = {
  readonly source: Conninfo;
  /** That of the stream's source; null when it is not known. */
  readonly systemIdentifier: string | null;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
};

/** Writes the mark and gives the position behind it. Throws `source-setup` when it is not the stream's source. */
export async function markSource({ source, systemIdentifier, log, signal }: MarkOptions): Promise<Lsn> {
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry sentinel',
    log,
    ...(signal === undefined ? {} : { signal }),
  });
  if (systemIdentifier !== null) {
    const found = await fetchSystemIdentifier(session);
    if (found !== systemIdentifier) {
      throw new Failure(
        'source-setup',
        `this is not the source of the stream: its system identifier is ${found}, not ${systemIdentifier}`,
        { remedy: 'Check --source, and --dir or --host.' },
      );
    }
  }
  return await emitMark(session);
}
