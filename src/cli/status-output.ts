/** What `list progress --summary` says of the run and its stream, below the steps of the copy. Pure. */
import { formatAbout, formatBytes, formatSeconds } from '../monitor/page/format.js';
import type { RunStatus } from '../monitor/status.js';

/** Lines for people; empty where no run ever told anything and there is no stream. */
export function statusText(status: RunStatus): string {
  const { stream, slot, state, headline, warnings } = status;
  if (state === 'unknown' && stream === null) return '';
  const lines = [headline, ...warnings.map((warning) => `WARNING: ${warning}`)];
  if (stream !== null) {
    lines.push('', row('position', 'lsn', 'behind', 'seconds'), dashes);
    lines.push(row('source', stream.source ?? '', '', ''));
    for (const name of ['written', 'durable', 'applied'] as const) {
      const position = stream[name];
      if (position === null) continue;
      const { lsn, behindBytes, behindMs } = position;
      const seconds = behindMs === null ? '' : (behindMs / 1000).toFixed(1);
      lines.push(row(name, lsn, behindBytes === null ? '' : formatBytes(behindBytes), seconds));
    }
    if (stream.endpos !== null) lines.push(row('endpos', stream.endpos, '', ''));
    lines.push('', ...rateLines(stream), ...catchUpLines(status));
  }
  if (slot !== null) {
    const room = slot.safeBytes === null ? 'no limit' : `${formatBytes(slot.safeBytes)} left`;
    const soon = slot.secondsLeft === null ? '' : `, lost in ${formatAbout(slot.secondsLeft)} at this pace`;
    lines.push(
      `slot "${slot.name}": ${slot.walStatus ?? 'reserves nothing'}, holds back ` +
        `${formatBytes(slot.retainedBytes)} of WAL, ${room}${soon}`,
    );
  }
  if (status.heardAtMs !== null) {
    lines.push(`as told ${formatSeconds(status.atMs - status.heardAtMs)} ago by process ${status.pid}`);
  }
  return `${lines.join('\n')}\n`;
}

function row(position: string, lsn: string, behind: string, seconds: string): string {
  return `${position.padStart(12)} | ${lsn.padStart(18)} | ${behind.padStart(12)} | ${seconds.padStart(12)}`;
}

const dashes = [12, 18, 12, 12].map((width) => '-'.repeat(width)).join('-+-');

function rateLines({ rates, journalBytes }: NonNullable<RunStatus['stream']>): string[] {
  const parts = [
    ['source writes', rates.source],
    ['received', rates.received],
    ['applied', rates.applied],
  ] as const;
  const known = parts.flatMap(([name, value]) => (value === null ? [] : [`${name} ${formatBytes(value)}/s`]));
  return [
    ...(known.length === 0 ? [] : [`rates: ${known.join(', ')}`]),
    ...(journalBytes === null ? [] : [`transform files: ${formatBytes(journalBytes)}`]),
  ];
}

function catchUpLines({ state, stream }: RunStatus): string[] {
  if (stream === null || (state !== 'catching-up' && state !== 'draining')) return [];
  if (state === 'draining') {
    return stream.toEndSeconds === null ? [] : [`end position in ${formatAbout(stream.toEndSeconds)}`];
  }
  switch (stream.catchUp.kind) {
    case 'shrinking':
      return [`level in ${formatAbout(stream.catchUp.secondsLeft)}`];
    case 'growing':
      return ['does not converge: changes arrive faster than they are applied'];
    case 'level':
    case 'unknown':
      break;
  }
  return [];
}
