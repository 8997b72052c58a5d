import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TestDecodingDecoder } from '../../../plugins/test_decoding/decoder.js';
import type { Lsn } from '../../../src/model/lsn.js';
import { tablesStale } from '../../../src/model/plugin.js';
import {
  changeOf,
  isInType,
  outcomeOf,
  printText,
  printTextTable,
  someRow,
  someTable,
  tablesOf,
  types,
  type PrintedTable,
} from '../printed.js';

const type = (name: string) => types.find((one) => one.name === name)!;
const plain: PrintedTable = {
  schema: 'public',
  name: 't',
  columns: [
    { name: 'id', type: type('integer') },
    { name: 'a', type: type('text') },
    { name: 'b', type: type('boolean') },
  ],
};

function opened(table: PrintedTable, xid = 700): TestDecodingDecoder {
  const decoder = new TestDecodingDecoder(tablesOf(table));
  decoder.decode(Buffer.from(`BEGIN ${xid}`), 0x10n as Lsn);
  return decoder;
}

describe('properties', { timeout: 30_000 }, () => {
  test('what is printed is read as it was, twice', () => {
    fc.assert(
      fc.property(
        someTable.chain((table) =>
          fc.record({ table: fc.constant(table), row: someRow(table, false), next: someRow(table, true) }),
        ),
        ({ table, row, next }) => {
          const decoder = opened(table);
          const { columns } = table;
          const key = [row[0]!];
          const insert = `${printTextTable(table)} INSERT:${printText(columns, row)}`;
          const update = `${printTextTable(table)} UPDATE: old-key:${printText(columns.slice(0, 1), row)} new-tuple:${printText(columns, next)}`;
          const remove = `${printTextTable(table)} DELETE:${printText(columns.slice(0, 1), row)}`;
          for (let again = 0; again < 2; again += 1) {
            expect(changeOf(outcomeOf(decoder, insert))).toEqual({ row, key: null });
            expect(changeOf(outcomeOf(decoder, update))).toEqual({
              row: next,
              key: row[0] === next[0] ? null : key,
            });
            expect(changeOf(outcomeOf(decoder, remove))).toEqual({ row: null, key });
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a message cut short or changed is refused, or read as exactly what then stands there', () => {
    fc.assert(
      fc.property(
        someTable.chain((table) => fc.record({ table: fc.constant(table), row: someRow(table, true) })),
        fc.nat(),
        fc.option(fc.string({ unit: fc.constantFrom("'", '"', '\\', ' ', ':', '[', ']', 'a', '1', ',') })),
        ({ table, row }, where, inserted) => {
          const text = `${printTextTable(table)} UPDATE:${printText(table.columns, row)}`;
          const at = where % (text.length + 1);
          fc.pre(inserted === null || !isInType(text, at));
          // A cut surrogate pair is not text any more.
          const broken = Buffer.from(
            inserted === null ? text.slice(0, at) : text.slice(0, at) + inserted + text.slice(at),
          ).toString();
          const outcome = outcomeOf(opened(table, 900), broken);
          const change = changeOf(outcome);
          if (change === null) {
            // Columns that nobody knows: the catalog is asked.
            expect(outcome === 'refused' || outcome === tablesStale || outcome === null).toBe(true);
          } else {
            expect(`${printTextTable(table)} UPDATE:${printText(table.columns, change.row ?? [])}`).toBe(
              broken,
            );
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('any bytes are refused or understood, and nothing else happens', () => {
    const starts = [
      '',
      'table ',
      'table public.t: ',
      'BEGIN ',
      'COMMIT 700',
      'message: transactional: 1 prefix: ',
    ];
    fc.assert(
      fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 200 }), (start, bytes) => {
        outcomeOf(opened(plain), Buffer.concat([Buffer.from(start), bytes]));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('transactions', () => {
  test('the end is the position of the commit; the commit record starts at or behind the last change', () => {
    const decoder = new TestDecodingDecoder(tablesOf(plain));
    const at = (text: string, lsn: bigint) => decoder.decode(Buffer.from(text), lsn as Lsn);

    expect(at('BEGIN 4294967295', 5n)).toEqual({
      kind: 'begin',
      xid: 4_294_967_295n,
      commitLsn: null,
      commitTime: null,
    });
    at(`table public.t: TRUNCATE: (no-flags)`, 8n);
    expect(at('COMMIT 4294967295 (at 2000-01-01 05:30:00.000001+05:30)', 20n)).toEqual({
      kind: 'commit',
      xid: 4_294_967_295n,
      commitLsn: 8n,
      endLsn: 20n,
      commitTime: 1n,
    });
  });

  test.each([
    ['ours', 'walferry, sz: 3 content:abc', 'YWJj'],
    ['another prefix', 'p, sz: 3 content:abc', null],
    ['no prefix', ', sz: 0 content:', null],
    ['a prefix that begins like ours', 'walferry, sz: 3 content:, sz: 3 content:abc', null],
    ['a prefix that is longer', 'walferry2, sz: 3 content:abc', null],
    ['more than we ever say', `walferry, sz: 1025 content:${'a'.repeat(1025)}`, null],
  ])('of logical messages only ours are given out: %s', (_how, rest, content) => {
    const xid = { 0: null, 1: 700n };
    for (const transactional of [0, 1] as const) {
      const read = outcomeOf(opened(plain), `message: transactional: ${transactional} prefix: ${rest}`);
      if (content === null) expect(read).toBe(null);
      else expect(read).toMatchObject({ xid: xid[transactional], prefix: 'walferry', content });
    }
  });

  test('flags and tables of a TRUNCATE; one that is not followed is left out', () => {
    const decoder = opened(plain);
    expect(
      outcomeOf(decoder, 'table public.t, public."oth,er": TRUNCATE: restart_seqs cascade'),
    ).toMatchObject({
      change: { relations: [{ name: 't' }], restartIdentity: true, cascade: true },
    });
    expect(outcomeOf(decoder, 'table public.other: TRUNCATE: (no-flags)')).toBe(null);
  });

  test.each([
    ['COMMIT 701 (at 2000-01-01 00:00:00+00)'],
    ['COMMIT 700'],
    ['COMMIT 700 (at 2000-02-30 00:00:00+00)'],
    ['COMMIT 700 (at 2000-01-01 00:00:00)'],
    ['BEGIN 701'],
    ['BEGIN'],
    ['DDL message: prefix: '],
    ['table public.t'],
    ['table t: INSERT: id[integer]:1'],
    ['table public.t: UPSERT: id[integer]:1'],
    ["table public.t: INSERT: id[integer]:'1' a[text]:'x' b[boolean]:true"],
    ['table public.t: INSERT: id[integer]:1 a[text]:x b[boolean]:true'],
    ["table public.t: INSERT: id[integer]:1 a[text]:'x' b[boolean]:t"],
    ["table public.t: INSERT: id[integer]:1 a[text]:'x'' b[boolean]:true"],
    ["table public.t: INSERT: id[integer]:1 a[text]:'x'y b[boolean]:true"],
    ['table public.t: INSERT: id[integer]:1 id[integer]:2 b[boolean]:true'],
    ['table public.t: INSERT: id[integer]:1 a[text]:unchanged-toast-datum b[boolean]:true'],
    ['table public.t: INSERT: (no-tuple-data)'],
    ["table public.t: UPDATE: id[integer]:unchanged-toast-datum a[text]:'x' b[boolean]:true"],
    ['table public.t: DELETE: id[integer]:null'],
    ['message: transactional: 2 prefix: p, sz: 0 content:'],
    ['message: transactional: 1 prefix'],
    ['table public.t: TRUNCATE: no-flags'],
  ])('refused: %s', (text) => {
    expect(outcomeOf(opened(plain), text)).toBe('refused');
  });
});
