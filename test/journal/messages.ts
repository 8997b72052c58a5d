/**
 * Messages for the journal's tests: arbitrary ones, and a small stream of whole transactions.
 */
import fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../src/log.js';
import type { Lsn } from '../../src/model/lsn.js';
import type { StreamMessage } from '../../src/model/message.js';
import type { Relation, ReplicaIdentity } from '../../src/model/relation.js';
import type { LineEncoder } from '../../src/journal/encode.js';
import { sumSuffixBytes } from '../../src/journal/format.js';
import { LineBuffer } from '../../src/journal/line-buffer.js';
import type { JournalReader } from '../../src/journal/reader.js';
import { JournalWriter } from '../../src/journal/writer.js';
import type { JournalWriterOptions } from '../../src/journal/writer.js';

export const lsn = (value: bigint | number) => BigInt(value) as Lsn;

/** The lines that a message becomes, the last one open. */
export function linesOf(encoder: LineEncoder, message: StreamMessage): string {
  const lines = new LineBuffer();
  lines.begin(0);
  encoder.encode(message, lines);
  lines.seal(null);
  return lines
    .bytes()
    .toString('utf8')
    .slice(0, -sumSuffixBytes - '\n'.length);
}

export const segmentBytes = 16n * 1024n * 1024n;

/** Records that compare as equal to our own objects. */
const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true });

/** Strings that JSON, UTF-8 or a careless eye get wrong. */
const hostile = fc.constantFrom(
  '',
  '"',
  '\\',
  '\n',
  '\r\n',
  '\u2028\u2029',
  '}\n{"action":"C"',
  ',"sum":"00000000"}',
  '\\","sum":"00000000"}',
  '0',
  'null',
  '\ud800',
  '\u{1f600}',
  '\u0000',
  'é'.repeat(50),
  'ÿ\u0001',
);

export const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.string(), hostile);
const anyLsn = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }).map(lsn);
const anyXid = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const anyTime = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }),
);

const anyRelation: fc.Arbitrary<Relation> = plain({
  schema: anyText,
  name: anyText,
  identity: fc.constantFrom<ReplicaIdentity[]>('default', 'nothing', 'full', 'index'),
  columns: fc.array(
    plain({ name: anyText, typeOid: fc.option(fc.nat({ max: 2 ** 32 - 1 }), { nil: null }) }),
    { maxLength: 4 },
  ),
}).chain((relation) =>
  fc.subarray(relation.columns.map((_, position) => position)).map((key): Relation => ({ ...relation, key })),
);

const nullable = fc.option(anyText, { nil: null });

/** Some of them of a subtransaction, as in streamed transactions. */
const withSub = <T>(messages: fc.Arbitrary<T>): fc.Arbitrary<T | (T & { sub: bigint })> =>
  fc.oneof(
    { weight: 3, arbitrary: messages },
    fc.tuple(messages, anyXid).map(([message, sub]) => ({ ...message, sub })),
  );

/** A change of one of the relations. */
function anyChange(relations: readonly Relation[]): fc.Arbitrary<StreamMessage> {
  const change = fc.constantFrom(...relations).chain((relation) => {
    const key = fc.tuple(...relation.key.map(() => nullable));
    const row = fc.tuple(...relation.columns.map(() => fc.oneof(nullable, fc.constant(0 as const))));
    return fc.oneof(
      row.map((row) => ({ kind: 'insert', relation, row }) as const),
      fc
        .tuple(fc.option(key, { nil: null }), row)
        .map(([key, row]) => ({ kind: 'update', relation, key, row }) as const),
      key.map((key) => ({ kind: 'delete', relation, key }) as const),
      plain({
        kind: fc.constant('truncate' as const),
        relations: fc.subarray([...relations], { minLength: 1 }),
        restartIdentity: fc.constantFrom(true, false, null),
        cascade: fc.constantFrom(true, false, null),
      }),
    );
  });
  return withSub(plain({ kind: fc.constant('change' as const), xid: anyXid, lsn: anyLsn, change }));
}

/** Any messages, in no order that a server would send. */
export const anyMessages: fc.Arbitrary<StreamMessage[]> = fc
  .array(anyRelation, { minLength: 1, maxLength: 3 })
  .chain((relations) =>
    fc.array(
      fc.oneof(
        { weight: 4, arbitrary: anyChange(relations) },
        plain({
          kind: fc.constant('begin' as const),
          xid: anyXid,
          commitLsn: fc.option(anyLsn, { nil: null }),
          commitTime: fc.option(anyTime, { nil: null }),
        }),
        plain({
          kind: fc.constant('commit' as const),
          xid: anyXid,
          commitLsn: anyLsn,
          endLsn: anyLsn,
          commitTime: anyTime,
        }),
        fc.constantFrom(...relations).map((relation) => ({ kind: 'relation', relation }) as const),
        plain({
          kind: fc.constant('message' as const),
          xid: fc.option(anyXid, { nil: null }),
          lsn: anyLsn,
          prefix: anyText,
          content: fc.base64String(),
        }),
        withSub(plain({ kind: fc.constant('rollback' as const), xid: anyXid, lsn: anyLsn })),
        plain({ kind: fc.constant('keepalive' as const), lsn: anyLsn, time: anyTime }),
        plain({ kind: fc.constant('connected' as const), lsn: anyLsn }),
        plain({ kind: fc.constant('endpos' as const), lsn: anyLsn }),
      ),
      { maxLength: 12 },
    ),
  );

export const person: Relation = {
  schema: 'public',
  name: 'person',
  identity: 'default',
  columns: [
    { name: 'id', typeOid: 23 },
    { name: 'name', typeOid: 25 },
  ],
  key: [0],
};

/** A whole transaction of `rows` inserts whose commit record begins at `at`; it ends 0x30 bytes on. */
export function transaction(xid: bigint, at: bigint, rows = 1, value = 'somebody'): StreamMessage[] {
  return [
    { kind: 'begin', xid, commitLsn: lsn(at), commitTime: 762_000_000_000_000n },
    ...Array.from({ length: rows }, (_, row): StreamMessage => ({
      kind: 'change',
      xid,
      lsn: lsn(at - 0x40n),
      change: { kind: 'insert', relation: person, row: [String(row), value] },
    })),
    { kind: 'commit', xid, commitLsn: lsn(at), endLsn: lsn(at + 0x30n), commitTime: 762_000_000_000_000n },
  ];
}

/** A directory of its own, gone afterwards. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { path: string }> {
  const parent = await mkdtemp(join(tmpdir(), 'walferry-journal-'));
  return {
    path: join(parent, 'cdc'),
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true, force: true }),
  };
}

export function openWriter(
  directory: string,
  options: Partial<JournalWriterOptions> = {},
): Promise<JournalWriter> {
  return JournalWriter.open({
    directory,
    timeline: 1,
    segmentBytes,
    header: { systemIdentifier: '7300000000000000001', slot: 'walferry', plugin: 'pgoutput' },
    log: silentLog,
    ...options,
  });
}

const never = new AbortController().signal;

/** Everything until the reader's end. */
export async function drain(reader: JournalReader): Promise<StreamMessage[]> {
  const messages: StreamMessage[] = [];
  for (;;) {
    const batch = await reader.next(never);
    if (batch === null) return messages;
    messages.push(...batch);
  }
}
