import { describe, expect, test } from 'vitest';
import {
  diffObjects,
  sameRights,
  sameText,
  schemasDiffer,
  schemaSentence,
  type SchemaComparison,
} from '../../src/compare/schema-difference.js';
import type { ObjectKind, SchemaObject } from '../../src/compare/schema-objects.js';
import { schemaJson, schemaText } from '../../src/compare/schema-report.js';

const same = { source: 15, target: 15 };

function object(
  kind: ObjectKind,
  identity: string,
  properties: Readonly<Record<string, string | null>> = {},
): SchemaObject {
  return { kind, classOid: 0, oid: 0, schema: 'public', identity, properties };
}

test('an object on one side only is missing or extra, by its kind and name', () => {
  const found = diffObjects(
    [object('table', 'public.a'), object('view', 'public.b')],
    [object('table', 'public.b'), object('table', 'public.a')],
    same,
  );
  expect(found).toEqual([
    { kind: 'table', identity: 'public.b', difference: 'extra', properties: [] },
    { kind: 'view', identity: 'public.b', difference: 'missing', properties: [] },
  ]);
});

test('properties are compared one by one; absent and null are the same', () => {
  const found = diffObjects(
    [object('table', 'public.t', { 'column a': 'integer', comment: null, x: '1' })],
    [object('table', 'public.t', { 'column a': 'bigint', 'column b': 'text', x: '1' })],
    same,
  );
  expect(found).toEqual([
    {
      kind: 'table',
      identity: 'public.t',
      difference: 'different',
      properties: [
        { name: 'column a', source: 'integer', target: 'bigint' },
        { name: 'column b', source: null, target: 'text' },
      ],
    },
  ]);
});

test.each([
  [
    'the order of the same columns is told',
    { 'column a': 'x', 'column b': 'x', 'column order': 'a, b' },
    { 'column a': 'x', 'column b': 'x', 'column order': 'b, a' },
    ['column order'],
  ],
  [
    'the order of other columns is not',
    { 'column a': 'x', 'column order': 'a' },
    { 'column a': 'x', 'column b': 'x', 'column order': 'a, b' },
    ['column b'],
  ],
])('%s', (_, source, target, names) => {
  const [found] = diffObjects([object('table', 't', source)], [object('table', 't', target)], same);
  expect(found?.properties.map(({ name }) => name)).toEqual(names);
});

describe('definitions of other server versions', () => {
  const old = ' SELECT t.id,\n    t.name AS "t.name"\n   FROM public.t\n  WHERE (t.id > 0);';
  const bare = ' SELECT id,\n    name AS "t.name"\n   FROM public.t\n  WHERE (id > 0);';
  const across = { source: 15, target: 17 };
  test.each([
    ['a view of one relation without its name', 'view', old, bare, across, true],
    ['the same the other way round', 'view', bare, old, { source: 17, target: 15 }, true],
    ['not between servers of one version', 'view', old, bare, same, false],
    ['not between versions that print alike', 'view', old, bare, { source: 16, target: 17 }, false],
    [
      'by an alias',
      'view',
      'SELECT x.a FROM public.t x WHERE x.a;',
      'SELECT a FROM public.t x WHERE a;',
      across,
      true,
    ],
    ['another column stays another', 'view', 'SELECT t.a FROM t;', 'SELECT b FROM t;', across, false],
    [
      'in a join a name says which side is meant',
      'view',
      'SELECT a.x FROM a JOIN b ON true;',
      'SELECT b.x FROM a JOIN b ON true;',
      across,
      false,
    ],
    ['in a list of relations too', 'view', 'SELECT a.x FROM a, b;', 'SELECT x FROM a, b;', across, false],
    ['white space', 'index', 'x  (a)', 'x(a)', across, true],
    [
      'white space in a literal counts',
      'constraint',
      `CHECK (a = 'x  y')`,
      `CHECK (a = 'x y')`,
      across,
      false,
    ],
  ] as const)('%s', (_, kind, source, target, majors, equal) => {
    expect(sameText(kind, source, target, majors)).toBe(equal);
  });
});

const comparison: SchemaComparison = {
  database: 'shop',
  counts: [{ kind: 'table', source: 2, target: 1 }],
  differences: [
    { kind: 'table', identity: 'public.gone', difference: 'missing', properties: [] },
    {
      kind: 'table',
      identity: 'public.t',
      difference: 'different',
      properties: [{ name: 'column a', source: 'integer', target: null }],
    },
    {
      kind: 'function',
      identity: 'public.f()',
      difference: 'different',
      properties: [{ name: 'definition', source: 'begin\n one\nend', target: 'begin\n two\nend' }],
    },
    { kind: 'trigger', identity: 'public.t: own', difference: 'extra', properties: [] },
  ],
};

describe('MAINTAIN, where one server is older than 17', () => {
  const rights = ['DELETE', 'INSERT', 'REFERENCES', 'SELECT', 'TRIGGER', 'TRUNCATE', 'UPDATE'];
  const all = (role: string, option = '') => rights.map((right) => `${role}=${right}${option}`).join(', ');
  const up = { source: 16, target: 17 };
  test.each([
    [
      'of whoever has all',
      `${all('app')}, public=SELECT`,
      `${all('app')}, app=MAINTAIN, public=SELECT`,
      true,
    ],
    ['with the option to grant', all('app', '*'), `${all('app', '*')}, app=MAINTAIN*`, true],
    ['with an option that the others lack', all('app'), `${all('app')}, app=MAINTAIN*`, false],
    ['of another role', all('app'), `${all('app')}, other=MAINTAIN`, false],
    ['alone', '', 'app=MAINTAIN', false],
    ['of whoever has less', 'app=SELECT', 'app=MAINTAIN, app=SELECT', false],
    ['of all but for another right', all('app'), `${all('app')}, app=MAINTAIN, public=SELECT`, false],
    ['taken from the owner', 'not owner=DELETE', 'not owner=DELETE, not owner=MAINTAIN', false],
  ])('%s', (_, older, newer, equal) => {
    expect(sameRights(older, newer, up)).toBe(equal);
    expect(sameRights(newer, older, { source: 18, target: 14 })).toBe(equal);
    expect(sameRights(older, newer, { source: 17, target: 18 })).toBe(false);
  });
});

test('the text is grouped by object, the source above the target, of long definitions the lines that differ', () => {
  expect(schemaText(comparison)).toBe(
    `table public.gone: missing on the target
table public.t: different
    column a
        source: integer
        target: (none)
function public.f(): different
    definition (- source, + target)
        -  one
        +  two
trigger public.t: own: on the target only
`,
  );
});

test('the JSON holds what the text says', () => {
  expect(JSON.parse(schemaJson(comparison))).toEqual({
    database: 'shop',
    objects: comparison.counts,
    differences: comparison.differences,
  });
});

test('a difference ends with exit status 21 and names the objects', () => {
  const failure = schemasDiffer(comparison);
  expect(failure?.policy.exit).toBe(21);
  expect(failure?.message).toContain('differ in 4 objects');
  expect(failure?.message).toContain('function public.f() differs in definition');
  expect(schemasDiffer({ ...comparison, differences: [] })).toBeNull();
  expect(comparison.differences.map(schemaSentence)).toContain('trigger public.t: own is on the target only');
});
