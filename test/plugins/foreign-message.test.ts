/** A logical message of somebody else (pg_logical_emit_message) may have any size: nobody applies it, and it stops nothing. */
import { constants } from 'node:buffer';
import { expect, test } from 'vitest';
import { PgoutputDecoder } from '../../plugins/pgoutput/decoder.js';
import { TestDecodingDecoder } from '../../plugins/test_decoding/decoder.js';
import { Wal2jsonDecoder } from '../../plugins/wal2json/decoder.js';
import type { Lsn } from '../../src/model/lsn.js';
import type { Decoder } from '../../src/model/plugin.js';
import * as wire from './pgoutput/messages.js';

const tables = { followed: [], now: [], seen: { xmin: 0n, xmax: 1n, inProgress: new Set<bigint>() } };
const time = '"timestamp":"2026-11-22 22:21:11.05626+00"';

const pgoutputMessage = (length: number) => {
  const head = wire.logicalMessage(true, 0x77n, 'theirs', Buffer.alloc(0));
  head.writeUInt32BE(length, head.length - 4);
  return head;
};

const plugins: readonly [string, Decoder, begin: Buffer, head: (length: number) => Buffer][] = [
  ['pgoutput', new PgoutputDecoder(), wire.begin(0x500n, 1n, 700), pgoutputMessage],
  [
    'wal2json',
    new Wal2jsonDecoder({ tables, numbersAsText: false }),
    Buffer.from(`{"action":"B","xid":700,${time},"lsn":"0/100","nextlsn":"0/130"}`),
    () =>
      Buffer.from(
        `{"action":"M","xid":700,${time},"lsn":"0/100","transactional":true,"prefix":"theirs","content":"`,
      ),
  ],
  [
    'test_decoding',
    new TestDecodingDecoder(tables),
    Buffer.from('BEGIN 700'),
    (length) => Buffer.from(`message: transactional: 1 prefix: theirs, sz: ${length} content:`),
  ],
];

test.each(plugins)('%s: one that no string can hold is left out', (_name, decoder, begin, head) => {
  // Zeros that nobody reads take no memory.
  const length = constants.MAX_STRING_LENGTH + 1;
  const start = head(length);
  const payload = Buffer.alloc(start.length + length);
  start.copy(payload);
  expect(decoder.decode(begin, 0x70n as Lsn)).toMatchObject({ kind: 'begin' });
  expect(decoder.decode(payload, 0x77n as Lsn)).toBe(null);
});
