import { expect, test } from 'vitest';
import { SourceRelations } from '../../plugins/source-relations.js';
import type { SourceTable } from '../../src/model/source-table.js';

const followed: SourceTable = {
  oid: 1,
  schema: 'public',
  name: 't',
  identity: 'default',
  columns: [{ name: 'id', typeOid: 23, generated: false, variable: false }],
  key: ['id'],
  included: [],
};

test('names that come and go without end are not remembered without end', () => {
  const tables = {
    followed: [followed],
    now: [followed],
    seen: { xmin: 800n, xmax: 800n, inProgress: new Set<bigint>() },
  };
  const relations = new SourceRelations(tables, { printsUnsent: true, leavesOutOldNulls: true });
  const t = relations.find('public', 't', 700n);
  for (let nth = 0; nth < 30_000; nth += 1) {
    expect(relations.find('public', `staging_${nth}`, 700n)).toMatchObject({ followed: false });
  }
  expect(relations.remembered).toBeLessThanOrEqual(10_001);
  // What was decided of a followed table stays.
  expect(relations.find('public', 't', 700n)).toBe(t);
});
