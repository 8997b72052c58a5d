import { expect, test } from 'vitest';
import { mayWait, type RunStanding } from '../../src/follow/lock-watch.js';
import type { RunPhase } from '../../src/model/run-phase.js';

function at(kind: RunPhase['kind'], lsn: string | null = null, behindBytes: number | null = 0): RunStanding {
  const phase = (kind === 'copy' ? { kind, step: 'copy' } : { kind }) as RunPhase;
  return { phase, applied: lsn === null ? null : { lsn, behindBytes, behindMs: null } };
}

test.each<[string, RunStanding | null, RunStanding, { source: boolean; target: boolean }]>([
  ['setting up', null, at('setup'), { source: true, target: true }],
  ['rows are copied', at('setup'), at('copy', '0/1', 5), { source: true, target: true }],
  ['changes are only received', at('receive'), at('receive'), { source: false, target: false }],
  ['level', at('apply', '0/1'), at('apply', '0/1'), { source: false, target: false }],
  ['behind, and moving', at('apply', '0/1', 9), at('apply', '0/2', 9), { source: false, target: false }],
  ['behind, and still', at('apply', '0/1', 9), at('apply', '0/1', 9), { source: false, target: true }],
  [
    'how far is not known',
    at('apply', '0/1', null),
    at('apply', '0/1', null),
    { source: false, target: true },
  ],
  ['nothing is applied yet', at('copy'), at('apply'), { source: false, target: false }],
  ['completing the target', at('apply', '0/1'), at('finalize', '0/1'), { source: true, target: true }],
])('%s: where a lock may be waited for', (_, before, now, expected) => {
  expect({ source: mayWait('source', now, before), target: mayWait('target', now, before) }).toEqual(
    expected,
  );
});
