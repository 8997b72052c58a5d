import { describe, expect, test } from 'vitest';
import { mayCarry, type CarryFacts } from '../../src/clone/carry-statistics.js';
import { sortOrder, type TableStatistics } from '../../src/postgres/table-statistics.js';

const known: TableStatistics = {
  oid: 1,
  estimatedRows: 10_000,
  modified: 0,
  extended: false,
  parent: false,
  lacking: 0,
  collated: true,
  columns: 'id integer',
  json: '[]',
};
const facts: CarryFacts = { rows: 10_000, sortedAlike: true, columns: 'id integer' };

describe('statistics of the source', () => {
  test.each<[string, Partial<TableStatistics>, Partial<CarryFacts>, boolean]>([
    ['are carried over', {}, {}, true],
    ['also when few rows were changed since', { modified: 1050 }, {}, true],
    ['not when many were', { modified: 1051 }, {}, false],
    ['not when nobody knows, as after a crash or on a standby', { modified: null }, {}, false],
    ['also when about as many rows were copied', {}, { rows: 11_100 }, true],
    ['not when many more were copied than it knows of', {}, { rows: 11_200 }, false],
    ['not when many fewer were, as by a filter', {}, { rows: 5000 }, false],
    ['not of a table that was never analyzed', { estimatedRows: -1, lacking: 1 }, { rows: 20 }, false],
    ['not where a column has none', { lacking: 1 }, {}, false],
    ['not of an empty table', { estimatedRows: 0 }, { rows: 0 }, false],
    ['not where statistics objects are to be filled', { extended: true }, {}, false],
    ['not of a parent', { parent: true }, {}, false],
    ['not where text is sorted otherwise', {}, { sortedAlike: false }, false],
    ['where nothing is sorted as text', { collated: false }, { sortedAlike: false }, true],
    ['not into columns of other types', {}, { columns: 'id bigint' }, false],
  ])('%s', (_what, statistics, changes, carried) => {
    expect(mayCarry({ ...known, ...statistics }, { ...facts, ...changes })).toBe(carried);
  });
});

test.each([
  ['c', 'C', 'bytes'],
  ['c', 'POSIX', 'bytes'],
  ['c', 'C.UTF-8', 'bytes'],
  ['c', 'C.utf8', 'bytes'],
  ['b', 'C.UTF-8', 'bytes'],
  ['c', 'en_US.UTF-8', 'c en_us.utf8'],
  ['c', 'en_US.utf8', 'c en_us.utf8'],
  ['i', 'en-US', 'i enus'],
])('a database of provider %s and locale %s sorts by %s', (provider, locale, order) => {
  expect(sortOrder(provider, locale)).toBe(order);
});
