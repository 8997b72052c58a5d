import { describe, expect, test } from 'vitest';
import { WorkQueue } from '../../src/clone/work-queue.js';

describe('the queue of work', () => {
  test('gives what came first, unless told what weighs most', async () => {
    const queue = new WorkQueue<number>();
    for (const piece of [2, 3, 1]) queue.push(piece);
    queue.close();
    expect([await queue.next(), await queue.next(), await queue.next(), await queue.next()]).toEqual([
      2,
      3,
      1,
      null,
    ]);
  });

  test('gives the heaviest piece first, and of equals the one that came first', async () => {
    const queue = new WorkQueue<string>((piece) => piece.length);
    for (const piece of ['bb', 'a', 'cc', 'ddd', 'e']) queue.push(piece);
    queue.close();
    const order: (string | null)[] = [];
    for (let piece = await queue.next(); piece !== null; piece = await queue.next()) order.push(piece);
    expect(order).toEqual(['ddd', 'bb', 'cc', 'a', 'e']);
  });

  test('hands a piece to who waits for one, and nothing once it is closed', async () => {
    const queue = new WorkQueue<string>();
    const waiting = [queue.next(), queue.next()];
    queue.push('one');
    queue.close();
    expect(await Promise.all(waiting)).toEqual(['one', null]);
  });

  test('lets who does not wait choose among what is there', async () => {
    const queue = new WorkQueue<number>();
    for (const piece of [1, 2, 3]) queue.push(piece);
    expect(queue.take((piece) => piece > 1)).toBe(2);
    expect(queue.take((piece) => piece > 3)).toBe(null);
    expect([await queue.next(), await queue.next()]).toEqual([1, 3]);
  });
});
