/** The metrics are what the documentation says, and the dashboard asks for nothing else. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { judgeHealth } from '../../src/monitor/look.js';
import { metrics, metricsText } from '../../src/monitor/metrics.js';
import type { RunStatus } from '../../src/monitor/status.js';
import { repository } from '../support/build.js';
import { bareStatus, followingStatus } from './statuses.js';

const names = metrics.map(({ name }) => name);

/** `name{labels} value` lines. */
function parse(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const match = /^([a-z_]+(?:\{[a-z]+="[a-z-]+"\})?) (-?[\d.e+]+)$/.exec(line);
      if (match === null) throw new Error(`not a sample: ${line}`);
      return [match[1] ?? '', Number(match[2])];
    }),
  );
}

test('the table of docs/monitoring.md has every metric with its meaning, and no other', () => {
  const text = readFileSync(join(repository, 'docs/monitoring.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(walferry_\w+)` \|[^|]*\| (.*) \|$/gm)].map((row) => [row[1], row[2]]);
  expect(rows).toEqual(metrics.map(({ name, help }) => [name, help]));
});

test('the dashboard asks for metrics that are served, and for nothing else', () => {
  const text = readFileSync(join(repository, 'docs/grafana-dashboard.json'), 'utf8');
  type Dashboard = {
    readonly panels: readonly { readonly id: number; readonly targets: readonly { expr: string }[] }[];
  };
  const { panels } = JSON.parse(text) as Dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const asked = panels.flatMap(({ targets }) =>
    targets.flatMap(({ expr }) => expr.match(/walferry_\w+/g) ?? []),
  );
  expect(asked.length).toBeGreaterThan(15);
  expect(asked.filter((name) => !names.includes(name))).toEqual([]);
});

test('a run that follows serves every metric of a stream, with plain numbers', () => {
  const samples = parse(metricsText(followingStatus));
  expect(samples.get('walferry_up')).toBe(1);
  expect(samples.get('walferry_state{state="following"}')).toBe(1);
  expect(samples.get('walferry_state{state="copying"}')).toBe(0);
  expect(samples.get('walferry_lag_seconds{position="applied"}')).toBe(0.4);
  expect(samples.get('walferry_lag_bytes{position="written"}')).toBe(0);
  expect(samples.get('walferry_source_position_bytes')).toBe(0x1_0000_2000);
  expect(samples.get('walferry_slot_danger')).toBe(0);
  expect(samples.get('walferry_catch_up_seconds_left')).toBe(0);
  expect(samples.get('walferry_copy_tables_done')).toBe(3);
  const served = new Set([...samples.keys()].map((key) => key.replace(/\{.*/, '')));
  const absent = names.filter((name) => !served.has(name));
  // No end position is set, and the room of the slot does not shrink.
  expect(absent).toEqual(['walferry_end_position_distance_bytes', 'walferry_slot_seconds_left']);
});

test('what is not known is left out, and not taken for 0', () => {
  const samples = parse(metricsText(bareStatus));
  expect([...samples.keys()].filter((key) => !key.startsWith('walferry_state'))).toEqual([
    'walferry_up',
    'walferry_warnings',
  ]);
  expect(samples.get('walferry_up')).toBe(0);
});

test.each<[string, Partial<RunStatus>, boolean, string]>([
  ['a run that follows', {}, true, 'following'],
  ['a run that is done', { state: 'done' }, true, 'done'],
  ['a run that failed', { state: 'failed' }, false, 'failed'],
  ['a run that is gone', { state: 'gone' }, false, 'gone'],
  ['no run', { state: 'unknown' }, false, 'unknown'],
  [
    'a run whose slot is lost',
    { slot: { ...(followingStatus.slot as NonNullable<RunStatus['slot']>), verdict: 'lost' } },
    false,
    'slot-lost',
  ],
  [
    'a run whose cutover was killed',
    { cutover: { state: 'running', abandoned: true } },
    false,
    'cutover-abandoned',
  ],
  ['a run beside a cutover', { cutover: { state: 'running', abandoned: false } }, true, 'following'],
])('%s: whether it is healthy', (_name, more, healthy, state) => {
  expect(judgeHealth({ kind: 'seen', value: { ...followingStatus, ...more } })).toEqual({
    healthy,
    state,
  });
});
