import fc from 'fast-check';
import { expect, test } from 'vitest';
import { copyText } from '../../src/postgres/copy-rows.js';

// About where a text goes another way: as one that is copied by the engine, and as one of a piece's size, escaped or not.
const length = fc.oneof(
  fc.nat({ max: 60_000 }),
  ...[128, 16 * 1024, 32 * 1024].map((edge) => fc.integer({ min: edge - 3, max: edge + 3 })),
);

// Texts of a piece's size are few: a table has one or two of them, and would be megabytes of them otherwise.
const cell = fc.oneof(
  { weight: 5, arbitrary: fc.constant(null) },
  { weight: 5, arbitrary: fc.string({ unit: 'binary', maxLength: 300 }) },
  {
    weight: 5,
    arbitrary: fc.constantFrom(
      '',
      '\\',
      '\\.',
      '\\N',
      '\t',
      '\n',
      '\r',
      'é',
      '\u{1f600}',
      '\u007f',
      '\u0001',
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(length, fc.constantFrom('x', '€', '\t', '\\')).map(([n, text]) => text.repeat(n)),
  },
);

/** As the documentation of COPY has it, one character after the other. */
function written(text: string | null): string {
  if (text === null) return '\\N';
  const names: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
  return Array.from(text, (character) => names[character] ?? character).join('');
}

test('any rows are written as COPY reads them', () => {
  const table = fc
    .integer({ min: 1, max: 4 })
    .chain((columns) =>
      fc.array(fc.array(cell, { minLength: columns, maxLength: columns }), { maxLength: 20 }),
    );
  fc.assert(
    fc.property(table, (rows) => {
      const columns = rows[0]?.length ?? 1;
      const pieces: Buffer[] = [];
      for (const piece of copyText({
        count: rows.length,
        columns,
        cellOf: (row, column) => rows[row]?.[column] ?? null,
      })) {
        pieces.push(Buffer.from(piece));
      }
      const expected = rows.map((row) => `${row.map(written).join('\t')}\n`).join('');
      expect(Buffer.concat(pieces).toString('utf8')).toBe(Buffer.from(expected).toString('utf8'));
    }),
    { numRuns: 300 },
  );
});

test('a piece ends soon after 32 KiB', () => {
  const sizes = [...copyText({ count: 10_000, columns: 2, cellOf: (row) => `row ${row}` })].map(
    (piece) => piece.length,
  );
  expect(Math.max(...sizes)).toBeLessThan(33 * 1024);
  expect(Math.min(...sizes.slice(0, -1))).toBeGreaterThanOrEqual(32 * 1024);
});
