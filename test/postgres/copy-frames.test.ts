import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameScanner } from '../../src/postgres/copy-frames.js';

type Message = { readonly type: string; readonly body: Buffer };

function encode({ type, body }: Message): Buffer {
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

/** What a scanner says about chunks, in order; neighbouring pieces of data are one. */
function scan(chunks: readonly Buffer[]): { told: Message[]; payloadBytes: number } {
  const told: Message[] = [];
  const scanner = new FrameScanner({
    data: (frames) => {
      const last = told.at(-1);
      if (last?.type === 'data')
        told[told.length - 1] = { type: 'data', body: Buffer.concat([last.body, frames]) };
      else told.push({ type: 'data', body: Buffer.from(frames) });
    },
    message: (type, body) => told.push({ type: String.fromCharCode(type), body: Buffer.from(body) }),
  });
  for (const chunk of chunks) scanner.push(chunk);
  return { told, payloadBytes: scanner.payloadBytes };
}

const messages = fc.array(
  fc.record({
    type: fc.constantFrom('d', 'd', 'd', 'c', 'C', 'Z', 'N'),
    body: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  }),
  { maxLength: 30 },
);

describe('frames of a COPY', () => {
  test('wherever the chunks end, data is handed on byte for byte and messages whole', () => {
    fc.assert(
      fc.property(messages, fc.array(fc.nat(400)), (sent, cuts) => {
        const bytes = Buffer.concat(sent.map(encode));
        const places = [...new Set([0, ...cuts.filter((cut) => cut < bytes.length), bytes.length])].toSorted(
          (a, b) => a - b,
        );
        const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end));

        const { told, payloadBytes } = scan(chunks);

        const expected: Message[] = [];
        for (const one of sent) {
          const last = expected.at(-1);
          if (one.type !== 'd') expected.push(one);
          else if (last?.type === 'data')
            expected[expected.length - 1] = { type: 'data', body: Buffer.concat([last.body, encode(one)]) };
          else expected.push({ type: 'data', body: encode(one) });
        }
        expect(told).toEqual(expected);
        expect(payloadBytes).toBe(
          sent.filter(({ type }) => type === 'd').reduce((sum, { body }) => sum + body.length, 0),
        );
      }),
      { numRuns: 300 },
    );
  });

  test('whole data is handed on without being copied', () => {
    const chunk = Buffer.concat([encode({ type: 'd', body: Buffer.from('row\n') })]);
    const given: Buffer[] = [];
    new FrameScanner({ data: (frames) => given.push(frames), message: () => {} }).push(chunk);
    expect(given).toEqual([chunk]);
    expect(given[0]).toBe(chunk);
  });

  test.each([
    ['shorter than itself', [0x64, 0, 0, 0, 3]],
    ['longer than a server can send', [0x64, 0xff, 0xff, 0xff, 0xff]],
    ['a message longer than we hold', [0x45, 0x3f, 0, 0, 0, 1]],
  ])('a length %s is refused', (_what, bytes) => {
    expect(() => scan([Buffer.from(bytes)])).toThrow(RangeError);
    expect(() => scan(bytes.map((byte) => Buffer.from([byte])))).toThrow(RangeError);
  });
});
