/** A source that has died for good: what was received is applied without it, and whoever goes on is told how. */
import { expect, test } from 'vitest';
import { startServer } from '../../support/clusters.js';
import {
  follow,
  openMigration,
  runToEnd,
  setEndpos,
  setupStream,
  streamOptions,
  succeed,
} from '../../support/live-migration.js';

const schema = 'create table item (id int primary key, body text)';

test('what was received is applied without it, up to the end position and as far as it goes without one', async () => {
  await using sourceServer = await startServer('source');
  await using complete = await openMigration({ schema, onBoth: true, sourceServer });
  await using cut = await openMigration({ schema, onBoth: true, sourceServer });
  await using idle = await openMigration({ schema, onBoth: true, sourceServer });
  for (const migration of [complete, cut, idle]) {
    await setupStream(migration);
    await migration.source.sql(`insert into item select n, 'row ' || n from generate_series(1, 500) n`);
    const endpos = await setEndpos(migration);
    await succeed(migration, ['stream', 'receive', ...streamOptions(migration), '--resume']);
    if (migration === idle) await succeed(migration, ['stream', 'catchup']);
    if (migration === cut) await setEndpos(migration, endpos.replace(/^[^/]+/, 'FFFF'));
  }
  await sourceServer.cluster.stop('kill');

  const next = async (migration: typeof complete) => {
    const { code, stderr } = await runToEnd(migration, follow(migration, '--resume'));
    expect(code, stderr).toBe(6);
    return stderr;
  };
  const [ofComplete, ofCut, ofIdle] = await Promise.all([complete, cut, idle].map(next));
  expect(ofComplete).toMatch(
    /Everything up to the end position \S+ is received: `walferry stream catchup` applies it without the source/,
  );
  expect(ofCut).toMatch(
    /What was committed up to \S+ is received, and no end position is reached: `walferry stream catchup`/,
  );
  expect(ofIdle).not.toContain('stream catchup');

  for (const migration of [complete, cut]) {
    await succeed(migration, ['stream', 'catchup']);
    expect(await migration.target.sql('select count(*) as n, max(body) as body from item')).toEqual([
      { n: '500', body: 'row 99' },
    ]);
  }
  // For the databases on it to be dropped.
  await sourceServer.cluster.start();
});
