/** A change is equal to another one whether its row is packed or not: what `expect` compares are its cells. */
import { expect } from 'vitest';
import { PackedInsert, PackedUpdate } from '../../src/model/packed-row.js';
import { asCells } from './packed.js';

const isPacked = (value: unknown): value is PackedInsert | PackedUpdate =>
  value instanceof PackedInsert || value instanceof PackedUpdate;

/** Whole changes: of a pattern of some properties `expect` takes care. */
const isWhole = (value: unknown) =>
  isPacked(value) ||
  (typeof value === 'object' && value !== null && 'kind' in value && 'relation' in value && 'row' in value);

const cellsOf = (value: unknown) => (isPacked(value) ? asCells(value) : value);

expect.addEqualityTesters([
  function equalChanges(this: { equals: (a: unknown, b: unknown) => boolean }, a: unknown, b: unknown) {
    const isOurs = (isPacked(a) && isWhole(b)) || (isPacked(b) && isWhole(a));
    return isOurs ? this.equals(cellsOf(a), cellsOf(b)) : undefined;
  },
]);
