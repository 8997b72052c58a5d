import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { closeCatalog, openCatalog } from '../../src/catalog/database.js';
import { planTasks, TaskRecorder } from '../../src/catalog/tasks.js';
import { loadCloneStanding } from '../../src/monitor/clone-progress.js';

test('a table in parts counts as one, and is done with its last part', () => {
  const directory = mkdtempSync(join(tmpdir(), 'walferry-progress-'));
  const catalog = openCatalog(directory);
  try {
    const big = { oid: 1, schema: 'public', name: 'big', bytes: 1000, estimatedRows: 10 };
    const small = { oid: 2, schema: 'public', name: 'small', bytes: 50, estimatedRows: 1 };
    const copy = (name: string, relationOid: number) =>
      ({ name, kind: 'copy', relationOid, object: name }) as const;
    planTasks(
      catalog,
      [big, small],
      [copy('part 1', 1), copy('part 2', 1), copy('small', 2), { ...copy('index', 1), kind: 'index' }],
    );
    const recorder = new TaskRecorder(catalog);
    recorder.started('part 1');
    recorder.done('part 1', { durationMs: 5, bytes: 400, rows: 4 });
    recorder.started('part 2');
    recorder.moved('part 2', 100);
    recorder.started('small');
    recorder.done('small', { durationMs: 5, bytes: 40, rows: 1 });
    recorder.flush();

    const { tables, indexes, bytes } = loadCloneStanding(catalog);
    expect([tables.total, tables.done, tables.inProgress.map((task) => task.bytes)]).toEqual([2, 1, [100]]);
    expect([indexes.total, indexes.done, indexes.inProgress.length]).toEqual([1, 0, 0]);
    expect(bytes).toEqual({ total: 1050, done: 440, inProgress: 100 });
  } finally {
    closeCatalog(catalog);
    rmSync(directory, { recursive: true, force: true });
  }
});
