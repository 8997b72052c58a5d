import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonOf } from '../../src/clone/schema-file.js';

test('the schema file in pieces is the text that JSON.stringify makes of it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      expect([...jsonOf(value)].join('')).toBe(JSON.stringify(value));
    }),
  );
});

test('what is not there is left out, and a large list is many pieces', () => {
  const data = { none: undefined, deep: { deeper: { list: [{ a: undefined, b: 1 }], none: undefined } } };
  expect([...jsonOf(data)].join('')).toBe(JSON.stringify(data));
  const lists = { schema: { tables: Array.from({ length: 1000 }, (_, oid) => ({ oid })) } };
  expect([...jsonOf(lists)].every((piece) => piece.length < 20)).toBe(true);
});
