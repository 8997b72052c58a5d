import { expect, test } from 'vitest';
import { summaryJson } from '../../src/cli/summary-output.js';

test('summary.json tells steps and tables with what was built for them', () => {
  const table = {
    oid: 16898,
    schema: 'public',
    name: 'b',
    parts: 1,
    copyMs: 1000,
    bytes: 1_250_000,
    rows: 10,
    indexes: 1,
    indexMs: 34,
  };
  const text = summaryJson(
    {
      tables: [table],
      steps: [
        { step: 'Dump Schema', connection: 'source', durationMs: 3775, bytes: 0, concurrency: 1 },
        { step: 'Large Objects (cumulative)', connection: null, durationMs: 0, bytes: 0, concurrency: 0 },
      ],
    },
    (oid) =>
      oid === 16898
        ? {
            indexes: [
              { oid: 7, schema: 'public', name: 'b_pkey', sql: 'CREATE UNIQUE INDEX …', durationMs: 34 },
            ],
            constraints: [
              { oid: 8, schema: 'public', name: 'b_pkey', sql: 'PRIMARY KEY (id)', durationMs: 2 },
            ],
          }
        : { indexes: [], constraints: [] },
    { table: 4, index: 3, restore: 2 },
  );
  expect(JSON.parse(text)).toEqual({
    setup: { 'table-jobs': 4, 'index-jobs': 3 },
    steps: [
      { label: 'Dump Schema', conn: 'source', duration: 3775, duration_pretty: '3s775', concurrency: 1 },
      {
        label: 'Large Objects (cumulative)',
        conn: null,
        duration: 0,
        duration_pretty: '0ms',
        concurrency: 0,
      },
    ],
    tables: [
      {
        oid: 16898,
        schema: 'public',
        name: 'b',
        duration: 1000,
        network: { bytes: 1_250_000, 'bytes-pretty': '1220 kB', 'transmit-rate': '10 MBit/s' },
        index: { count: 1, duration: 34 },
        indexes: [{ oid: 7, schema: 'public', name: 'b_pkey', sql: 'CREATE UNIQUE INDEX …', ms: 34 }],
        constraints: [{ oid: 8, schema: 'public', name: 'b_pkey', sql: 'PRIMARY KEY (id)', ms: 2 }],
      },
    ],
  });
  // Written in pieces, it is laid out as one text.
  expect(text).toBe(`${JSON.stringify(JSON.parse(text), null, 4)}\n`);
});

test('summary.json of many tables, and of none, is laid out as if it were written at once', () => {
  const table = { schema: 'a "b"', parts: 1, copyMs: 1, bytes: 1, rows: 1, indexes: 0, indexMs: 0 };
  for (const count of [0, 1, 3]) {
    const tables = Array.from({ length: count }, (_, oid) => ({ ...table, oid, name: `line\nbreak ${oid}` }));
    const none = () => ({ indexes: [], constraints: [] });
    const text = summaryJson({ tables, steps: [] }, none, { table: 1, index: 1, restore: 1 });
    expect(text).toBe(`${JSON.stringify(JSON.parse(text), null, 4)}\n`);
    expect((JSON.parse(text) as { tables: unknown[] }).tables.length).toBe(count);
  }
});
