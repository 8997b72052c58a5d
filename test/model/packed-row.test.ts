/**
 * Packed rows are as good as cells: whatever the row, it is the same in every form it takes between the source and the
 * target, byte by byte where there are bytes.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PgoutputDecoder } from '../../plugins/pgoutput/decoder.js';
import { LineDecoder, RelationIntern } from '../../src/journal/decode.js';
import { LineEncoder } from '../../src/journal/encode.js';
import type { Insert, Update } from '../../src/model/change.js';
import {
  cellAt,
  mapKey,
  mapKeyAt,
  packedBytesAtMost,
  packedCells,
  packedOf,
} from '../../src/model/packed-row.js';
import type { ChangeMessage } from '../../src/model/message.js';
import type { Relation } from '../../src/model/relation.js';
import { unchanged, type Cell } from '../../src/model/row.js';
import { textArrayBytesAtMost, writeTextArray, type TextArray } from '../../src/postgres/bind-array.js';
import { copyText } from '../../src/postgres/copy-rows.js';
import { linesOf, lsn } from '../journal/messages.js';
import * as pgoutput from '../plugins/pgoutput/messages.js';
import { asCells, asPacked } from '../support/packed.js';

const oid = 7;

function relationOf(columns: number): Relation {
  const names = Array.from({ length: columns }, (_, n) => ({ name: `c${n}`, typeOid: 25 }));
  return { schema: 'public', name: 't', identity: 'default', columns: names, key: columns === 0 ? [] : [0] };
}

/** What pgoutput's decoder makes of a row. */
function received(kind: 'insert' | 'update', row: readonly Cell[]): ChangeMessage {
  return receivedAll(kind, [row])[0] as ChangeMessage;
}

/** The same, of rows that come one after the other. */
function receivedAll(
  kind: 'insert' | 'update',
  rows: readonly (readonly Cell[])[],
): readonly ChangeMessage[] {
  const decoder = new PgoutputDecoder();
  decoder.decode(pgoutput.begin(9n, 0n, 3), lsn(1));
  decoder.decode(pgoutput.relation(oid, relationOf(rows[0]?.length ?? 0)), lsn(1));
  return rows.map((row) => {
    const payload = kind === 'insert' ? pgoutput.insert(oid, row) : pgoutput.update(oid, row);
    const message = decoder.decode(payload, lsn(5));
    if (message?.kind !== 'change') throw new Error('no change');
    return message;
  });
}

function rowChange({ change }: ChangeMessage): Insert | Update {
  if (change.kind !== 'insert' && change.kind !== 'update') throw new Error('no row');
  return change;
}

/** The line of a message whose relation was described before. */
function lineOf(message: ChangeMessage): string {
  const encoder = new LineEncoder(0);
  linesOf(encoder, message);
  return linesOf(encoder, message);
}

/** What is read of a line. */
function readBack(line: string, relation: Relation, prefix = ''): ChangeMessage {
  const decoder = new LineDecoder('f', new RelationIntern());
  decoder.describe(0, relation);
  decoder.decode('{"action":"B","xid":"3"}', 0);
  const buffer = Buffer.from(`${prefix}${line}}\nwhat follows`);
  const start = Buffer.byteLength(prefix);
  const message = decoder.decodeBytes(buffer, start, buffer.indexOf('}\nwhat') + 1, 0);
  if (message?.kind !== 'change') throw new Error('no change');
  return message;
}

function copied(changes: readonly (Insert | Update)[], isPacked: boolean): string {
  const pieces = copyText({
    count: changes.length,
    columns: changes[0]?.row.length ?? 0,
    cellOf: (row, column) => changes[row]?.row[column] as string | null,
    packedOf: (row) => (isPacked ? packedOf(changes[row] as Insert) : undefined),
  });
  return Buffer.concat([...pieces].map((piece) => Buffer.from(piece))).toString('utf8');
}

const cell = fc.oneof(
  fc.constantFrom(
    '',
    '\\N',
    '\t',
    '\n',
    '"',
    '\\',
    '\\"',
    '","',
    'null',
    '0',
    '007',
    '123456789',
    '1234567890',
  ),
  fc.constantFrom('é', '\u{1f600}', '\u2028', '\u007f', '\u0000', '\r', ' ', 'a"b', '{"a": "b"}'),
  fc.string({ unit: 'grapheme' }),
  fc.nat().map(String),
  fc.constant(null),
);
const anyRow = fc.array(cell, { minLength: 1, maxLength: 6 });
const longCell = fc.constantFrom('long'.repeat(50), 'längër'.repeat(50));
const anyRows = fc.integer({ min: 1, max: 5 }).chain((columns) =>
  fc.array(fc.array(fc.oneof(cell, longCell), { minLength: columns, maxLength: columns }), {
    minLength: 1,
    maxLength: 5,
  }),
);
const kinds = fc.constantFrom('insert' as const, 'update' as const);

describe('a row that is packed on its way', () => {
  test('has the cells that the source sent', () => {
    fc.assert(
      fc.property(kinds, anyRow, (kind, row) => {
        const change = rowChange(received(kind, row));
        expect(change.row).toEqual(row);
        row.forEach((_, at) => {
          expect(cellAt(rowChange(received(kind, row)), at)).toBe(row[at]);
          expect(cellAt(change, at)).toBe(row[at]);
        });
      }),
    );
  });

  test('is the same line of a transform file, and is read back from it', () => {
    fc.assert(
      fc.property(kinds, anyRow, (kind, row) => {
        const message = received(kind, row);
        const change = rowChange(message);
        const line = lineOf(message);
        expect(line).toBe(lineOf({ ...message, change: asCells(change) }));
        for (const prefix of ['', 'what stands before\n']) {
          const back = readBack(line, change.relation, prefix);
          expect(back).toEqual(message);
          expect(packedOf(rowChange(back)) === undefined).toBe(packedOf(change) === undefined);
        }
      }),
    );
  });

  test('is the same text of a COPY', () => {
    fc.assert(
      fc.property(anyRows, fc.nat(), (rows, gap) => {
        const changes = receivedAll('insert', rows).map(rowChange);
        expect(copied(changes, true)).toBe(copied(changes, false));
        const some = changes.filter((_, nth) => nth !== gap % rows.length);
        expect(copied(some, true)).toBe(copied(some, false));
      }),
    );
  });

  test('is the same in the arrays of a statement', () => {
    const written = (values: TextArray) => {
      const buffer = Buffer.alloc(textArrayBytesAtMost(values) + 8);
      return buffer.subarray(0, writeTextArray(buffer, 4, values)).toString('hex');
    };
    fc.assert(
      fc.property(anyRows, (rows) => {
        const changes = receivedAll('update', rows)
          .map(rowChange)
          .filter((change) => packedOf(change) !== undefined);
        const cells = packedCells(changes);
        if (cells === null) throw new Error('one is not packed');
        changes[0]?.row.forEach((_, at) => {
          const values = changes.map(({ row }) => row[at] as string | null);
          expect(written({ cells, at })).toBe(written(values));
        });
      }),
    );
    expect(
      packedCells([rowChange(received('update', ['1'])), rowChange(received('update', ['\n']))]),
    ).toBeNull();
  });

  test('is found by the same key', () => {
    fc.assert(
      fc.property(anyRow, (row) => {
        const plain: Insert = { kind: 'insert', relation: relationOf(row.length), row };
        const packed = asPacked(plain) as Insert;
        row.forEach((_, at) => expect(mapKeyAt(packed, at)).toBe(mapKeyAt(plain, at)));
      }),
    );
  });
});

test.each<[string, readonly Cell[], boolean]>([
  ['short cells and nulls', ['1', null, '', 'a "quoted" ü'], true],
  ['a line feed', ['1', 'a\nb'], false],
  ['a tab', ['1', 'a\tb'], false],
  ['a backslash', ['1', 'a\\b'], false],
  ['the text of a null', ['1', '\\N'], false],
  ['a large row', ['1', 'x'.repeat(packedBytesAtMost)], false],
  ['no columns', [], false],
])('packed or not: %s', (_, row, isPacked) => {
  expect(packedOf(rowChange(received('insert', row))) !== undefined).toBe(isPacked);
});

test('an update with a value that was not sent, or with an old key, is not packed', () => {
  expect(packedOf(rowChange(received('update', ['1', unchanged])))).toBeUndefined();
  expect(packedOf(rowChange(received('update', ['1', '2'])))).toBeDefined();
});

test('bytes that are no UTF-8 are refused, packed or not', () => {
  const decoder = new PgoutputDecoder();
  decoder.decode(pgoutput.begin(9n, 0n, 3), lsn(1));
  decoder.decode(pgoutput.relation(oid, relationOf(1)), lsn(1));
  for (const bytes of [[0xff], [0xc3], [0x61, 0xe2, 0x82], [0xed, 0xa0, 0x80]]) {
    const payload = pgoutput.insert(oid, ['x'.repeat(bytes.length)]);
    Buffer.from(bytes).copy(payload, payload.length - bytes.length);
    expect(() => decoder.decode(payload, lsn(5))).toThrow(/not UTF-8/);
  }
});

test('keys are told apart as their texts are', () => {
  const texts = ['0', '00', '7', '07', '+7', '-7', '7.0', '7 ', '', '999999999', '1000000000', 'x'];
  expect(new Set(texts.map(mapKey)).size).toBe(texts.length);
  expect(mapKey('7')).toBe(7);
});
