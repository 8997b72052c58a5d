import { describe, expect, test } from 'vitest';
import { isPresent, placeEntries } from '../../src/clone/restore-plan.js';
import { judgeRestoreErrors } from '../../src/clone/restore-errors.js';
import { entryLabel, type DumpEntry } from '../../src/postgres/dump.js';

let nextId = 1;

function entry(kind: string, catalogOid: number, oid: number, needs: readonly DumpEntry[] = []): DumpEntry {
  nextId += 1;
  return { dumpId: nextId, catalogOid, oid, kind, tag: 'x', dependencies: needs.map((one) => one.dumpId) };
}

const rules = {
  schema: {
    viewRules: [70],
    publications: [
      { oid: 80, name: 'ours' },
      { oid: 81, name: 'theirs' },
    ],
  },
  ownIndexes: new Set([20]),
  ownConstraints: new Set([30, 31]),
  ownPublications: new Set(['ours']),
};

describe('when an entry is restored', () => {
  const table = entry('TABLE', 1259, 10);
  const view = entry('VIEW', 1259, 11);
  const matview = entry('MATERIALIZED VIEW', 1259, 12);
  const ownIndex = entry('INDEX', 1259, 20, [table]);
  const parentIndex = entry('INDEX', 1259, 21, [table]);
  const primary = entry('CONSTRAINT', 2606, 30, [table]);
  const foreign = entry('FK CONSTRAINT', 2606, 31, [table]);
  const extension = entry('EXTENSION', 3079, 40);
  const database = entry('DATABASE', 1262, 5);
  const ours = entry('PUBLICATION', 6104, 80);
  const theirs = entry('PUBLICATION', 6104, 81);
  const eventTrigger = entry('EVENT TRIGGER', 3466, 90);
  const postponed = entry('FUNCTION', 1255, 91, [primary]);

  test.each<[string, DumpEntry, string]>([
    ['a table', table, 'restore pre-data'],
    ['statistics, so that ANALYZE fills them', entry('STATISTICS', 3381, 1, [table]), 'restore pre-data'],
    ['an index that we build', ownIndex, 'ours before-changes'],
    ['its comment', entry('COMMENT', 0, 0, [ownIndex]), 'restore before-changes'],
    ['an index of a partitioned parent', parentIndex, 'restore before-changes'],
    ['an attached index', entry('INDEX ATTACH', 0, 0, [ownIndex, parentIndex]), 'restore before-changes'],
    ['a primary key that we add', primary, 'ours before-changes'],
    ['a function that needs it', postponed, 'restore before-changes'],
    ['a comment on that function', entry('COMMENT', 0, 0, [postponed]), 'restore before-changes'],
    ['the body of a dummy view', entry('RULE', 2618, 70, [view, primary]), 'restore before-changes'],
    ['another rule', entry('RULE', 2618, 71, [table]), 'restore finalize'],
    ['a materialized view', matview, 'restore pre-data'],
    ['its index', entry('INDEX', 1259, 22, [matview]), 'restore refresh'],
    ['its contents', entry('MATERIALIZED VIEW DATA', 0, 12, [matview]), 'restore refresh'],
    ['a foreign key that we add', foreign, 'ours finalize'],
    ['its comment', entry('COMMENT', 0, 0, [foreign]), 'restore finalize'],
    ['a trigger', entry('TRIGGER', 2620, 1, [table]), 'restore finalize'],
    ['a policy', entry('POLICY', 3256, 1, [table]), 'restore finalize'],
    ['row security', entry('ROW SECURITY', 0, 10, [table]), 'restore finalize'],
    ['a constraint that is not valid', entry('CHECK CONSTRAINT', 2606, 99, [table]), 'restore finalize'],
    ['default privileges', entry('DEFAULT ACL', 826, 1), 'restore privileges'],
    ['privileges of a table', entry('ACL', 0, 0, [table]), 'restore privileges'],
    ['an event trigger', eventTrigger, 'restore event-triggers'],
    ['its comment', entry('COMMENT', 0, 0, [eventTrigger]), 'restore event-triggers'],
    ['an extension', extension, 'restore pre-data'],
    ["the run's own publication", ours, 'never'],
    ['its table', entry('PUBLICATION TABLE', 6106, 1, [ours, table]), 'never'],
    ["somebody else's publication", theirs, 'restore finalize'],
    ['the database', database, 'never'],
    ['its comment', entry('COMMENT', 0, 0, [database]), 'never'],
    ['a subscription', entry('SUBSCRIPTION', 6100, 1), 'never'],
  ])('%s', (_what, subject, expected) => {
    const others = [table, view, matview, ownIndex, parentIndex, primary, foreign, extension, database];
    const all = [...others, ours, theirs, eventTrigger, postponed];
    const entries = all.includes(subject) ? all : [...all, subject];

    const placement = placeEntries(entries, rules).get(subject.dumpId);

    expect(placement?.kind === 'never' ? 'never' : `${placement?.kind} ${placement?.stage}`).toBe(expected);
  });
});

describe('what the target holds already', () => {
  const parent = entry('TABLE', 1259, 1);
  const child = entry('TABLE', 1259, 2);
  const extension = entry('EXTENSION', 3079, 3);
  const rule = entry('RULE', 2618, 70);
  const inherited = entry('TRIGGER', 2620, 60);
  const trigger = entry('TRIGGER', 2620, 61);
  const index = entry('INDEX', 1259, 50, [parent]);
  const elsewhere = entry('INDEX', 1259, 51, [parent]);
  const identities = new Map([
    [parent.dumpId, 'table public.p'],
    [child.dumpId, 'table public.c'],
    [extension.dumpId, 'extension x'],
    [rule.dumpId, 'rule "_RETURN" on public.v'],
    [inherited.dumpId, 'trigger t on public.c'],
    [trigger.dumpId, 'trigger t on public.p'],
    [index.dumpId, 'index public.i'],
    [elsewhere.dumpId, 'index public.e'],
  ]);
  const target = {
    identities: new Set(identities.values()),
    parents: new Map([['table public.c', 'table public.p']]),
    indexed: new Map([
      ['index public.i', 'table public.p'],
      ['index public.e', 'table public.other'],
    ]),
  };
  const schema = { viewRules: [70], inheritedTriggers: [60] };

  test.each<[string, DumpEntry, boolean]>([
    ['a table', parent, true],
    ['an attached partition', entry('TABLE ATTACH', 0, 0, [child, parent]), true],
    ['a partition of another parent', entry('TABLE ATTACH', 0, 0, [parent, extension]), false],
    ['a trigger', trigger, true],
    ['an index', index, true],
    ['an index whose name one of another table has', elsewhere, false],
    ['a trigger from the parent, whose entry sets its state', inherited, false],
    ['the rule of a dummy view, which its entry replaces', rule, false],
    ['the comment of an extension that was there', entry('COMMENT', 0, 0, [extension]), true],
    ['the comment of a table', entry('COMMENT', 0, 0, [parent]), false],
    ['privileges', entry('ACL', 0, 0, [parent]), false],
    ['something unknown', entry('TABLE', 1259, 9), false],
  ])('%s', (_what, subject, expected) => {
    expect(isPresent(subject, identities, target, schema)).toBe(expected);
  });

  test('a partition that is not attached yet is not there', () => {
    const attach = entry('TABLE ATTACH', 0, 0, [child, parent]);
    expect(isPresent(attach, identities, { ...target, parents: new Map() }, schema)).toBe(false);
  });
});

describe('a statement that failed', () => {
  const table = entry('TABLE', 1259, 1);
  const acl = entry('ACL', 0, 0, [table]);
  const mapping = entry('USER MAPPING', 1417, 1);
  const all = new Map([table, acl, mapping].map((one) => [one.dumpId, one]));

  test.each<[string, DumpEntry | null, string, string | null, 'reported' | 'fatal']>([
    ['a table', table, 'no', 'CREATE TABLE public.t (\n  a text\n);', 'fatal'],
    ['its owner', table, 'must be member', 'ALTER TABLE public.t OWNER TO postgres;', 'reported'],
    ['a name that looks like it', table, 'no', 'CREATE TABLE public."alter x owner to y" ();', 'fatal'],
    ['its tablespace', table, 'could not set default_tablespace to fast: no', null, 'reported'],
    ['privileges', acl, 'role "x" does not exist', 'GRANT SELECT ON TABLE public.t TO x;', 'reported'],
    ['a DROP of --clean', table, 'others depend on it', 'DROP TABLE IF EXISTS public.t;', 'reported'],
    ['no entry', null, 'lost', null, 'fatal'],
  ])('%s', (_what, subject, message, command, expected) => {
    const judged = judgeRestoreErrors([{ dumpId: subject?.dumpId ?? null, message, command }], all);
    expect(judged.problems.length).toBe(expected === 'reported' ? 1 : 0);
    expect(judged.fatal.length).toBe(expected === 'fatal' ? 1 : 0);
  });

  test('a right that is missing is reported of what rows can do without, and so is what needs it', () => {
    const fn = entry('FUNCTION', 1255, 2);
    const view = entry('VIEW', 1259, 3, [fn]);
    const needing = entry('TABLE', 1259, 4, [fn]);
    const known = new Map([fn, view, needing].map((one) => [one.dumpId, one]));
    const failed = (subject: DumpEntry, message: string) => ({
      dumpId: subject.dumpId,
      message,
      command: 'CREATE …',
    });
    const denied = failed(fn, 'permission denied for language c');
    const dependents = [view, needing].map((one) => failed(one, 'function f() does not exist'));

    const judged = judgeRestoreErrors([denied, ...dependents], known);
    expect(judged.problems.length).toBe(2);
    expect(judged.fatal.map(({ object }) => object)).toEqual([entryLabel(needing)]);
    // Refused at an earlier stage.
    expect(judgeRestoreErrors(dependents.slice(0, 1), known, new Set([entryLabel(fn)])).fatal).toEqual([]);
    // Row security is on before: a view whose owner is subject to it is left unfilled, and told.
    const filled = entry('MATERIALIZED VIEW DATA', 0, 0);
    const hidden = failed(filled, 'query would be affected by row-level security policy for table "t"');
    expect(judgeRestoreErrors([hidden], new Map([[filled.dumpId, filled]])).fatal).toEqual([]);
    // Anything else is no matter of rights.
    expect(judgeRestoreErrors([failed(fn, 'syntax error')], known).fatal.length).toBe(1);
  });

  test('what belongs to a foreign table that is missing is reported with it, of another table it counts', () => {
    const foreign = entry('FOREIGN TABLE', 1259, 2);
    const attached = entry('TABLE ATTACH', 0, 0, [table, foreign]);
    const other = entry('TABLE ATTACH', 0, 0, [table]);
    // The sequence needs the table; that it is the table's needs the sequence.
    const sequence = entry('SEQUENCE', 1259, 3, [foreign]);
    const owned = entry('SEQUENCE OWNED BY', 0, 0, [sequence]);
    const ofTable = entry('SEQUENCE', 1259, 4, [table]);
    const plain = entry('SEQUENCE OWNED BY', 0, 0, [ofTable]);
    const everything = [table, foreign, attached, other, sequence, owned, ofTable, plain];
    const known = new Map(everything.map((one) => [one.dumpId, one]));
    const failed = ({ dumpId }: DumpEntry) => ({ dumpId, message: 'permission denied', command: 'ALTER …' });

    const judged = judgeRestoreErrors([foreign, attached, other, owned, plain].map(failed), known);

    expect(judged.problems.map(({ object }) => object)).toEqual([foreign, attached, owned].map(entryLabel));
    expect(judged.fatal.map(({ object }) => object)).toEqual([other, plain].map(entryLabel));
  });

  test('the options of a user mapping, which may hold a password, are not repeated', () => {
    const command = "CREATE USER MAPPING FOR x SERVER y OPTIONS (password 'canary');";
    const judged = judgeRestoreErrors([{ dumpId: mapping.dumpId, message: 'no', command }], all);
    expect(JSON.stringify(judged)).not.toContain('canary');
  });
});
