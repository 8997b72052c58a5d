import { expect, test } from 'vitest';
import { madeElsewhere, placedEntries, readPlacements } from '../../src/clone/restore-placements.js';
import type { DumpEntry } from '../../src/postgres/dump.js';

const entry = (dumpId: number, kind: string, name: string): DumpEntry => ({
  ...{ dumpId, kind, catalogOid: 1259, oid: dumpId + 100, tag: `public ${name} me`, dependencies: [] },
});
const entries = [
  entry(1, 'TABLE', 'a'),
  entry(2, 'TABLE', 'b'),
  entry(3, 'TABLE', 'parted'),
  entry(4, 'MATERIALIZED VIEW', 'm'),
  entry(5, 'INDEX', 'i'),
  entry(6, 'TABLE', 'c'),
];
const piece = ({ kind, tag }: DumpEntry, statements: string, behind = '') =>
  `--\n-- Name: ${tag.split(' ')[1]}; Type: ${kind}; Schema: public; Owner: me\n--\n\n${statements}\n\n${behind}`;
const [a, b, parted, m, i, c] = entries as [DumpEntry, DumpEntry, DumpEntry, DumpEntry, DumpEntry, DumpEntry];

// What a view says is no setting, where it is not the last.
const odd = `CREATE MATERIALIZED VIEW m AS SELECT '\nSET default_tablespace = odd;\n';`;
const script = `SET client_encoding = 'UTF8';\n\nSET default_tablespace = "Fast one";\n\nSET default_table_access_method = heap;\n\n${[
  piece(a, 'CREATE TABLE a ();', 'SET default_table_access_method = other;\n\n'),
  piece(b, 'CREATE TABLE b ();'),
  piece(parted, 'CREATE TABLE parted () PARTITION BY LIST (x);', "SET default_tablespace = '';\n\n"),
  piece(m, odd),
  piece(i, 'CREATE INDEX i;', 'SET default_table_access_method = heap;\n\n'),
  piece(c, 'CREATE TABLE c ();', '--\n-- PostgreSQL database dump complete\n--\n\n'),
].join('')}`;
const placements = readPlacements(script, entries) ?? new Map();

const placed = {
  entries,
  placements,
  identities: new Map(
    entries.map(({ dumpId, kind, tag }) => [dumpId, `${kind.toLowerCase()} public.${tag.split(' ')[1]}`]),
  ),
  schema: { tables: [{ oid: 103, kind: 'partitioned' }] } as never,
  targetVersion: 150_000,
};
const noMethod = 'could not set default_table_access_method: ERROR:  invalid value: "other"';
const noSpace = 'could not set default_tablespace to Fast one: ERROR:  invalid value';

test('where an entry is to be is what is set above it', () => {
  const words = [...placements.values()].map((settings) => [...settings.values()]);
  expect(words).toEqual([
    ['"Fast one"', 'heap'],
    ['"Fast one"', 'other'],
    ['"Fast one"', 'other'],
    [`''`, 'other'],
    [`''`, 'other'],
    [`''`, 'heap'],
  ]);
  expect(readPlacements(script, entries.slice(1))).toBeNull();
  expect(placedEntries([a, entry(9, 'FUNCTION', 'f'), i])).toEqual([a, i]);
});

test('each of them is told, and what has no access method is not', () => {
  const method = madeElsewhere([{ dumpId: 2, message: noMethod, command: null }], placed);
  expect(method.map(({ object, sql }) => [object, sql])).toEqual([
    ['access method of TABLE public b me', 'ALTER table public.b SET ACCESS METHOD other;'],
    [
      'access method of MATERIALIZED VIEW public m me',
      'ALTER materialized view public.m SET ACCESS METHOD other;',
    ],
  ]);
  const space = madeElsewhere([{ dumpId: 1, message: noSpace, command: null }], placed);
  expect(space.map(({ sql }) => sql)).toEqual([
    'ALTER table public.a SET TABLESPACE "Fast one";',
    'ALTER table public.b SET TABLESPACE "Fast one";',
    'ALTER table public.parted SET TABLESPACE "Fast one";',
  ]);
});

test('a server that does not know the statement is not told it', () => {
  const errors = [{ dumpId: 2, message: noMethod, command: null }];
  const old = madeElsewhere(errors, { ...placed, targetVersion: 140_000 });
  expect(old.map(({ message, sql }) => [message, sql])).toEqual([
    [noMethod, null],
    [noMethod, null],
  ]);
});
