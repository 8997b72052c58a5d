import { describe, expect, test } from 'vitest';
import {
  MessageReader,
  MessageWriter,
  readDataRow,
  readErrorFields,
} from '../../src/postgres/wire-protocol.js';
import { textArrayBytesAtMost, writeTextArray } from '../../src/postgres/bind-array.js';
import { PreparedStatements } from '../../src/postgres/prepared-statements.js';

/** A message of a server. */
function message(type: string, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body);
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([head, bytes]);
}

describe('the reader', () => {
  const stream = Buffer.concat([
    message('1', ''),
    message('C', 'INSERT 0 1\0'),
    message('D', Buffer.from('0002ffffffff00000002c3a4', 'hex')),
    message('N', 'x'.repeat(5000)),
    message('Z', 'I'),
  ]);
  const read = (size: number): string[] => {
    const seen: string[] = [];
    const reader = new MessageReader((type, buffer, start, end) =>
      seen.push(String.fromCharCode(type) + buffer.toString('latin1', start, end)),
    );
    for (let from = 0; from < stream.length; from += size) reader.push(stream.subarray(from, from + size));
    return seen;
  };

  test.each([1, 2, 3, 4, 5, 6, 7, 64, 5004])('finds the same messages in chunks of %i bytes', (size) => {
    expect(read(size)).toEqual(read(stream.length));
    expect(read(size).map((text) => text[0])).toEqual(['1', 'C', 'D', 'N', 'Z']);
  });

  test('refuses a length that cannot be', () => {
    const reader = new MessageReader(() => {});
    expect(() => reader.push(Buffer.from('4300000003', 'hex'))).toThrow(RangeError);
  });

  test('reads rows and errors', () => {
    expect(readDataRow(Buffer.from('0002ffffffff00000002c3a4', 'hex'), 0)).toEqual([null, 'ä']);
    const error = Buffer.from('SERROR\0C22P02\0Mno ünit\0\0');
    expect([...readErrorFields(error, 0, error.length)]).toEqual([
      ['S', 'ERROR'],
      ['C', '22P02'],
      ['M', 'no ünit'],
    ]);
  });
});

describe('the writer', () => {
  const hex = (write: (writer: MessageWriter) => void): string => {
    const writer = new MessageWriter();
    write(writer);
    return writer.take().toString('hex');
  };

  test('writes what the protocol says', () => {
    expect(hex((writer) => writer.sync())).toBe('5300000004');
    expect(hex((writer) => writer.execute())).toBe('4500000009' + '00' + '00000000');
    expect(hex((writer) => writer.parse('n', 'select $1', [['a'], 'b']))).toBe(
      '50' +
        '0000001a' +
        '6e00' +
        Buffer.from('select $1\0').toString('hex') +
        '0002' +
        '000003f1' +
        '00000019',
    );
    expect(hex((writer) => writer.bind('n', [null, 'ä']))).toBe(
      '42' + '0000001b' + '00' + '6e00' + '0002' + '00000000' + '0002' + 'ffffffff' + '00000002c3a4' + '0000',
    );
  });

  test('keeps what was taken untouched, and grows where it must', () => {
    const writer = new MessageWriter();
    writer.sync();
    const first = writer.take();
    const large = 'x'.repeat(300_000);
    writer.bind('', [large, [large, null]]);
    const second = writer.take();
    expect(first.toString('hex')).toBe('5300000004');
    expect(second.readInt32BE(1)).toBe(second.length - 1);
    expect(second.length).toBeGreaterThan(600_000);
    expect(writer.length).toBe(0);
  });
});

describe('an array of text', () => {
  const cases: readonly (readonly (string | null)[])[] = [
    [],
    [null],
    ['', 'NULL', '{}', '"', '\\'],
    ['ünï🐘', null, 'x'.repeat(5000)],
  ];
  test.each(cases.map((values) => [values]))('%j has its dimensions, its flag and its elements', (values) => {
    const buffer = Buffer.alloc(textArrayBytesAtMost(values));
    const end = writeTextArray(buffer, 0, values);
    expect(end).toBeLessThanOrEqual(buffer.length);
    expect(buffer.readInt32BE(0)).toBe(values.length === 0 ? 0 : 1);
    expect(buffer.readInt32BE(4)).toBe(values.includes(null) ? 1 : 0);
    const elements: (string | null)[] = [];
    for (let at = 20; at < end;) {
      const length = buffer.readInt32BE(at);
      elements.push(length === -1 ? null : buffer.toString('utf8', at + 4, at + 4 + length));
      at += 4 + Math.max(0, length);
    }
    expect(elements).toEqual(values);
  });
});

describe('prepared statements', () => {
  test('are parsed once, and anew after a while, later each time', () => {
    const statements = new PreparedStatements(10);
    const parsed = (now: number) => statements.prepare('select 1', now).parse;
    expect([0, 1, 400, 600, 700, 1500, 1700, 3000, 3700].map(parsed)).toEqual([
      true,
      false,
      false,
      true,
      false,
      false,
      true,
      false,
      true,
    ]);
  });

  test('close what was not used for longest, and an old plan', () => {
    const statements = new PreparedStatements(2);
    const a = statements.prepare('a', 0);
    const b = statements.prepare('b', 0);
    statements.prepare('a', 1);
    expect(statements.prepare('c', 2).close).toBe(b.name);
    expect(statements.prepare('a', 1000)).toEqual({ name: 'walferry_4', parse: true, close: a.name });
  });

  test('are forgotten after a failure, and their names never used again', () => {
    const statements = new PreparedStatements(2);
    const { name } = statements.prepare('a', 0);
    statements.forgetAll();
    const again = statements.prepare('a', 0);
    expect(again.parse).toBe(true);
    expect(again.name).not.toBe(name);
  });
});
