import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PgoutputDecoder } from '../../../plugins/pgoutput/decoder.js';
import { pgoutput } from '../../../plugins/pgoutput/plugin.js';
import { Failure } from '../../../src/failure.js';
import type { Lsn } from '../../../src/model/lsn.js';
import type { Relation } from '../../../src/model/relation.js';
import type { Cell } from '../../../src/model/row.js';
import { unchanged } from '../../../src/model/row.js';
import * as wire from './messages.js';

const lsn = (value: bigint) => value as Lsn;

/** A relation `public.t` of text columns. */
function table(
  identity: Relation['identity'],
  columnNames: readonly string[],
  key: readonly number[],
): Relation {
  return {
    schema: 'public',
    name: 't',
    identity,
    columns: columnNames.map((name) => ({ name, typeOid: 25 })),
    key,
  };
}

/** A decoder inside transaction 700 that knows the relations by the OIDs 1, 2, … */
function opened(...relations: Relation[]): PgoutputDecoder {
  return openedBy(new PgoutputDecoder(), ...relations);
}

function openedBy(decoder: PgoutputDecoder, ...relations: Relation[]): PgoutputDecoder {
  decoder.decode(wire.begin(0x500n, 1n, 700), lsn(0n));
  relations.forEach((relation, nth) => decoder.decode(wire.relation(nth + 1, relation), lsn(0n)));
  return decoder;
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Failure && error.code === 'message-unreadable') return error.message;
    throw error;
  }
  throw new Error('it was read');
}

describe('what is read', () => {
  test('a transaction: begin and commit carry the commit record, changes carry xid and their own position', () => {
    const decoder = new PgoutputDecoder();
    const accounts = table('default', ['id', 'note'], [0]);

    const messages = [
      decoder.decode(wire.begin(0x1_0000_0500n, -5n, 4_294_967_295), lsn(0x1_0000_0100n)),
      decoder.decode(wire.relation(9, accounts), lsn(0n)),
      decoder.decode(wire.insert(9, ['1', null]), lsn(0x1_0000_0100n)),
      decoder.decode(wire.commit(0x1_0000_0500n, 0x1_0000_0530n, 7n), lsn(0x1_0000_0530n)),
    ];

    expect(messages).toEqual([
      { kind: 'begin', xid: 4_294_967_295n, commitLsn: 0x1_0000_0500n, commitTime: -5n },
      { kind: 'relation', relation: accounts },
      {
        kind: 'change',
        xid: 4_294_967_295n,
        lsn: 0x1_0000_0100n,
        change: { kind: 'insert', relation: accounts, row: ['1', null] },
      },
      {
        kind: 'commit',
        xid: 4_294_967_295n,
        commitLsn: 0x1_0000_0500n,
        endLsn: 0x1_0000_0530n,
        commitTime: 7n,
      },
    ]);
  });

  test('a type and an origin say nothing that concerns us', () => {
    const decoder = opened();
    expect(decoder.decode(wire.type(1234, 'public', 'mood'), lsn(0n))).toBeNull();
    expect(decoder.decode(wire.origin(0x10n, 'elsewhere'), lsn(0n))).toBeNull();
  });

  test('a table described again is a new relation, and changes point at the description they came under', () => {
    const before = table('default', ['id'], [0]);
    const after = table('default', ['id', 'added'], [0]);
    const decoder = opened(before);

    const first = decoder.decode(wire.insert(1, ['1']), lsn(1n));
    decoder.decode(wire.relation(1, after), lsn(0n));
    const second = decoder.decode(wire.insert(1, ['2', 'x']), lsn(2n));

    expect(first).toMatchObject({ change: { relation: before } });
    expect(second).toMatchObject({ change: { relation: after } });
  });

  test('an empty namespace is pg_catalog', () => {
    const decoder = opened();
    expect(
      decoder.decode(wire.relation(5, { ...table('full', ['a'], [0]), schema: 'pg_catalog' }), lsn(0n)),
    ).toMatchObject({ relation: { schema: 'pg_catalog' } });
  });

  const twoKeys = table('index', ['a', 'b', 'c'], [0, 2]);
  const full = table('full', ['a', 'b'], [0, 1]);
  test.each<[claim: string, Relation, Buffer, unknown]>([
    [
      'an update that keeps its identity brings no key',
      twoKeys,
      wire.update(1, ['1', 'x', '2']),
      { kind: 'update', relation: twoKeys, key: null, row: ['1', 'x', '2'] },
    ],
    [
      'an update of the identity brings the old one, without the columns outside of it',
      twoKeys,
      wire.update(1, ['1', 'x', '3'], { kind: 'K', row: ['1', null, '2'] }),
      { kind: 'update', relation: twoKeys, key: ['1', '2'], row: ['1', 'x', '3'] },
    ],
    [
      'an unchanged TOAST value is neither null nor text',
      twoKeys,
      wire.update(1, ['1', unchanged, '2']),
      { kind: 'update', relation: twoKeys, key: null, row: ['1', unchanged, '2'] },
    ],
    [
      'an identity column that is TOASTed and unchanged takes its value from the old tuple',
      twoKeys,
      wire.update(1, [unchanged, unchanged, '2'], { kind: 'K', row: ['long', null, '2'] }),
      { kind: 'update', relation: twoKeys, key: ['long', '2'], row: ['long', unchanged, '2'] },
    ],
    [
      'an update under FULL brings the whole old row; unchanged stays unchanged',
      full,
      wire.update(1, ['1', unchanged], { kind: 'O', row: [null, 'long'] }),
      { kind: 'update', relation: full, key: [null, 'long'], row: ['1', unchanged] },
    ],
    [
      'a delete brings the identity',
      twoKeys,
      wire.remove(1, 'K', ['1', null, '2']),
      { kind: 'delete', relation: twoKeys, key: ['1', '2'] },
    ],
    [
      'a delete under FULL brings the row, nulls and empty texts apart',
      full,
      wire.remove(1, 'O', [null, '']),
      { kind: 'delete', relation: full, key: [null, ''] },
    ],
    [
      'an insert into a table without columns is a row without cells',
      table('nothing', [], []),
      wire.insert(1, []),
      { kind: 'insert', relation: table('nothing', [], []), row: [] },
    ],
  ])('%s', (_claim, relation, payload, change) => {
    expect(opened(relation).decode(payload, lsn(0x77n))).toEqual({
      kind: 'change',
      xid: 700n,
      lsn: 0x77n,
      change,
    });
  });

  test.each([
    [0, false, false],
    [1, true, false],
    [2, false, true],
    [3, true, true],
  ])('a truncate with options %i', (options, cascade, restartIdentity) => {
    const [one, two] = [table('nothing', ['a'], []), table('default', ['a'], [0])];
    expect(opened(one, two).decode(wire.truncate([2, 1], options), lsn(3n))).toEqual({
      kind: 'change',
      xid: 700n,
      lsn: 3n,
      change: { kind: 'truncate', relations: [two, one], restartIdentity, cascade },
    });
  });

  test('a logical message of ours has the transaction it stands in, or none; its content may be any bytes', () => {
    const content = Buffer.from([0, 255, 10]);
    expect(opened().decode(wire.logicalMessage(true, 0x40n, 'walferry', content), lsn(0n))).toEqual({
      kind: 'message',
      xid: 700n,
      lsn: 0x40n,
      prefix: 'walferry',
      content: 'AP8K',
    });
    expect(
      new PgoutputDecoder().decode(wire.logicalMessage(false, 0x40n, 'walferry', Buffer.alloc(0)), lsn(0n)),
    ).toEqual({ kind: 'message', xid: null, lsn: 0x40n, prefix: 'walferry', content: '' });
  });

  test.each([
    ['another prefix', 'p"\n', 3],
    ['no prefix', '', 0],
    ['a longer prefix', 'walferry2', 3],
    ['more than we ever say', 'walferry', 1025],
  ])('a logical message of somebody else is left out: %s', (_how, prefix, bytes) => {
    for (const transactional of [true, false]) {
      const payload = wire.logicalMessage(transactional, 0x40n, prefix, Buffer.alloc(bytes));
      expect(opened().decode(payload, lsn(0n))).toBe(null);
      expect(() => opened().decode(payload.subarray(0, -1), lsn(0n))).toThrow();
    }
  });
});

describe('what is refused', () => {
  const keyed = table('default', ['id', 'note'], [0]);
  test.each<[claim: string, Buffer, RegExp]>([
    ['an empty message', Buffer.alloc(0), /empty message .* 0 of 0/],
    ['a message of an unknown kind', Buffer.from('Zx'), /message 'Z' at 0\/77 .*offset 0 of 2/],
    ['a byte after the end', Buffer.concat([wire.insert(1, ['1', 'x']), wire.byte(0)]), /1 bytes follow/],
    ['a table never described', wire.insert(2, ['1', 'x']), /table 2 was not described .*offset 1 /],
    ['a row of another width', wire.insert(1, ['1']), /row of 1 columns for public.t, which has 2/],
    [
      'a binary cell',
      Buffer.from(wire.insert(1, ['1', 'x']).toString('latin1').replace('t\0', 'b\0'), 'latin1'),
      /'b' is no kind of cell here \(offset 8 /,
    ],
    ['an old row with a value not sent', wire.remove(1, 'K', [unchanged, null]), /'u' is no kind of cell/],
    [
      'an old row with a value outside of the identity',
      wire.remove(1, 'K', ['1', 'x']),
      /'t' is no kind of cell/,
    ],
    [
      'a whole old row from a table that logs its key',
      wire.remove(1, 'O', ['1', null]),
      /'O' stands where the old row of public.t begins/,
    ],
    [
      'an insert whose row is called old',
      Buffer.concat([wire.byte('I'), wire.int32(1), wire.byte('O'), wire.tuple(['1', 'x'])]),
      /'O' stands where 'N' belongs/,
    ],
    [
      'an update without its identity: nobody can say which row it was',
      wire.update(1, [unchanged, 'x']),
      /did not send column id of the replica identity of public.t/,
    ],
    ['a truncate of nothing', wire.truncate([], 0), /names no table/],
    ['a truncate with unknown options', wire.truncate([1], 4), /options 4 are not known/],
    ['a begin inside of a transaction', wire.begin(1n, 1n, 1), /has not ended/],
    [
      'a replica identity of another kind',
      wire.relation(3, keyed).fill('x', 13, 14),
      /is no replica identity/,
    ],
    ['a text that announces more than there is', wire.insert(1, ['1', 'x']).fill(9, 17, 18), /announced/],
    [
      'a text that is not UTF-8',
      Buffer.from(wire.insert(1, ['1', 'xy']).toString('latin1').replace('xy', '\xff\xfe'), 'latin1'),
      /a text is not UTF-8/,
    ],
  ])('%s', (_claim, payload, message) => {
    const decoder = opened(keyed);
    expect(refusal(() => decoder.decode(payload, lsn(0x77n)))).toMatch(message);
  });

  test('an insert with a value not sent: an update moved the row into a row filter', () => {
    const decoder = opened(keyed);
    const read = () => decoder.decode(wire.insert(1, ['1', unchanged]), lsn(0x77n));
    expect(read).toThrow(
      expect.objectContaining({
        code: 'plugin-limit',
        message: expect.stringMatching(
          /moved a row of public\.t into the row filter .* column "note" was not sent/,
        ),
        remedy: expect.stringContaining('alter table "public"."t" replica identity full'),
      }),
    );
  });

  test.each([
    [
      'a value of a new row',
      wire.insert(1, ['1', '\\'.repeat(101)]),
      /column "note" of public\.t at 0\/77 is longer/,
    ],
    [
      'a value of an old row',
      wire.remove(1, 'K', ['x'.repeat(101), null]),
      /column "id" of public\.t at 0\/77/,
    ],
  ])('%s that no string can hold', (_claim, payload, message) => {
    const decoder = openedBy(new PgoutputDecoder(100), keyed);
    const read = () => decoder.decode(payload, lsn(0x77n));
    expect(read).toThrow(
      expect.objectContaining({ code: 'plugin-limit', message: expect.stringMatching(message) }),
    );
  });

  test('a replacement character that the source itself stores is a value like any other', () => {
    const message = opened(keyed).decode(wire.insert(1, ['1', 'a\ufffdb']), lsn(0n));
    expect(message).toEqual({
      ...{ kind: 'change', xid: 700n, lsn: lsn(0n) },
      change: { kind: 'insert', relation: keyed, row: ['1', 'a\ufffdb'] },
    });
  });

  test('a change outside of a transaction', () => {
    const decoder = new PgoutputDecoder();
    decoder.decode(wire.relation(1, keyed), lsn(0n));
    expect(refusal(() => decoder.decode(wire.insert(1, ['1', 'x']), lsn(0n)))).toMatch(
      /no transaction is open/,
    );
    expect(refusal(() => decoder.decode(wire.commit(1n, 2n, 3n), lsn(0n)))).toMatch(/no transaction/);
  });
});

describe('any message', () => {
  const cellText = fc.string({ unit: 'binary', maxLength: 40 }).map((text) => Buffer.from(text).toString());
  const nameText = cellText.map((text) => text.replaceAll('\0', '0'));
  const relations = fc
    .record({
      schema: nameText.filter((text) => text !== ''),
      name: nameText,
      identity: fc.constantFrom('default', 'nothing', 'full', 'index' as const),
      columns: fc.array(fc.record({ name: nameText, typeOid: fc.integer({ min: 0, max: 0xffff_ffff }) }), {
        minLength: 1,
        maxLength: 8,
      }),
      keyed: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
    })
    .map(({ keyed, ...rest }): Relation => {
      const positions = rest.columns.map((_column, position) => position);
      if (rest.identity === 'full') return { ...rest, key: positions };
      if (rest.identity === 'nothing') return { ...rest, key: [] };
      return { ...rest, key: positions.filter((position) => keyed[position]) };
    });

  /** A relation, and a change of it both as the wire has it and as it must be read. */
  const changes = relations.chain((relation) => {
    const width = relation.columns.length;
    const rows = (cell: fc.Arbitrary<Cell>) => fc.array(cell, { minLength: width, maxLength: width });
    const sent = fc.oneof(cellText, fc.constant(null));
    const inKey = (row: readonly Cell[]) =>
      row.map((cell, position) => (relation.key.includes(position) ? cell : null));
    const key = (row: readonly Cell[]) => relation.key.map((position) => row[position]);
    const letter = relation.identity === 'full' ? 'O' : 'K';
    const shapes: fc.Arbitrary<{ payload: Buffer; change: unknown }>[] = [
      rows(sent).map((row) => ({
        payload: wire.insert(1, row),
        change: { kind: 'insert', relation, row },
      })),
    ];
    if (relation.identity !== 'full') {
      shapes.push(
        rows(sent).map((row) => ({
          payload: wire.update(1, row),
          change: { kind: 'update', relation, key: null, row },
        })),
      );
    }
    if (relation.key.length > 0) {
      shapes.push(
        rows(sent).map((row) => ({
          payload: wire.remove(1, letter, inKey(row)),
          change: { kind: 'delete', relation, key: key(row) },
        })),
        fc.tuple(rows(sent), rows(fc.oneof(sent, fc.constant(unchanged)))).map(([old, row]) => ({
          payload: wire.update(1, row, { kind: letter, row: inKey(old) }),
          change: {
            kind: 'update',
            relation,
            key: key(old),
            row: row.map((cell, position) =>
              cell === unchanged && relation.identity !== 'full' && relation.key.includes(position)
                ? old[position]
                : cell,
            ),
          },
        })),
      );
    }
    return fc.record({ relation: fc.constant(relation), shape: fc.oneof(...shapes) });
  });

  test('is read as it was written', () => {
    fc.assert(
      fc.property(changes, fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }), (drawn, position) => {
        const decoder = opened(drawn.relation);
        expect(decoder.decode(drawn.shape.payload, lsn(position))).toEqual({
          kind: 'change',
          xid: 700n,
          lsn: position,
          change: drawn.shape.change,
        });
      }),
    );
  });

  test('is read in place, between others, as it is alone', () => {
    fc.assert(
      fc.property(changes, fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 }), (drawn, gaps) => {
        const { payload, change } = drawn.shape;
        const decoder = opened(drawn.relation);
        // The same read brings the message several times, with anything around it.
        const bytes = Buffer.concat(gaps.flatMap((gap) => [gap, payload]));
        let start = 0;
        for (const gap of gaps) {
          start += gap.length;
          expect(decoder.decodeWithin(bytes, start, start + payload.length, lsn(5n))).toEqual({
            kind: 'change',
            xid: 700n,
            lsn: 5n,
            change,
          });
          start += payload.length;
        }
      }),
    );
  });

  test('cut anywhere is refused, whatever follows it', () => {
    fc.assert(
      fc.property(changes, fc.nat(), fc.uint8Array({ maxLength: 40 }), (drawn, cut, rest) => {
        const end = cut % drawn.shape.payload.length;
        const payload = drawn.shape.payload.subarray(0, end);
        const words = refusal(() => opened(drawn.relation).decode(payload, lsn(1n)));
        const bytes = Buffer.concat([rest, payload, rest, drawn.shape.payload]);
        const { length } = rest;
        expect(refusal(() => opened(drawn.relation).decodeWithin(bytes, length, length + end, lsn(1n)))).toBe(
          words,
        );
      }),
    );
  });

  // An insert with a value that was not sent is understood, and refused for what it does not say.
  const refusals: readonly unknown[] = ['message-unreadable', 'plugin-limit'];

  test('with bytes exchanged is read or refused, never anything else', () => {
    const exchanges = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(changes, exchanges, (drawn, exchanged) => {
        const described = wire.relation(1, drawn.relation);
        for (const original of [described, drawn.shape.payload, wire.truncate([1, 1], 1)]) {
          const payload = Buffer.from(original);
          for (const [at, value] of exchanged) payload[at % payload.length] = value;
          const decoder = opened(drawn.relation);
          try {
            decoder.decode(payload, lsn(1n));
          } catch (error) {
            expect(refusals).toContain(error instanceof Failure ? error.code : error);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test('of garbage is refused or read, never anything else', () => {
    const tags = fc.constantFrom('B', 'C', 'R', 'Y', 'O', 'I', 'U', 'D', 'T', 'M', 'S', 'E', 'c', 'A');
    fc.assert(
      fc.property(tags, fc.uint8Array({ maxLength: 60 }), (tag, garbage) => {
        const decoder = opened(table('default', ['id', 'note'], [0]));
        try {
          decoder.decode(Buffer.concat([Buffer.from(tag), garbage]), lsn(1n));
        } catch (error) {
          expect(refusals).toContain(error instanceof Failure ? error.code : error);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a transaction in progress', () => {
  const people = table('default', ['id', 'note'], [0]);
  const inBlock = (xid: number, ...payloads: Buffer[]) => [
    wire.streamStart(700, false),
    ...payloads.map((payload) => wire.ofSubtransaction(xid, payload)),
    wire.streamStop(),
  ];

  test('comes in blocks, between others, and each change says which subtransaction made it', () => {
    const decoder = new PgoutputDecoder();
    const payloads = [
      wire.streamStart(700, true),
      wire.ofSubtransaction(700, wire.relation(1, people)),
      wire.ofSubtransaction(700, wire.type(9, 'public', 'mood')),
      wire.origin(1n, 'elsewhere'),
      wire.ofSubtransaction(700, wire.insert(1, ['1', null])),
      wire.ofSubtransaction(702, wire.remove(1, 'K', ['2', null])),
      wire.ofSubtransaction(702, wire.logicalMessage(true, 7n, 'walferry', Buffer.alloc(0))),
      wire.streamStop(),
      wire.begin(0x500n, 1n, 701),
      wire.insert(1, ['3', null]),
      wire.commit(0x500n, 0x530n, 1n),
      ...inBlock(703, wire.update(1, ['1', 'x'])),
      wire.streamAbort(700, 702),
      wire.streamCommit(700, 0x600n, 0x630n, 2n),
      wire.streamStart(705, true),
      wire.streamStop(),
      wire.streamAbort(705, 705),
    ];
    const read = payloads.map((payload) => decoder.decode(payload, lsn(0x400n)));
    const change = { kind: 'change', lsn: 0x400n };
    expect(read.filter((message) => message !== null)).toEqual([
      { kind: 'begin', xid: 700n, commitLsn: null, commitTime: null, streamed: true },
      { kind: 'relation', relation: people },
      { ...change, xid: 700n, change: { kind: 'insert', relation: people, row: ['1', null] } },
      { ...change, xid: 700n, sub: 702n, change: { kind: 'delete', relation: people, key: ['2'] } },
      { kind: 'message', xid: 700n, sub: 702n, lsn: 7n, prefix: 'walferry', content: '' },
      { kind: 'begin', xid: 701n, commitLsn: 0x500n, commitTime: 1n },
      { ...change, xid: 701n, change: { kind: 'insert', relation: people, row: ['3', null] } },
      { kind: 'commit', xid: 701n, commitLsn: 0x500n, endLsn: 0x530n, commitTime: 1n },
      {
        ...change,
        xid: 700n,
        sub: 703n,
        change: { kind: 'update', relation: people, key: null, row: ['1', 'x'] },
      },
      { kind: 'rollback', xid: 700n, sub: 702n, lsn: 0x400n },
      { kind: 'commit', xid: 700n, commitLsn: 0x600n, endLsn: 0x630n, commitTime: 2n },
      { kind: 'begin', xid: 705n, commitLsn: null, commitTime: null, streamed: true },
      { kind: 'rollback', xid: 705n, lsn: 0x400n },
    ]);
  });

  test.each<[claim: string, Buffer[], RegExp]>([
    [
      'a block inside of a transaction',
      [wire.begin(1n, 1n, 9), wire.streamStart(700, true)],
      /has not ended/,
    ],
    ['a block inside of a block', [wire.streamStart(700, true), wire.streamStart(701, true)], /stream block/],
    [
      'a second first block',
      [wire.streamStart(700, true), wire.streamStop(), wire.streamStart(700, true)],
      /begun already/,
    ],
    ['a block of an unknown transaction', [wire.streamStart(700, false)], /700 has not begun/],
    ['the end of a block outside of one', [wire.streamStop()], /not known/],
    [
      'a commit inside of a block',
      [wire.streamStart(700, true), wire.streamCommit(700, 1n, 2n, 3n)],
      /stream block/,
    ],
    ['the commit of an unknown transaction', [wire.streamCommit(700, 1n, 2n, 3n)], /700 has not begun/],
    ['the rollback of an unknown transaction', [wire.streamAbort(700, 701)], /700 has not begun/],
    [
      'a change outside of a block',
      [wire.streamStart(700, true), wire.streamStop(), wire.insert(1, [])],
      /no transaction is open/,
    ],
  ])('is refused where it cannot stand: %s', (_, payloads, message) => {
    const decoder = new PgoutputDecoder();
    const last = payloads.at(-1) ?? Buffer.alloc(0);
    for (const payload of payloads.slice(0, -1)) decoder.decode(payload, lsn(1n));
    expect(refusal(() => decoder.decode(last, lsn(1n)))).toMatch(message);
  });
});

/** What only other plugins ask for. */
const plain = { tables: null, knownOptions: new Set<string>() };

describe('what the server is asked for', () => {
  test.each([
    [
      130_005,
      [
        ['proto_version', '1'],
        ['publication_names', '"walferry"'],
      ],
    ],
    [
      150_020,
      [
        ['proto_version', '2'],
        ['publication_names', '"walferry"'],
        ['streaming', 'on'],
        ['messages', 'true'],
      ],
    ],
    [
      160_000,
      [
        ['proto_version', '2'],
        ['publication_names', '"walferry"'],
        ['streaming', 'on'],
        ['messages', 'true'],
        ['origin', 'any'],
      ],
    ],
  ])('by server %i', (serverVersion, options) => {
    expect(pgoutput.options({ ...plain, serverVersion, publications: ['walferry'] })).toEqual(options);
  });

  test('publication names keep their case, commas and quotes', () => {
    const options = pgoutput.options({ ...plain, serverVersion: 150_000, publications: ['A,b', 'c"d'] });
    expect(options[1]).toEqual(['publication_names', '"A,b","c""d"']);
  });
});
