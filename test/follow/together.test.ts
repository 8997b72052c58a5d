import { describe, expect, test } from 'vitest';
import { pause, together } from '../../src/follow/together.js';

const never = new AbortController().signal;

describe('jobs that run together', () => {
  test('are all waited for, and the first failure is told', async () => {
    const ended: string[] = [];
    const slow = async (signal: AbortSignal) => {
      await pause(10_000, signal).catch(() => {});
      ended.push('slow');
      throw new Error('stopped because the other failed');
    };
    const failing = async () => {
      await pause(1, never);
      ended.push('failing');
      throw new Error('the cause');
    };
    await expect(together(never, [slow, failing])).rejects.toThrow('the cause');
    expect(ended).toEqual(['failing', 'slow']);
  });

  test('are stopped by the outer signal, also when it was set before', async () => {
    const stopped = AbortSignal.abort(new Error('asked'));
    await expect(together(stopped, [(signal) => pause(10_000, signal)])).rejects.toThrow('asked');
  });

  test('that succeed leave the others alone', async () => {
    let other = false;
    const last = async (signal: AbortSignal) => {
      await pause(20, signal);
      other = true;
    };
    await together(never, [async () => {}, last]);
    expect(other).toBe(true);
  });
});
