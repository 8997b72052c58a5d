import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Wal2jsonDecoder } from '../../../plugins/wal2json/decoder.js';
import { wal2json } from '../../../plugins/wal2json/plugin.js';
import { Failure } from '../../../src/failure.js';
import type { Lsn } from '../../../src/model/lsn.js';
import { tablesStale } from '../../../src/model/plugin.js';
import type { Cell } from '../../../src/model/row.js';
import {
  changeOf,
  outcomeOf,
  printJson,
  printJsonString,
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
    { name: 'n', type: type('numeric') },
    { name: 'f', type: type('double precision') },
    { name: 'a', type: type('text') },
  ],
};

const time = '"timestamp":"2026-11-22 22:21:11.05626+00"';
const head = (action: string, xid: number) => `{"action":"${action}","xid":${xid},${time},"lsn":"0/100"`;
const of = (table: PrintedTable) =>
  `,"schema":${printJsonString(table.schema)},"table":${printJsonString(table.name)}`;

function opened(table: PrintedTable, xid = 700, numbersAsText = false): Wal2jsonDecoder {
  const decoder = new Wal2jsonDecoder({ tables: tablesOf(table), numbersAsText });
  decoder.decode(Buffer.from(`${head('B', xid)},"nextlsn":"0/130"}`), 0x10n as Lsn);
  return decoder;
}

/** How many nulls of a row could be special values. */
const ambiguous = (table: PrintedTable, rows: readonly (readonly Cell[])[]) => {
  const cells = rows.flatMap((row) =>
    row.map((cell, nth) => ({ cell, name: table.columns[nth]!.type.name })),
  );
  const able = cells.filter(({ name }) => name === 'numeric' || name === 'double precision');
  const nulls = able.filter(({ cell }) => cell === null).length;
  const said = able.filter(
    ({ cell }) => typeof cell === 'string' && /^(?:NaN|-?Infinity)$/.test(cell),
  ).length;
  return nulls > 0 && said > 0;
};

describe('properties', { timeout: 30_000 }, () => {
  test('what is printed is read as it was, to the last digit; NULL beside NaN is refused', () => {
    fc.assert(
      fc.property(
        someTable.chain((table) =>
          fc.record({ table: fc.constant(table), row: someRow(table, false), next: someRow(table, true) }),
        ),
        ({ table, row, next }) => {
          const decoder = opened(table);
          const { columns } = table;
          const say = (...printed: { said: string[] }[]) => {
            for (const { said } of printed)
              for (const value of said) decoder.notice(`special value: ${value}`);
          };
          const fresh = printJson(columns, row);
          const old = printJson(columns.slice(0, 1), row);
          const later = printJson(columns, next);
          for (let again = 0; again < 2; again += 1) {
            say(fresh);
            const insert = changeOf(
              outcomeOf(decoder, `${head('I', 700)}${of(table)},"columns":${fresh.text}}`),
            );
            if (ambiguous(table, [row])) {
              expect(insert).toBe(null);
              return;
            }
            expect(insert).toEqual({ row, key: null });
            say(later, old);
            const update = changeOf(
              outcomeOf(
                decoder,
                `${head('U', 700)}${of(table)},"columns":${later.text},"identity":${old.text}}`,
              ),
            );
            if (ambiguous(table, [next, row.slice(0, 1)])) {
              expect(update).toBe(null);
              return;
            }
            expect(update).toEqual({ row: next, key: row[0] === next[0] ? null : [row[0]] });
            say(old);
            const remove = outcomeOf(decoder, `${head('D', 700)}${of(table)},"identity":${old.text}}`);
            expect(changeOf(remove)).toEqual({ row: null, key: [row[0]] });
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a message cut short is refused', () => {
    fc.assert(
      fc.property(
        someTable.chain((table) => fc.record({ table: fc.constant(table), row: someRow(table, false) })),
        fc.nat(),
        ({ table, row }, where) => {
          const { text, said } = printJson(table.columns, row);
          const whole = `${head('I', 700)}${of(table)},"columns":${text}}`;
          const decoder = opened(table);
          for (const value of said) decoder.notice(`special value: ${value}`);
          expect(outcomeOf(decoder, whole.slice(0, where % whole.length))).toBe('refused');
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a message changed is refused, or is JSON that says what was read', () => {
    fc.assert(
      fc.property(
        someTable.chain((table) => fc.record({ table: fc.constant(table), row: someRow(table, false) })),
        fc.nat(),
        fc.nat({ max: 2 }),
        fc.string({
          unit: fc.constantFrom('"', '\\', ',', '{', '}', '[', ']', ':', 'u', 'n', '0', '1', ' ', '\n'),
        }),
        ({ table, row }, where, removed, inserted) => {
          const whole = `${head('I', 900)}${of(table)},"columns":${printJson(table.columns, row).text}}`;
          const at = where % whole.length;
          // A cut surrogate pair is not text any more.
          const broken = Buffer.from(whole.slice(0, at) + inserted + whole.slice(at + removed)).toString();
          const outcome = outcomeOf(opened(table, 900), broken);
          const change = changeOf(outcome);
          if (change === null) {
            expect(outcome === 'refused' || outcome === tablesStale || outcome === null).toBe(true);
            return;
          }
          const { columns } = JSON.parse(broken) as {
            columns: { name: string; typeoid: number; value: unknown }[];
          };
          expect(columns.map(({ name }) => name)).toEqual(table.columns.map(({ name }) => name));
          columns.forEach(({ value, typeoid }, nth) => {
            const cell = change.row![nth]!;
            if (typeof value === 'number') expect(Number(cell)).toBe(value);
            else if (typeof value === 'boolean') expect(cell).toBe(value ? 't' : 'f');
            else expect(cell).toBe(typeoid === 17 && typeof value === 'string' ? `\\x${value}` : value);
          });
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('any bytes are refused or understood, and nothing else happens', () => {
    const starts = ['', '{', '{"action":"', '{"action":"M"', head('I', 700), `${head('T', 700)}${of(plain)}`];
    fc.assert(
      fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 200 }), (start, bytes) => {
        outcomeOf(opened(plain), Buffer.concat([Buffer.from(start), bytes]));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('special values', () => {
  const insert = (n: string, f: string) =>
    `${head('I', 700)}${of(plain)},"columns":[{"name":"id","typeoid":23,"value":1},{"name":"n","typeoid":1700,"value":${n}},` +
    `{"name":"f","typeoid":701,"value":${f}},{"name":"a","typeoid":25,"value":null}]}`;

  test.each([
    ['none is said: they are NULL', [], 'null', 'null', ['1', null, null, null]],
    ['all are said', ['NaN', '-Infinity'], 'null', 'null', ['1', 'NaN', '-Infinity', null]],
    ['one is said, of one', ['Infinity'], '1.50', 'null', ['1', '1.50', 'Infinity', null]],
    ['one is said, of two', ['NaN'], 'null', 'null', null],
    ['one is said too much', ['NaN', 'NaN'], '1', 'null', null],
  ])('%s', (_what, said, n, f, row) => {
    const decoder = opened(plain);
    for (const value of said) decoder.notice(`special value: ${value}`);
    expect(changeOf(outcomeOf(decoder, insert(n, f)))).toEqual(row === null ? null : { row, key: null });
  });

  test('a number that JSON does not have is refused', () => {
    for (const number of ['01', '-007', '1.', '.5', '1e', '+1'])
      expect(outcomeOf(opened(plain), insert(number, '1')), number).toBe('refused');
    expect(changeOf(outcomeOf(opened(plain), insert('-0.50', '1e-300')))?.row?.slice(1, 3)).toEqual([
      '-0.50',
      '1e-300',
    ]);
  });

  test('they are forgotten with their change', () => {
    const decoder = opened(plain);
    decoder.notice('special value: NaN');
    outcomeOf(decoder, insert('null', '1'));
    expect(changeOf(outcomeOf(decoder, insert('null', '1')))?.row).toEqual(['1', null, '1', null]);
  });

  test('as text, numbers say it themselves', () => {
    const text = insert('"NaN"', 'null').replace('"value":1}', '"value":"1"}');
    expect(changeOf(outcomeOf(opened(plain, 700, true), text))?.row).toEqual(['1', 'NaN', null, null]);
    expect(outcomeOf(opened(plain, 700, true), insert('1', 'null'))).toBe('refused');
    expect(outcomeOf(opened(plain), insert('"1"', 'null'))).toBe('refused');
  });
});

describe('truncate', () => {
  const truncate = (lsn: string, table = plain) => `${head('T', 700).replace('0/100', lsn)}${of(table)}}`;
  const commit = `${head('C', 700)},"nextlsn":"0/130"}`;

  test('tables at one position are one change, given out with what follows', () => {
    const decoder = opened(plain);
    expect(outcomeOf(decoder, truncate('0/50'))).toBe(null);
    expect(outcomeOf(decoder, truncate('0/50', { ...plain, name: 'other' }))).toBe(null);
    expect(outcomeOf(decoder, truncate('0/60'))).toMatchObject({
      lsn: 0x50n,
      change: { kind: 'truncate', relations: [{ name: 't' }], restartIdentity: null, cascade: null },
    });
    expect(outcomeOf(decoder, commit)).toMatchObject([{ lsn: 0x60n }, { kind: 'commit', endLsn: 0x130n }]);
  });
});

describe('logical messages', () => {
  const message = (xid: number | null, prefix: string, content: string) =>
    `{"action":"M","xid":${xid},${time},"lsn":"0/100","transactional":${xid !== null},` +
    `"prefix":${printJsonString(prefix)},"content":${printJsonString(content)}}`;

  test.each([
    ['ours', 'walferry', 'a"b', 'YSJi'],
    ['another prefix', 'theirs', '"prefix":"walferry"', null],
    ['a prefix that is longer', 'walferry2', 'abc', null],
    ['more than we ever say', 'walferry', 'a'.repeat(1025), null],
    ['much more than we ever say', 'walferry', 'a'.repeat(7200), null],
  ])('only ours are given out: %s', (_how, prefix, said, content) => {
    for (const xid of [null, 700]) {
      const read = outcomeOf(opened(plain), message(xid, prefix, said));
      if (content === null) expect(read).toBe(null);
      else
        expect(read).toMatchObject({
          xid: xid === null ? null : 700n,
          lsn: 0x100n,
          prefix: 'walferry',
          content,
        });
    }
  });

  test('refused: one of another transaction, one that goes on behind its end', () => {
    expect(outcomeOf(opened(plain), message(701, 'theirs', ''))).toBe('refused');
    expect(outcomeOf(opened(plain), `${message(700, 'walferry', '')}x`)).toBe('refused');
  });
});

describe('options', () => {
  const request = { serverVersion: 150_000, publications: [], tables: null, knownOptions: new Set<string>() };
  const newer = { ...request, knownOptions: new Set(['numeric-data-types-as-string']) };

  test('numbers come as text where the plugin knows how; else the special values are said on the side', () => {
    const plugin = wal2json({ required: false });
    expect(plugin.options(request)).not.toContainEqual(['numeric-data-types-as-string', 'true']);
    expect(plugin.settings(request)).toEqual([['client_min_messages', 'debug1']]);
    expect(plugin.options(newer)).toContainEqual(['numeric-data-types-as-string', 'true']);
    expect(plugin.settings(newer)).toEqual([]);
  });

  test('only messages of ours are asked for where the plugin knows how', () => {
    const own = { ...request, knownOptions: new Set(['add-msg-prefixes']) };
    const plugin = wal2json({ required: false });
    expect(plugin.options(own)).toContainEqual(['add-msg-prefixes', 'walferry']);
    expect(plugin.options(request).map(([name]) => name)).not.toContain('add-msg-prefixes');
  });

  test('asked for, it must be known', () => {
    const plugin = wal2json({ required: true });
    expect(plugin.options(newer)).toContainEqual(['numeric-data-types-as-string', 'true']);
    expect(() => plugin.options(request)).toThrow(Failure);
  });
});
