/**
 * pgoutput, the plugin inside every server since 10.
 */
import type { Decoder, Plugin, StreamRequest } from '../../src/model/plugin.js';
import { quoteIdentifier } from '../../src/model/sql.js';
import { PgoutputDecoder } from './decoder.js';

/** Servers refuse options they do not know, so newer ones are asked for by version. */
const messagesSince = 140_000;
const originSince = 160_000;
const streamingSince = 140_000;

/** The options of START_REPLICATION for pgoutput, in order, unquoted. */
function pgoutputOptions(request: StreamRequest): (readonly [name: string, value: string])[] {
  const streams = request.serverVersion >= streamingSince;
  const options: (readonly [name: string, value: string])[] = [
    ['proto_version', streams ? '2' : '1'],
    // The server splits the list as identifiers: without quotes it would fold upper case.
    ['publication_names', request.publications.map(quoteIdentifier).join(',')],
  ];
  // A large transaction arrives while it runs: it is not spilled to the source's disk, and its commit is no long wait.
  if (streams) options.push(['streaming', 'on']);
  if (request.serverVersion >= messagesSince) options.push(['messages', 'true']);
  // What another server replicated into the source belongs to the source: leaving it out would lose rows.
  if (request.serverVersion >= originSince) options.push(['origin', 'any']);
  return options;
}

export const pgoutput: Plugin = {
  name: 'pgoutput',
  describesTables: true,
  newerOptions: [],
  options: pgoutputOptions,
  settings: () => [],
  createDecoder: (): Decoder => new PgoutputDecoder(),
};
