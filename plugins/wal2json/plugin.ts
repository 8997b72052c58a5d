/**
 * wal2json, an extension that many managed services have: format version 2 alone.
 */
import { Failure } from '../../src/failure.js';
import { ownPrefix } from '../../src/model/message.js';
import type { Decoder, NamedValue, Plugin, StreamRequest } from '../../src/model/plugin.js';
import { Wal2jsonDecoder } from './decoder.js';

const numbersAsText: NamedValue = ['numeric-data-types-as-string', 'true'];

/** Keeps the source from printing what is dropped here; from 2.5 on. */
const ownMessagesOnly: NamedValue = ['add-msg-prefixes', ownPrefix];

function knowsNumbersAsText(request: StreamRequest): boolean {
  return request.knownOptions.has(numbersAsText[0]);
}

/** `required`: numbers must come as strings (--wal2json-numeric-as-string); else they do where the plugin knows how. */
export function wal2json({ required }: { readonly required: boolean }): Plugin {
  return {
    name: 'wal2json',
    describesTables: false,
    newerOptions: [numbersAsText, ownMessagesOnly],
    options: (request) => {
      if (required && !knowsNumbersAsText(request)) {
        throw new Failure(
          'source-setup',
          'the wal2json of the source does not know numeric-data-types-as-string',
          {
            remedy:
              'Leave --wal2json-numeric-as-string away: no digit is lost without it. Or update wal2json to 2.6.',
          },
        );
      }
      const options: NamedValue[] = [
        ['format-version', '2'],
        ['include-xids', 'true'],
        ['include-timestamp', 'true'],
        ['include-lsn', 'true'],
        ['include-schemas', 'true'],
        ['include-transaction', 'true'],
        ['include-types', 'false'],
        ['include-type-oids', 'true'],
      ];
      const newer = [numbersAsText, ownMessagesOnly].filter(([name]) => request.knownOptions.has(name));
      return [...options, ...newer];
    },
    // The side channel of NaN and the infinities: see decoder.ts.
    settings: (request) => (knowsNumbersAsText(request) ? [] : [['client_min_messages', 'debug1']]),
    createDecoder: (request): Decoder => {
      const { tables } = request;
      if (tables === null) throw new Failure('internal', 'wal2json needs the tables of the source');
      return new Wal2jsonDecoder({ tables, numbersAsText: knowsNumbersAsText(request) });
    },
  };
}
