/**
 * The brake on the copy: while the slot is about to be lost, the source and this machine are left to the stream, and
 * one piece is copied at a time. One is still copied, since the copy must end for the changes to be applied at all; and
 * pieces that are under way are finished, since giving them up would only copy them twice.
 */
import { setTimeout as sleep } from 'node:timers/promises';

const lookEveryMs = 500;

/** Waits while `braked` and somebody else is at work; returns at once when the signal is set. */
export async function restWhileBraked(
  braked: (() => boolean) | undefined,
  othersWork: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  while (braked?.() === true && othersWork() && !signal.aborted) {
    await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
  }
}
