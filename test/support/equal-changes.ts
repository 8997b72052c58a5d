/** A change is equal to another one whether its row is packed or not: what `expect` compares are its cells. */
import { expect } from 'vitest';
import { packedOf } from '../../src/model/packed-row.js';
import type { Insert, Update } from '../../src/model/change.js';
import { asCells } from './packed.js';

const isPacked = (value: unknown): value is Insert | Update =>
  packedOf(value as Insert | Update) !== undefined;

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
