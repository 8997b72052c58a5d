/**
 * Named places where a test can have the process die as by power loss. WALFERRY_FAILPOINT names one, and after a
 * colon the how-manieth pass through it is the last (1 unless told): `apply.after-commit:3`.
 * In production the variable is not set and a failpoint costs one comparison.
 */

/** Every failpoint, in the order of a change's way. The kill scenarios run through this list. */
export const failpoints = [
  'follow.slot-made',
  'clone.dumped',
  'clone.pre-data',
  'clone.table-copied',
  'clone.table-committed',
  'clone.table-recorded',
  'clone.index-built',
  'clone.large-objects-committed',
  'clone.copied',
  'clone.finalize',
  'receive.batch-received',
  'journal.written',
  'journal.durable',
  'journal.closed',
  'journal.rotated',
  'receive.acknowledged',
  'apply.group-sent',
  'apply.commit-sent',
  'apply.committed',
  'apply.recorded',
  'follow.drained',
  'follow.sequences-set',
  'cutover.frozen',
  'cutover.marked',
  'cutover.endpos-set',
  'cutover.drained',
  'cutover.copied-again',
  'cutover.verified',
  'cutover.finalizing',
  'cutover.finalized',
  'cutover.completed',
  'cutover.open',
  'cutover.after',
  'cutover.taken-back',
  'cutover.unfrozen',
] as const;

export type Failpoint = (typeof failpoints)[number];

const armed = process.env['WALFERRY_FAILPOINT'];
const [armedName, armedPass] = (armed ?? '').split(':');
let passesLeft = Number(armedPass ?? '1');

/** Ends the process with SIGKILL when this failpoint is armed and its pass has come. */
export function failpoint(name: Failpoint): void {
  if (armed === undefined || armedName !== name) return;
  passesLeft -= 1;
  if (passesLeft <= 0) process.kill(process.pid, 'SIGKILL');
}
