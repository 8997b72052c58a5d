/**
 * `walferry cutover` beside `walferry clone --follow`, as two people at two terminals would run them, while an
 * application writes.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { planCutover } from '../../../src/cutover/plan.js';
import { silentLog } from '../../../src/log.js';
import { readStatus } from '../../../src/monitor/status.js';
import { readConninfo } from '../../../src/postgres/connection-string.js';
import { startServer } from '../../support/clusters.js';
import { createDatabase } from '../../support/databases.js';
import { expectEqual } from '../../support/equal.js';
import { openMigration, run, runToEnd, succeed, uris } from '../../support/live-migration.js';
import { until } from '../../support/until.js';
import { anyLag, cutover, expectFollows, followed, shopSchema, startShop } from './shop.js';

// No stream tells of what is written to it.
const sessions = 'create unlogged table session (id int primary key); insert into session values (1);';

describe('a cutover under load', () => {
  test('stops the writers, ends equal, and says how long the pause was', async () => {
    await using migration = await openMigration({ schema: `${shopSchema}${sessions}` });
    await using following = await followed(migration);
    await using shop = await startShop(migration.source);
    await shop.written(50);
    await migration.source.sql('insert into session values (2)');

    // When the writers are switched over in the middle of their work,
    const { exit, report } = await cutover(migration, '--sequence-headroom', '1000');

    // then the cutover is complete, and the run that followed ends by itself,
    expect(exit.code, exit.stderr).toBe(0);
    const ended = await following.exit;
    expect(ended.code, ended.stderr).toBe(0);
    expect(report).toMatchObject({ state: 'done', freeze: 'read-only', verify: 'full', source_frozen: true });
    expect(report.pause_ms).toBeGreaterThan(0);
    // the writers, who come back, are refused,
    await shop.refused();
    const { committed, refusals } = await shop.stop();
    expect(committed).toBeGreaterThanOrEqual(50);
    expect(refusals).toContain('25006');
    // what was written to an unlogged table since its copy is not there, which is said, and stops nobody,
    expect(report.steps.find(({ step }) => step === 'verify')?.detail).toMatch(
      /^full: 2 tables, \d+ rows; not compared, because unlogged: public\.session$/,
    );
    expect(await migration.target.sql('select id from session')).toEqual([{ id: '1' }]);
    await migration.target.sql('insert into session values (2)');
    // privileges and triggers came in one transaction, not one by one,
    const lists = await readdir(join(migration.directory, 'schema'));
    expect(lists).toContain('finalize-together.list');
    expect(lists).not.toContain('finalize.list');
    // both sides are equal, with everything else that was ever committed,
    await expectEqual(migration.source, migration.target);
    const [count] = await migration.target.sql('select count(*)::text as count from sale');
    expect(Number(count?.['count'])).toBe(committed);
    // and the target takes writes: keys are there, and a sequence is ahead of what the source gave out.
    const [fresh] = await migration.target.sql(
      `insert into sale (item, amount) values (1, 1) returning id::text as id`,
    );
    const [last] = await migration.source.sql('select last_value::text as last from sale_id_seq');
    expect(Number(fresh?.['id'])).toBeGreaterThanOrEqual(Number(last?.['last']) + 1000);
    await expect(migration.target.sql(`insert into sale (item, amount) values (-1, 1)`)).rejects.toThrow(
      /foreign key/,
    );
  });

  test('with --verify touched, what was proven before the pause is not read again in it', async () => {
    await using migration = await openMigration({ schema: `${shopSchema}${sessions}` });
    await using following = await followed(migration);
    await using shop = await startShop(migration.source);
    await shop.written(50);
    await migration.source.sql('insert into session values (2)');

    const { exit, report } = await cutover(migration, '--verify', 'touched');
    expect(exit.code, exit.stderr).toBe(0);
    const detail = (name: string) => report.steps.find(({ step }) => step === name)?.detail;
    expect(detail('prove')).toBe('2 tables compared');
    // The items were not written since, the sales were.
    expect(detail('verify')).toMatch(
      /^touched: 1 tables not written since they were proven, .*; not compared, because unlogged: public\.session$/,
    );
    expect((await following.exit).code).toBe(0);
    await shop.stop();
  });

  test('done once, it is not done again, and not undone either', async () => {
    await using migration = await openMigration({ schema: shopSchema });
    await using following = await followed(migration);
    await cutover(migration);
    await following.exit;

    const again = await runToEnd(migration, ['cutover', ...anyLag, '--resume']);
    expect(again.code, again.stderr).toBe(0);
    expect(again.stderr).toContain('the cutover is complete');
    const back = await runToEnd(migration, ['cutover', ...anyLag, '--abort']);
    expect(back.code).toBe(12);
    expect(back.stderr).toContain('may have written to the target');
    // The way back by hand works in the very database that is frozen, as a whole and line by line.
    const { source } = migration;
    const byHand = await readFile(join(migration.directory, 'unfreeze.sql'), 'utf8');
    const frozen = `begin read write; alter database ${source.name} set default_transaction_read_only = on; commit`;
    for (const statements of [[byHand], byHand.split(/(?<=;)\n/)]) {
      await source.sql(frozen);
      {
        await using session = await source.session('owner');
        for (const statement of statements) await session.sql(statement);
      }
      await using fresh = await source.session('owner');
      await fresh.sql('insert into sale (item, amount) values (1, 1)');
    }
    await source.sql(frozen);
    // Whoever asks once more is told that it is done, not how to follow on into a target that is open.
    const dry = await runToEnd(migration, ['cutover', ...anyLag, '--dry-run']);
    expect([dry.code, dry.stdout.trim()]).toEqual([0, 'note   the cutover is complete']);
    // The source is still frozen, and cleaning up after the migration works all the same.
    await succeed(migration, ['stream', 'cleanup']);
    const slots = await migration.source.sql(
      `select slot_name from pg_replication_slots where database = current_database()`,
    );
    expect(slots).toEqual([]);
  });

  test('a dry run changes nothing', async () => {
    await using migration = await openMigration({ schema: shopSchema });
    await using _following = await followed(migration);
    const { source } = migration;
    const before = await source.sql(
      'select setconfig::text from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where datname = current_database()',
    );

    const plan = await runToEnd(migration, ['cutover', ...anyLag, '--dry-run', '--json']);
    expect(plan.code, plan.stderr).toBe(0);
    const printed = JSON.parse(plan.stdout) as { expected_pause_ms: number; steps: { step: string }[] };
    expect(printed.expected_pause_ms).toBeGreaterThan(0);
    expect(printed.steps.map(({ step }) => step)).toEqual([
      'freeze',
      'drain',
      'verify',
      'sequences',
      'finalize',
    ]);
    expect((await runToEnd(migration, ['cutover', ...anyLag, '--dry-run'])).stdout).toContain('write pause');

    expect(
      await source.sql(
        'select setconfig::text from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where datname = current_database()',
      ),
    ).toEqual(before);
    const abort = await runToEnd(migration, ['cutover', ...anyLag, '--abort']);
    expect(abort.stderr).toContain('there is no cutover to be undone');
    // The sentinel has no end position: the stream goes on.
    const sentinel = await runToEnd(migration, ['stream', 'sentinel', 'get', '--endpos']);
    expect(sentinel.stdout.trim()).toBe('0/0');
  });

  test('what was written since the run has told how far it is counts', async () => {
    await using server = await startServer('source');
    await using migration = await openMigration({ schema: shopSchema, sourceServer: server });
    await using following = await followed(migration);
    await expectFollows(migration);
    const told = () => readStatus(migration.directory).stream?.applied?.behindBytes;
    await until('it has told that it is level', () => told() === 0);
    // Given a run that stands still, and says nothing of what is written from now on,
    following.kill('SIGSTOP');
    await migration.source.sql(`select pg_logical_emit_message(false, 'test', repeat('x', 20000000))`);
    const { PGCOPYDB_SOURCE_PGURI: source, PGCOPYDB_TARGET_PGURI: target } = uris(migration);
    const plan = await planCutover({
      source: readConninfo(source, {}),
      target: readConninfo(target, {}),
      directory: migration.directory,
      journalDirectory: join(migration.directory, 'cdc'),
      choices: {
        freeze: null,
        verify: 'none',
        maxPauseMs: null,
        maxLagBytes: null,
        sequenceHeadroom: null,
        acceptMissing: null,
        copyAgain: null,
      },
      jobs: 1,
      log: silentLog,
      signal: new AbortController().signal,
    });
    following.kill('SIGCONT');
    expect(plan.checks.filter(({ level }) => level === 'block').map(({ text }) => text)).toEqual([
      expect.stringMatching(/^the target is \d{8} bytes of WAL behind/),
    ]);
  });

  test('what another database of the server writes is no lag of the stream', async () => {
    // On a server of its own: what other tests write is read past later than it is written, and may be more than that.
    await using sourceServer = await startServer('source');
    await using migration = await openMigration({ schema: shopSchema, sourceServer });
    await using other = await createDatabase('source', { server: sourceServer });
    await using following = await followed(migration);
    await other.sql(
      'create table filler as select repeat(md5(i::text), 8) as t from generate_series(1, 40000) i',
    );
    // A dry run goes by what the run in the other terminal tells, which has read past it.
    await until('the run tells that it is level', () => {
      const { stream } = readStatus(migration.directory);
      return (stream?.applied?.behindBytes ?? Infinity) < 4_000_000;
    });
    const plan = await runToEnd(migration, ['cutover', '--max-lag', '4 MB', '--dry-run']);
    expect(plan.code, plan.stdout).toBe(0);

    const { exit } = await cutover(migration, '--max-lag', '4 MB');
    expect(exit.code, exit.stderr).toBe(0);
    expect((await following.exit).code).toBe(0);
    await expectEqual(migration.source, migration.target);
  });

  test('without a run that follows it is refused, with the line that starts one', async () => {
    await using migration = await openMigration({ schema: shopSchema });
    {
      await using following = await followed(migration);
      following.kill('SIGTERM');
      await following.exit;
    }
    const exit = await runToEnd(migration, ['cutover', ...anyLag]);
    expect(exit.code).toBe(12);
    expect(exit.stderr).toContain('walferry clone --follow --resume');
    await migration.source.sql('insert into sale (item, amount) values (1, 1)');
  });

  test('beside `follow` it completes the target itself', async () => {
    await using migration = await openMigration({ schema: shopSchema, onBoth: true });
    await migration.target.sqlAsOwner('truncate sale, item restart identity');
    await migration.target.sql('delete from item');
    const { source } = migration;
    await source.sql('truncate sale, item restart identity cascade');
    await using following = run(migration, ['follow', '--slot-name', `slot_${source.name}`]);
    await following.waitForOutput(/Waiting until the sentinel apply is enabled/);
    await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
    await source.sql(`insert into item select i, 'item ' || i from generate_series(1, 10) i`);
    await source.sql('insert into sale (item, amount) values (3, 4)');
    await following.waitForOutput(/applying changes from/);

    const { exit, report } = await cutover(migration);
    expect(exit.code, exit.stderr).toBe(0);
    expect(report.state).toBe('done');
    expect((await following.exit).code).toBe(0);
    await expectEqual(source, migration.target);
    const [fresh] = await migration.target.sql(
      'insert into sale (item, amount) values (1, 1) returning id::text as id',
    );
    expect(fresh?.['id']).toBe('2');
  });
});
