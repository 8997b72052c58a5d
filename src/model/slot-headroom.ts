/**
 * How long the source will keep the WAL that the slot needs, and what follows from it. Pure.
 * https://www.postgresql.org/docs/current/view-pg-replication-slots.html
 */

/** What the source said of the slot at one moment. */
export type SlotReading = {
  readonly atMs: number;
  /** `reserved`, `extended`, `unreserved`, `lost`; null when the slot is not there or reserves nothing. */
  readonly walStatus: string | null;
  /** WAL that the slot holds back. */
  readonly retainedBytes: number;
  /** WAL that may still be written before the slot is in danger; null without max_slot_wal_keep_size. */
  readonly safeBytes: number | null;
};

export type SlotVerdict =
  /** The source keeps whatever the slot needs: what may run out is its disk. */
  | { readonly kind: 'unlimited' }
  /** There is room, and no sign that it runs out soon. `secondsLeft` is null while the room does not shrink. */
  | { readonly kind: 'safe'; readonly secondsLeft: number | null }
  /** The room runs out soon: time to warn, and to leave the source and this machine to the stream. */
  | { readonly kind: 'danger'; readonly secondsLeft: number | null }
  /** The source has removed what the slot needed. */
  | { readonly kind: 'lost' };

/** The forecast is made from readings of this long; shorter bursts are no trend. */
export const slotWindowMs = 120_000;

/** As soon as the slot would be lost within this time, it is said, and the copy brakes. */
export const dangerSeconds = 1800;

/** Whatever the trend: with less than this share of the limit left, one burst is enough. */
const dangerShare = 0.15;

/** Judges the slot by its readings, the oldest first; null before there is one. */
export function judgeSlot(readings: readonly SlotReading[]): SlotVerdict | null {
  const last = readings.at(-1);
  if (last === undefined) return null;
  if (last.walStatus === 'lost') return { kind: 'lost' };
  // Behind the limit already: the next checkpoint takes it away.
  if (last.walStatus === 'unreserved') return { kind: 'danger', secondsLeft: 0 };
  if (last.safeBytes === null) return { kind: 'unlimited' };
  const secondsLeft = forecast(readings);
  const limit = last.safeBytes + last.retainedBytes;
  const little = limit > 0 && last.safeBytes < limit * dangerShare;
  if (little || (secondsLeft !== null && secondsLeft < dangerSeconds)) return { kind: 'danger', secondsLeft };
  return { kind: 'safe', secondsLeft };
}

/** Seconds until the room is gone at the pace of the last minutes; null when it does not shrink. */
function forecast(readings: readonly SlotReading[]): number | null {
  const last = readings.at(-1);
  const first = readings.find(
    ({ atMs, safeBytes }) => safeBytes !== null && last !== undefined && last.atMs - atMs <= slotWindowMs,
  );
  if (last === undefined || first === undefined || first === last) return null;
  const seconds = (last.atMs - first.atMs) / 1000;
  const lostPerSecond = ((first.safeBytes ?? 0) - (last.safeBytes ?? 0)) / seconds;
  return seconds > 0 && lostPerSecond > 0 ? Math.max(0, last.safeBytes ?? 0) / lostPerSecond : null;
}
