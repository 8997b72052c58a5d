/**
 * Times as `timestamptz_to_str` prints them, in ISO style whatever DateStyle says: `2024-02-28 08:28:35.455195+00`.
 */

const pattern =
  /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/;

/** 2000-01-01 UTC in milliseconds since 1970-01-01. */
const postgresEpochMs = 946_684_800_000;

/** Microseconds since 2000-01-01 UTC; null when the text is no such time. */
export function readServerTime(text: string): bigint | null {
  const match = pattern.exec(text);
  if (match === null) return null;
  const part = (nth: number) => Number(match[nth] ?? '0');
  const date = new Date(0);
  // Date.UTC reads years below 100 as 19xx.
  date.setUTCFullYear(part(1), part(2) - 1, part(3));
  if (date.getUTCMonth() !== part(2) - 1 || date.getUTCDate() !== part(3)) return null;
  if (part(4) > 23 || part(5) > 59 || part(6) > 60) return null;
  const seconds = part(4) * 3600 + part(5) * 60 + part(6);
  const offset = (part(9) * 3600 + part(10) * 60 + part(11)) * (match[8] === '-' ? -1 : 1);
  const milliseconds = date.getTime() - postgresEpochMs + (seconds - offset) * 1000;
  return BigInt(milliseconds) * 1000n + BigInt((match[7] ?? '').padEnd(6, '0'));
}
