/** What `stream sentinel get` prints (reference 10.2, with the correct endpos and with transform_lsn). Pure. */
import { formatLsn } from '../model/lsn.js';
import type { Sentinel } from '../model/progress.js';

/** Our names and the names that are printed, in the order of the lines. */
const labels: readonly (readonly [keyof Sentinel, string])[] = [
  ['startpos', 'startpos'],
  ['endpos', 'endpos'],
  ['apply', 'apply'],
  ['writeLsn', 'write_lsn'],
  ['flushLsn', 'flush_lsn'],
  ['transformLsn', 'transform_lsn'],
  ['replayLsn', 'replay_lsn'],
];

/** One field: an LSN, or `enabled` or `disabled`. */
export function sentinelField(sentinel: Sentinel, field: keyof Sentinel): string {
  const value = sentinel[field];
  if (typeof value === 'boolean') return value ? 'enabled' : 'disabled';
  return formatLsn(value);
}

/** One line per field, the label padded to 15. */
export function sentinelText(sentinel: Sentinel): string {
  return labels.map(([field, label]) => `${label.padEnd(15)} ${sentinelField(sentinel, field)}\n`).join('');
}

/** One object; LSNs are strings with their slash escaped, as the peer's JSON writer has it. */
export function sentinelJson(sentinel: Sentinel): string {
  const object = Object.fromEntries(
    labels.map(([field, label]) => [
      label,
      field === 'apply' ? sentinel.apply : sentinelField(sentinel, field),
    ]),
  );
  return `${JSON.stringify(object, null, 4).replaceAll('/', '\\/')}\n`;
}
