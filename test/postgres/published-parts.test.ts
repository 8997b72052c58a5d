import { describe, expect, test } from 'vitest';
import { judgeParts, type CandidateTable, type CarriedTable } from '../../src/postgres/published-parts.js';

const column = (name: string, more: Partial<CarriedTable['columns'][number]> = {}) => ({
  name,
  generated: false,
  required: false,
  toastable: false,
  ...more,
});

const columns = [
  column('id'),
  column('note', { toastable: true }),
  column('must', { required: true }),
  column('sum', { generated: true }),
];

const table: CarriedTable = {
  oid: 1,
  schema: 'public',
  name: 't',
  columns,
  identity: ['id'],
  carrier: { oid: 1, schema: 'public', name: 't', identity: ['id'] },
  listed: null,
  rowFilter: null,
};

const candidate = (oid: number, name: string, more: Partial<CandidateTable> = {}): CandidateTable => ({
  oid,
  kind: 'table',
  schema: 'public',
  name,
  copied: true,
  ...more,
});

const root = { oid: 9, schema: 'public', name: 'root', identity: ['id'] };
const leaf = { ...table, carrier: root };
const rootTable = candidate(9, 'root', { kind: 'partitioned' });

describe('what a publication carries', () => {
  test.each<[string, Partial<CarriedTable>, unknown]>([
    ['whole, as it is', {}, []],
    ['whole, with a list of every column that can be moved', { listed: ['must', 'note', 'id'] }, []],
    ['a filter', { rowFilter: 'id > 5' }, [{ columns: null, rowFilter: 'id > 5', root: null }]],
    ['a list', { listed: ['must', 'id'] }, [{ columns: ['id', 'must'], rowFilter: null, root: null }]],
  ])('%s', (_claim, changes, parts) => {
    const judged = judgeParts([{ ...table, ...changes }], [candidate(1, 't')]);
    expect([judged.problems, judged.parts]).toMatchObject([[], parts]);
  });

  test('a table that is not copied is nobody`s part, and one that is not carried is missing', () => {
    const judged = judgeParts(
      [{ ...table, listed: ['note'] }],
      [candidate(1, 't', { copied: false }), candidate(2, 'u')],
    );
    expect(judged).toEqual({ parts: [], problems: [], warnings: [], missing: ['public.u'] });
  });

  test('a root stands for its partitions, and its TRUNCATE is warned about', () => {
    const judged = judgeParts([{ ...leaf, rowFilter: 'id > 5' }], [candidate(1, 't'), rootTable]);
    expect(judged.problems).toEqual([]);
    expect(judged.parts).toMatchObject([
      { name: 't', rowFilter: 'id > 5', root: { schema: 'public', name: 'root' } },
      { name: 'root', rowFilter: 'id > 5', root: null },
    ]);
    expect(judged.warnings).toEqual([
      expect.stringContaining('does not send a TRUNCATE of a single partition'),
      expect.stringMatching(/moves a row into the row filter .*: public\.root \("note"\)$/),
    ]);
  });
});

test.each<[string, Partial<CarriedTable>, RegExp]>([
  ['a column that must be there', { listed: ['id', 'note'] }, /leaves out "must", NOT NULL/],
  ['the identity', { listed: ['note', 'must'] }, /leaves out "id" of the replica identity/],
  ['a column under FULL', { listed: ['id', 'must'], identity: 'full' }, /leaves out "note" of the replica/],
  [
    'everything',
    { listed: ['sum'], columns: [column('id'), column('sum', { generated: true })] },
    /holds no column/,
  ],
  ['a root without identity', { carrier: { ...root, identity: [] } }, /has no replica identity/],
  ['a root with another identity', { carrier: { ...root, identity: ['note'] } }, /is another one/],
  ['a root that is FULL alone', { carrier: { ...root, identity: 'full' } }, /is another one/],
])('is refused for %s', (_claim, changes, problem) => {
  const judged = judgeParts([{ ...table, ...changes }], [candidate(1, 't'), rootTable]);
  expect(judged.problems).toContainEqual(expect.stringMatching(problem));
});

test.each([
  [
    'one partition',
    [candidate(1, 't', { copied: false }), candidate(2, 'u'), rootTable],
    /leave out public\.t,/,
  ],
  [
    'the root alone',
    [candidate(1, 't'), candidate(2, 'u'), { ...rootTable, copied: false }],
    /leave out public\.root,/,
  ],
])('is refused where filters leave out %s', (_claim, tables, problem) => {
  const judged = judgeParts([leaf, { ...leaf, oid: 2, name: 'u' }], tables);
  expect(judged.problems).toEqual([expect.stringMatching(problem)]);
});
