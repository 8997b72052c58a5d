import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MessageCutter } from '../../src/postgres/copy-both.js';

function message(tag: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(5);
  header[0] = tag;
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

test('messages come out as they went in, wherever the reads tear them', () => {
  const messages = fc.array(fc.tuple(fc.nat({ max: 255 }), fc.uint8Array({ maxLength: 30 })));
  const reads = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 });
  fc.assert(
    fc.property(messages, reads, (sent, lengths) => {
      const bytes = Buffer.concat(sent.map(([tag, body]) => message(tag, body)));
      const taken: [number, number[]][] = [];
      const cutter = new MessageCutter((tag, buffer, start, end) =>
        taken.push([tag, [...buffer.subarray(start, end)]]),
      );
      for (let at = 0, nth = 0; at < bytes.length; nth += 1) {
        const length = lengths[nth % lengths.length]!;
        cutter.push(bytes.subarray(at, at + length));
        at += length;
      }
      expect(taken).toEqual(sent.map(([tag, body]) => [tag, [...body]]));
      expect(cutter.pendingBytes).toBe(0);
    }),
    { numRuns: 500 },
  );
});

test('a message inside of one read is not copied', () => {
  const read = message(0x64, Buffer.from('abc'));
  new MessageCutter((_tag, buffer) => expect(buffer).toBe(read)).push(read);
});

test.each([0, 3, 0xffff_ffff])('a length of %i is refused', (length) => {
  const header = Buffer.alloc(5, 0x64);
  header.writeUInt32BE(length, 1);
  for (const reads of [[header], [header.subarray(0, 2), header.subarray(2)]]) {
    const cutter = new MessageCutter(() => {});
    expect(() => reads.forEach((read) => cutter.push(read))).toThrow(
      expect.objectContaining({ code: 'message-unreadable' }),
    );
  }
});
