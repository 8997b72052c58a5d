import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createTableCrc32, crc32 } from '../../src/journal/checksum.js';
import { decodeHeader, LineDecoder, RelationIntern } from '../../src/journal/decode.js';
import { encodeHeader, LineEncoder } from '../../src/journal/encode.js';
import {
  formatTimestamp,
  parseTimestamp,
  TimestampPrinter,
  TimestampScanner,
} from '../../src/journal/timestamp.js';
import type { Failure } from '../../src/failure.js';
import type { StreamMessage } from '../../src/model/message.js';
import { anyMessages, linesOf, lsn, person } from './messages.js';

const file = '000000010000000000000002.json';

/** Encodes each message to its lines and decodes them again. */
function throughText(messages: readonly StreamMessage[]): unknown[] {
  const encoder = new LineEncoder(0);
  const decoder = new LineDecoder(file, new RelationIntern());
  return messages.flatMap((message) => {
    const lines = `${linesOf(encoder, message)}}`.split('\n');
    // As in a file: text becomes UTF-8 and comes back from it.
    const decoded = lines.map((line) => decoder.decode(Buffer.from(line).toString('utf8'), 0));
    return decoded.filter((message) => message !== null);
  });
}

describe('lines', () => {
  test('any messages come back as they were', () => {
    fc.assert(
      fc.property(anyMessages, (messages) => {
        expect(throughText(messages)).toStrictEqual(messages);
      }),
      { numRuns: 500 },
    );
  });

  test('keys stand in the documented order', () => {
    const encoder = new LineEncoder(0);
    const text = linesOf(encoder, {
      kind: 'change',
      xid: 500n,
      lsn: lsn(0x24eff30),
      change: { kind: 'update', relation: person, key: ['1'], row: ['2', 0] },
    });
    expect(text.split('\n')).toEqual([
      '{"action":"L","rel":0,"schema":"public","name":"person","identity":"default",' +
        '"columns":[{"name":"id","type":23},{"name":"name","type":25}],"key":[0],"again":true}',
      '{"action":"U","xid":"500","lsn":"0/24EFF30","rel":0,"key":["1"],"row":["2",0]',
    ]);
  });

  test('a relation that is made anew for each change is described once', () => {
    const encoder = new LineEncoder(0);
    const insert = (): StreamMessage => ({
      kind: 'change',
      xid: 1n,
      lsn: lsn(1),
      change: { kind: 'insert', relation: { ...person }, row: ['1', null] },
    });
    expect(linesOf(encoder, insert())).toContain('"action":"L"');
    expect(linesOf(encoder, insert())).not.toContain('"action":"L"');
  });

  const relation =
    '{"action":"L","rel":0,"schema":"s","name":"t","identity":"default","columns":[{"name":"a","type":23}],"key":[0]}';

  test.each([
    ['not JSON', '{"action":"I"'],
    ['not a JSON object', '[]'],
    ['not a JSON object', 'null'],
    ['"action" is unknown', '{"action":"Z"}'],
    ['"action" is unknown', '{}'],
    ['relation that was not described', '{"action":"I","xid":"1","lsn":"0/1","rel":1,"row":["1"]}'],
    ['relation that was not described', '{"action":"I","xid":"1","lsn":"0/1","rel":"0","row":["1"]}'],
    ['one value for each column', '{"action":"I","xid":"1","lsn":"0/1","rel":0,"row":[]}'],
    ['one value for each column', '{"action":"I","xid":"1","lsn":"0/1","rel":0,"row":["1","2"]}'],
    ['holds something that is no value', '{"action":"I","xid":"1","lsn":"0/1","rel":0,"row":[1]}'],
    ['holds something that is no value', '{"action":"I","xid":"1","lsn":"0/1","rel":0,"row":[true]}'],
    ['"row" is not a list', '{"action":"I","xid":"1","lsn":"0/1","rel":0}'],
    ['"key" is not a list', '{"action":"U","xid":"1","lsn":"0/1","rel":0,"row":["1"]}'],
    ['one value for each key column', '{"action":"D","xid":"1","lsn":"0/1","rel":0,"key":[]}'],
    ['holds something that is no value', '{"action":"D","xid":"1","lsn":"0/1","rel":0,"key":[0]}'],
    ['"xid" is not a string', '{"action":"I","xid":1,"lsn":"0/1","rel":0,"row":["1"]}'],
    ['"xid" is not a transaction id', '{"action":"I","xid":"","lsn":"0/1","rel":0,"row":["1"]}'],
    ['"xid" is not a transaction id', '{"action":"R","xid":"-1","lsn":"0/1"}'],
    ['"lsn" is not an LSN', '{"action":"K","lsn":"0-1","timestamp":"2024-01-01 00:00:00.000000+0000"}'],
    ['"lsn" is not an LSN', '{"action":"I","xid":"1","lsn":"","rel":0,"row":["1"]}'],
    ['"timestamp" is not a time', '{"action":"K","lsn":"0/1","timestamp":"yesterday"}'],
    ['"end" is not a string', '{"action":"C","xid":"1","lsn":"0/1","timestamp":"0"}'],
    ['"restart" is not', '{"action":"T","xid":"1","lsn":"0/1","rels":[0],"restart":1,"cascade":null}'],
    ['number is used twice', relation],
    ['names a column that is not there', relation.replace('"rel":0', '"rel":1').replace('[0]', '[1]')],
    ['"identity" is unknown', relation.replace('"rel":0', '"rel":1').replace('default', 'some')],
    ['second header', '{"action":"H"}'],
    ['not the name of a transform file', '{"action":"X","lsn":"0/1","next":"../passwd"}'],
  ])('%s: refused with file and offset: %s', (what, line) => {
    const decoder = new LineDecoder(file, new RelationIntern());
    decoder.decode(relation, 0);
    expect(() => decoder.decode(line, 4711)).toThrow(
      expect.objectContaining({ code: 'journal-damaged' } satisfies Partial<Failure>) as Error,
    );
    expect(() => decoder.decode(line, 4711)).toThrow(`${file} is damaged at offset 4711`);
    expect(() => decoder.decode(line, 4711)).toThrow(what);
  });

  test('a relation described again with the same words is the same object', () => {
    const intern = new RelationIntern();
    const first = new LineDecoder(file, intern).decode(relation, 0);
    const second = new LineDecoder(file, intern).decode(relation, 0);
    if (first?.kind !== 'relation' || second?.kind !== 'relation') throw new Error('not relations');
    expect(second.relation).toBe(first.relation);
  });
});

describe('headers', () => {
  const header = {
    timeline: 1,
    segment: '000000010000000000000002',
    segmentBytes: 16_777_216n,
    previous: '000000010000000000000001.json',
    start: lsn(0x1ffff00),
    position: lsn(0x1ffff00),
    open: new Map([[500n, '000000010000000000000001.json']]),
    stream: { slot: 'wal"ferry', plugin: 'pgoutput' },
  };

  test('a header comes back as it was', () => {
    expect(decodeHeader(file, `${encodeHeader(header)}}`)).toStrictEqual(header);
  });

  test('the header of another file is refused', () => {
    expect(() => decodeHeader('000000010000000000000003.json', `${encodeHeader(header)}}`)).toThrow(
      'header is that of',
    );
  });

  test('a version of the future is refused as such, not as damage', () => {
    const text = `${encodeHeader(header)}}`.replace('"version":1', '"version":2');
    expect(() => decodeHeader(file, text)).toThrow(
      expect.objectContaining({ code: 'work-directory-broken' }) as Error,
    );
  });
});

describe('timestamps', () => {
  test.each([
    [762_000_000_000_001n, '2024-02-23 10:40:00.000001+0000'],
    [0n, '2000-01-01 00:00:00.000000+0000'],
    [-1n, '1999-12-31 23:59:59.999999+0000'],
    [2n ** 63n - 1n, '9223372036854775807'],
    [-(2n ** 63n), '-9223372036854775808'],
  ])('%s is %s', (time, text) => {
    expect(formatTimestamp(time)).toBe(text);
    expect(parseTimestamp(text)).toBe(time);
  });

  test('printer and scanner agree with the plain functions, whatever the second before', () => {
    const time = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.bigInt(-3_000_000n, 3_000_000n),
    );
    fc.assert(
      fc.property(fc.array(time), (times) => {
        const printer = new TimestampPrinter();
        const scanner = new TimestampScanner();
        expect(times.map((time) => printer.format(time))).toEqual(times.map(formatTimestamp));
        expect(times.map((time) => scanner.parse(formatTimestamp(time)))).toEqual(times);
      }),
    );
    expect(new TimestampScanner().parse('2000-01-01 00:00:00.12345+0000')).toBeNull();
  });

  test('every 64-bit time comes back', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (time) => {
        expect(parseTimestamp(formatTimestamp(time))).toBe(time);
      }),
    );
  });
});

describe('checksums', () => {
  const table = createTableCrc32();

  test.each([
    ['123456789', 0xcbf43926],
    ['', 0],
    ['The quick brown fox jumps over the lazy dog', 0x414fa339],
  ])('the CRC-32 of %j is that of the standard, by zlib and by table', (text, sum) => {
    expect(crc32(Buffer.from(text), 0)).toBe(sum);
    expect(table(Buffer.from(text), 0)).toBe(sum);
  });

  test('both go on from a sum alike, at any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array({ maxLength: 100 }), (a, b) => {
        const whole = crc32(Buffer.concat([a, b]), 0);
        expect(crc32(Buffer.from(b), crc32(Buffer.from(a), 0))).toBe(whole);
        expect(table(Buffer.from(b), table(Buffer.from(a), 0))).toBe(whole);
      }),
    );
  });
});
