/**
 * How the plugins that print text refuse: a message says where it stood in the WAL, at which character of how many,
 * and never a value.
 */
import { Failure } from '../src/failure.js';
import type { Lsn } from '../src/model/lsn.js';
import { formatLsn } from '../src/model/lsn.js';
import type { PluginName } from '../src/model/plugin.js';
import { isLongerThan, longestText, tooLong } from '../src/model/text-limit.js';

/** A payload, and where it is from. */
export type PayloadPlace = { readonly plugin: PluginName; readonly walStart: Lsn; readonly length: number };

/** Throws `message-unreadable`; `at` is the offset of what was not understood. */
export function refuse({ plugin, walStart, length }: PayloadPlace, what: string, at: number): never {
  throw new Failure(
    'message-unreadable',
    `${plugin} sent a message at ${formatLsn(walStart)} that cannot be read: ${what} (offset ${at} of ${length})`,
  );
}

/**
 * Throws `plugin-limit`: the message is understood, and does not say what is needed. `instead` is what to do once the
 * stream has been started again, beside taking another plugin.
 */
export function refuseLimit({ plugin, walStart }: PayloadPlace, what: string, instead = ''): never {
  throw new Failure('plugin-limit', `${plugin} at ${formatLsn(walStart)}: ${what}`, {
    remedy:
      `Start again with --restart and --plugin pgoutput, which tells it${instead === '' ? '' : `; or ${instead}`}. ` +
      'What the slot holds of this change cannot be read in another way.',
  });
}

/**
 * The payload as text. These plugins write the bytes of the database's encoding, which is UTF-8 (the setup refuses
 * others). The engine would quietly put U+FFFD where bytes are no UTF-8: a value that is not what the source printed.
 */
export function readPayload(payload: Buffer, place: PayloadPlace): string {
  refuseLong(payload, place);
  const text = payload.toString('utf8');
  if (text.includes('\ufffd') && !Buffer.from(text).equals(payload)) refuse(place, 'it is not UTF-8', 0);
  return text;
}

/** How a change of a table begins, in the words of both plugins. */
const wal2jsonTable = /^\{"action":"[IUD]".*?"schema":"((?:[^"\\]|\\.)*)","table":"((?:[^"\\]|\\.)*)"/;
const testDecodingTable = /^table ("(?:[^"]|"")*"|[^".:]+)\.("(?:[^"]|"")*"|[^":]+): /;

/** Far more than what stands before a row. */
const headBytes = 1024;

/** Throws `plugin-limit` when the payload has more UTF-16 units than a string of the engine can have. */
export function refuseLong(
  payload: Buffer,
  { plugin, walStart }: Pick<PayloadPlace, 'plugin' | 'walStart'>,
  longest = longestText,
): void {
  if (!isLongerThan(longest, payload, 0, payload.length)) return;
  const head = payload.toString('utf8', 0, headBytes);
  const table = (plugin === 'wal2json' ? wal2jsonTable : testDecodingTable).exec(head);
  throw tooLong(table === null ? 'a change' : `a row of ${table[1]}.${table[2]}`, walStart, longest);
}
