import { expect, test } from 'vitest';
import type { DataComparison } from '../../src/compare/comparison.js';
import { comparisonJson, comparisonTable } from '../../src/compare/report.js';

const a = 'a'.repeat(64);
const b = 'b'.repeat(64);

const comparison: DataComparison = {
  database: 'shop',
  tables: [
    {
      schema: 'public',
      name: 'equal',
      source: { rows: 1n, checksum: a },
      target: { rows: 1n, checksum: a },
      difference: null,
    },
    {
      schema: 'public',
      name: 'other',
      source: { rows: 2n, checksum: a },
      target: { rows: 3n, checksum: b },
      difference: { kind: 'rows' },
    },
    { schema: 'public', name: 'lost', source: null, target: null, difference: { kind: 'missing' } },
    {
      schema: 'public',
      name: 'Wide',
      source: null,
      target: null,
      difference: { kind: 'columns', missing: ['a'], extra: [] },
    },
  ],
  onlyOnTarget: [{ schema: 'public', name: 'extra' }],
};

test('the text table has the widths of the peer and marks what differs', () => {
  const lines = comparisonTable(comparison).split('\n');
  const row = (name: string, mark: string, source: string, target: string) =>
    `${name.padStart(30)} | ${mark} | ${source.padStart(64)} | ${target.padStart(64)}`;
  expect(lines).toEqual([
    row('Table Name', '!', 'Source Checksum', 'Target Checksum'),
    `${'-'.repeat(31)}+${'-'.repeat(3)}+${'-'.repeat(66)}+${'-'.repeat(65)}`,
    row('shop.public.equal', ' ', a, a),
    row('shop.public.other', '!', a, b),
    row('shop.public.lost', '!', '(not compared)', '(no such table)'),
    row('shop.public."Wide"', '!', '(not compared)', '(not compared)'),
    row('shop.public.extra', '+', '(no such table)', '(not compared)'),
    '',
    '',
  ]);
});

test('the JSON is the array of the peer, with what differs added', () => {
  expect(JSON.parse(comparisonJson(comparison))).toEqual([
    {
      schema: 'public',
      name: 'equal',
      source: { rowcount: 1, checksum: a },
      target: { rowcount: 1, checksum: a },
      difference: null,
    },
    {
      schema: 'public',
      name: 'other',
      source: { rowcount: 2, checksum: a },
      target: { rowcount: 3, checksum: b },
      difference: 'rows',
    },
    { schema: 'public', name: 'lost', source: null, target: null, difference: 'missing' },
    { schema: 'public', name: 'Wide', source: null, target: null, difference: 'columns' },
    { schema: 'public', name: 'extra', source: null, target: null, difference: 'only-on-target' },
  ]);
});
