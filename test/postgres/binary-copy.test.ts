import { describe, expect, test } from 'vitest';
import { judgeTypes, type TypeFacts } from '../../src/postgres/binary-copy.js';

function type(oid: number, changes: Partial<TypeFacts> = {}): TypeFacts {
  return { oid, kind: 'base', send: `send${oid}`, parts: [], ...changes };
}

const int4 = type(23);
const ofExtension = type(20_000);

describe('which types may be copied in binary', () => {
  test.each<[string, TypeFacts, readonly TypeFacts[], ReturnType<ReturnType<typeof judgeTypes>['get']>]>([
    ['one of the server itself', int4, [], 'safe'],
    ['one without a receive function', type(30, { send: null }), [], null],
    ['names of objects, whose OIDs differ', type(2205, { send: 'regclasssend' }), [], null],
    ['lexemes', type(3614, { send: 'tsvectorsend' }), [], null],
    ['one of an extension', ofExtension, [], 'possible'],
    ['a domain', type(20_001, { kind: 'domain', parts: [23] }), [int4], 'safe'],
    [
      'a domain over an extension',
      type(20_001, { kind: 'domain', parts: [20_000] }),
      [ofExtension],
      'possible',
    ],
    ['an enum', type(20_002, { kind: 'enum' }), [], 'safe'],
    ['an array', type(1007, { parts: [23], send: 'array_send' }), [int4], 'safe'],
    [
      'an array whose elements have another OID',
      type(20_003, { parts: [20_002] }),
      [type(20_002, { kind: 'enum' })],
      null,
    ],
    ['a composite', type(20_004, { kind: 'composite', parts: [23, 25] }), [int4, type(25)], 'safe'],
    [
      'a composite of a type with another OID',
      type(20_004, { kind: 'composite', parts: [20_000] }),
      [ofExtension],
      null,
    ],
    [
      'a composite with an unsafe member',
      type(20_004, { kind: 'composite', parts: [142] }),
      [type(142, { send: 'xml_send' })],
      null,
    ],
    ['a range', type(3904, { kind: 'range' }), [], 'safe'],
    ['a range of a user', type(20_005, { kind: 'range' }), [], 'possible'],
    ['a type that is not known', type(20_006, { kind: 'domain', parts: [99_999] }), [], null],
    ['a pseudo-type', type(2249, { kind: 'other' }), [], null],
    ['a type inside of itself', type(20_007, { kind: 'composite', parts: [20_007] }), [], null],
  ])('%s', (_what, judged, others, verdict) => {
    expect(judgeTypes([...others, judged]).get(judged.oid)).toBe(verdict);
  });
});
