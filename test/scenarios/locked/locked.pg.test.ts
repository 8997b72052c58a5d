/** Somebody else holds a lock that the run needs: it stands still, and says who it is. */
import { expect, test } from 'vitest';
import { LockWatch } from '../../../src/follow/lock-watch.js';
import { silentLog } from '../../../src/log.js';
import { connect } from '../../../src/postgres/connect.js';
import { readConninfo } from '../../../src/postgres/connection-string.js';
import { createDatabase } from '../../support/databases.js';
import { cloneFollow, openMigration, run, setEndpos } from '../../support/live-migration.js';
import { until } from '../../support/until.js';

const held = 'begin; lock table item in access exclusive mode';

test('a lock on a table of the source, and one on the target: the run names who has it, and goes on behind it', async () => {
  await using migration = await openMigration({
    schema: 'create table item (id int primary key, v text); insert into item values (1, $$a$$)',
  });
  const { source, target } = migration;
  await using onSource = await source.session();
  await onSource.sql(held);
  await using following = run(migration, cloneFollow(migration));
  const [, sourcePid] = await following.waitForOutput(
    /source: "walferry \w+" waits for a lock on public\.item behind process (\d+) .*; to end it: select pg_catalog\.pg_terminate_backend\(\1\)$/m,
  );
  expect(await onSource.sql('select pg_backend_pid()::text as pid')).toEqual([{ pid: sourcePid }]);
  await onSource.sql('commit');
  await following.waitForOutput(/applying changes from/);

  await using onTarget = await target.session();
  await onTarget.sql(held);
  await source.sql("insert into item values (2, 'b')");
  const [, way] = await following.waitForOutput(
    /target: "walferry apply" waits for a lock on public\.item behind process .*; to end it: (select .*)$/m,
  );
  expect(await target.sql(`${way} as ended`)).toEqual([{ ended: 't' }]);
  await setEndpos(migration);
  const { code, stderr } = await following.exit;
  expect(code, stderr).toBe(0);
  expect(await target.sql('select id, v from item order by id')).toEqual([
    { id: '1', v: 'a' },
    { id: '2', v: 'b' },
  ]);
});

test('commands that look at both sides say who holds a lock that they wait for', async () => {
  await using migration = await openMigration({
    schema: 'create table item (id int primary key, v text)',
    onBoth: true,
  });
  await using onTarget = await migration.target.session();
  await using onSource = await migration.source.session();
  await onTarget.sql(held);
  await onSource.sql(held);
  await using comparing = run(migration, ['compare', 'data']);
  await using checking = run(migration, ['check']);
  await comparing.waitForOutput(/"walferry compare" waits for a lock on public\.item behind/);
  await checking.waitForOutput(/"walferry check" waits for a lock on public\.item behind/);
  await onTarget.sql('commit');
  await onSource.sql('commit');
  expect((await comparing.exit).stderr).toContain('both sides are equal');
  await checking.exit;
});

test('a prepared transaction is named as one; what waits for another session of ours is not told', async () => {
  await using database = await createDatabase('target');
  await database.sqlAsOwner('create table item (id int); create table other (id int)');
  await database.sqlAsOwner(`${held}; prepare transaction 'left_${database.name}'`);
  const target = readConninfo(database.neonUri, {});
  const open = (applicationName: string) => connect(target, { side: 'target', applicationName });
  await using waiter = await open('walferry apply');
  await using first = await open('walferry one');
  await using second = await open('walferry two');
  await first.query('begin');
  await first.query('lock table public.other');
  const said: string[] = [];
  const say = (message: string) => void said.push(message);
  await using _watch = new LockWatch(
    {
      source: null,
      target,
      log: { ...silentLog, warn: say, info: say },
    },
    100,
  );
  const ofOurs = second.query('select from public.other');
  const waiting = waiter.query('select from public.item');
  await until('it is said', () => said.length > 0, { timeoutMs: 20_000 });
  await database.sqlAsOwner(`rollback prepared 'left_${database.name}'`);
  await waiting;
  await until('that it is over is said', () => said.length > 1);
  await first.query('commit');
  await ofOurs;

  expect(said).toEqual([
    'target: "walferry apply" waits for a lock on public.item that a prepared transaction holds. It goes on by itself when that has ended; to end it: commit or roll back what is in pg_prepared_xacts',
    'nothing waits for a lock on the target any more',
  ]);
});
