import { expect, test } from 'vitest';
import { closeCatalog, openCatalog } from '../../src/catalog/database.js';
import { forgetTasks, loadRelations, loadTasks, planTasks, TaskRecorder } from '../../src/catalog/tasks.js';
import { addTiming, loadTimings, saveTiming } from '../../src/catalog/timings.js';
import { loadCloneSummary, stepLabels } from '../../src/clone/summary.js';
import { temporaryDirectory } from '../support/directory.js';

const relation = { oid: 7, schema: 'public', name: 't', bytes: 100, estimatedRows: -1 };
const copy = { name: 'copy t', kind: 'copy', relationOid: 7, object: 't' } as const;
const index = { name: 'index i', kind: 'index', relationOid: 7, object: 'i' } as const;

test('a task that is planned again keeps what is known of it', async () => {
  await using directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path);
  planTasks(catalog, [relation], [copy]);
  const recorder = new TaskRecorder(catalog);
  recorder.started(copy.name);
  recorder.moved(copy.name, 40);
  recorder.done(copy.name, { durationMs: 12.6, bytes: 90, rows: 3 });
  recorder.flush();

  planTasks(catalog, [{ ...relation, bytes: 200 }], [copy, index]);

  expect(loadTasks(catalog)).toMatchObject([
    { name: 'copy t', durationMs: 13, bytes: 90, rows: 3, doneAt: expect.any(String) as string },
    { name: 'index i', startedAt: null, doneAt: null },
  ]);
  expect(loadRelations(catalog)).toEqual([{ ...relation, bytes: 200 }]);
  closeCatalog(catalog);
});

test('a task that begins anew is not done, and shows how far it is', async () => {
  await using directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path);
  planTasks(catalog, [relation], [copy]);
  const recorder = new TaskRecorder(catalog);
  recorder.done(copy.name, { durationMs: 1, bytes: 90, rows: 3 });
  recorder.started(copy.name);
  recorder.moved(copy.name, 40);
  recorder.flush();

  expect(loadTasks(catalog)).toMatchObject([{ doneAt: null, bytes: 40, rows: 0 }]);
  closeCatalog(catalog);
});

test('the summary has every step in its order, sums of tasks, and the tables', async () => {
  await using directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path);
  planTasks(catalog, [relation], [copy, index]);
  const recorder = new TaskRecorder(catalog);
  recorder.done(copy.name, { durationMs: 30, bytes: 90, rows: 3 });
  recorder.done(index.name, { durationMs: 5, bytes: 0, rows: 0 });
  recorder.flush();
  const total = {
    step: stepLabels.total,
    connection: 'both',
    durationMs: 100,
    bytes: 0,
    concurrency: 7,
  } as const;
  saveTiming(catalog, total);
  addTiming(catalog, total);

  const summary = loadCloneSummary(catalog, { table: 4, index: 3, restore: 2 });

  expect(summary.steps.map((step) => step.step)).toEqual(Object.values(stepLabels));
  expect(summary.steps.at(-1)).toEqual({ ...total, durationMs: 200 });
  expect(summary.steps.find((step) => step.step === stepLabels.copy)).toMatchObject({
    durationMs: 30,
    bytes: 90,
  });
  expect(summary.tables).toEqual([
    { oid: 7, schema: 'public', name: 't', parts: 1, copyMs: 30, bytes: 90, rows: 3, indexes: 1, indexMs: 5 },
  ]);
  forgetTasks(catalog);
  expect([loadTasks(catalog), loadRelations(catalog), loadTimings(catalog)]).toEqual([[], [], []]);
  closeCatalog(catalog);
});
