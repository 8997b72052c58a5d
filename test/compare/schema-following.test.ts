import { describe, expect, test } from 'vitest';
import { whileFollowing, whileValidating } from '../../src/compare/schema-following.js';
import type { ObjectKind, SchemaObject } from '../../src/compare/schema-objects.js';

function object(
  kind: ObjectKind,
  identity: string,
  properties: SchemaObject['properties'] = {},
): SchemaObject {
  return { kind, classOid: 1, oid: 1, schema: 'public', identity, properties };
}

describe('what waits for the last change', () => {
  test.each<[string, SchemaObject]>([
    ['a trigger', object('trigger', 'public.t: fires')],
    ['a rule', object('rule', 'public.t: rewrites')],
    ['a policy', object('policy', 'public.t: hides')],
    ['an event trigger', object('event trigger', 'watches')],
    [
      'a foreign key',
      object('constraint', 'public.t: k', { definition: 'FOREIGN KEY (a) REFERENCES u(id)' }),
    ],
    [
      'a check that holds for new rows',
      object('constraint', 'public.t: c', { definition: 'CHECK (a > 0) NOT VALID' }),
    ],
  ])('%s is left out', (_what, one) => {
    expect(whileFollowing([one])).toEqual([]);
  });

  test('an index of a materialized view is left out, and one of a table stays', () => {
    const index = (name: string, on: string) =>
      object('index', `public.${name}`, { definition: `CREATE INDEX ${name} ON ${on} USING btree (a)` });
    const left = whileFollowing([
      object('materialized view', 'public.sums'),
      index('of_sums', 'public.sums'),
      index('of_t', 'public.t'),
    ]);
    expect(left.map(({ identity }) => identity)).toEqual(['public.sums', 'public.of_t']);
  });

  test('a column keeps everything but that it is an identity', () => {
    const [table] = whileFollowing([
      object('table', 'public.t', {
        'column a': 'bigint not null generated always as identity statistics 3',
        'column b': 'text',
        'row security': 'enabled',
        'column order': 'a, b',
      }),
    ]);
    expect(table?.properties).toEqual({
      'column a': 'bigint not null statistics 3',
      'column b': 'text',
      'column order': 'a, b',
    });
  });
});

test('a foreign key whose old rows are still checked is the same; any other NOT VALID is not', () => {
  const definitions = ['FOREIGN KEY (a) REFERENCES u(id) NOT VALID', 'CHECK (a > 0) NOT VALID'].map(
    (definition) => object('constraint', 'public.t: k', { definition }),
  );
  expect(whileValidating(definitions).map(({ properties }) => properties['definition'])).toEqual([
    'FOREIGN KEY (a) REFERENCES u(id)',
    'CHECK (a > 0) NOT VALID',
  ]);
});
