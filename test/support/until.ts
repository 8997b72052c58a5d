import { setTimeout } from 'node:timers/promises';

/**
 * Asks again and again until the answer is neither false, null nor undefined, and returns it. For events that only a
 * query can see; `what` names the event in the error after the time is over.
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T | false | null | undefined> | T | false | null | undefined,
  { timeoutMs = 30_000 }: { timeoutMs?: number } = {},
): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== false && answer !== null && answer !== undefined) return answer;
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await setTimeout(20);
  }
}
