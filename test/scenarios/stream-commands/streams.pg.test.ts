/** The jobs of a stream, one command each, and the sentinel between them. */
import { expect, test } from 'vitest';
import { readLsn } from '../../../src/model/lsn.js';
import { insertPosition } from '../../support/commits.js';
import type { TestDatabase } from '../../support/databases.js';
import { contents, expectEqual } from '../../support/equal.js';
import {
  appliedPosition,
  follow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  slotOf,
  streamOptions,
  succeed,
  type Migration,
} from '../../support/live-migration.js';
import { until } from '../../support/until.js';

const schema = 'create table item (id int primary key, body text)';

async function insert(source: TestDatabase, from: number, to: number): Promise<void> {
  await source.sql(`insert into item select i, 'item ' || i from generate_series(${from}, ${to}) i`);
}

async function rows({ target }: Migration): Promise<number> {
  const [row] = await target.sql('select count(*) as n from item');
  return Number(row?.['n']);
}

async function get(migration: Migration, ...fields: string[]): Promise<string> {
  return (await succeed(migration, ['stream', 'sentinel', 'get', ...fields])).stdout;
}

test('set up twice is set up once; receive, catchup, replay and follow each do their part; nothing is left', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  const { source, target } = migration;
  const options = streamOptions(migration);
  const slot = () =>
    source.sql(
      `select slot_name, plugin, catalog_xmin from pg_replication_slots where slot_name = '${slotOf(migration)}'`,
    );

  // Set up, and again: the same slot, the same position.
  await succeed(migration, ['stream', 'setup', ...options]);
  const made = await slot();
  const start = (await get(migration, '--startpos')).trim();
  expect(await appliedPosition(migration)).toBe(start);
  await succeed(migration, ['stream', 'setup', ...options]);
  expect(await slot()).toEqual(made);
  expect(await appliedPosition(migration)).toBe(start);
  const other = await runToEnd(migration, ['stream', 'setup', '--slot-name', 'another_slot']);
  expect(other.code, other.stderr).toBe(1);
  expect(other.stderr).toMatch(/--slot-name was slot_test_\w+ and is now another_slot/);

  // The sentinel of a stream that has not begun.
  const names = ['startpos', 'endpos', 'apply', 'write_lsn', 'flush_lsn', 'transform_lsn', 'replay_lsn'];
  const begun = await get(migration);
  expect(begun.split('\n').map((line) => line.slice(0, 16))).toEqual([
    ...names.map((name) => name.padEnd(16)),
    '',
  ]);
  expect(begun).toContain(`startpos        ${start}\nendpos          0/0\napply           disabled\n`);

  // Received up to an end position, and nothing of it applied.
  await insert(source, 1, 100);
  const current = ['stream', 'sentinel', 'set', 'endpos', '--current'];
  const first = (await succeed(migration, current)).stdout.trim();
  await insert(source, 101, 200);
  await succeed(migration, ['stream', 'receive', ...options]);
  expect(await rows(migration)).toBe(0);
  const received = JSON.parse(await get(migration, '--json')) as Record<string, unknown>;
  expect(Object.keys(received)).toEqual(names);
  expect(received).toMatchObject({ startpos: start, endpos: first, apply: false });
  expect(await get(migration, '--json')).toContain(`"endpos": "${first.replace('/', '\\/')}"`);
  expect(await get(migration, '--endpos')).toBe(`${first}\n`);
  expect(await get(migration, '--apply')).toBe('disabled\n');
  for (const field of ['write-lsn', 'flush-lsn', 'transform-lsn']) {
    expect(await get(migration, `--${field}`), field).toBe(
      `${received[field.replace('-', '_')] as string}\n`,
    );
  }
  const two = await runToEnd(migration, ['stream', 'sentinel', 'get', '--endpos', '--apply']);
  expect([two.code, two.stdout]).toEqual([1, '']);

  // Prefetched again to the same end position: there is nothing left to receive.
  const flushed = await get(migration, '--flush-lsn');
  await succeed(migration, ['stream', 'prefetch', ...options, '--resume']);
  expect(await get(migration, '--flush-lsn')).toBe(flushed);

  // Caught up from the files, once it is allowed.
  await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
  expect(await get(migration, '--apply')).toBe('enabled\n');
  await succeed(migration, ['stream', 'catchup', '--resume']);
  expect(await rows(migration)).toBe(100);
  await succeed(migration, ['stream', 'catchup', '--resume']);
  expect(await rows(migration)).toBe(100);

  // Received and applied in one, to the next end position.
  const second = (await succeed(migration, current)).stdout.trim();
  await insert(source, 201, 300);
  await succeed(migration, ['stream', 'replay', ...options, '--resume']);
  expect(await rows(migration)).toBe(200);
  expect(await get(migration, '--endpos')).toBe(`${second}\n`);

  // Followed with applying switched off: received, not applied, until it is switched on from a second terminal.
  await succeed(migration, ['stream', 'sentinel', 'set', 'endpos', '0/0']);
  await succeed(migration, ['stream', 'sentinel', 'set', 'prefetch']);
  await using following = run(migration, follow(migration, '--resume'));
  await following.waitForOutput(/Waiting until the sentinel apply is enabled/);
  const behind = await insertPosition(source);
  await until('it is received', async () => {
    const [row] = await source.sql(
      `select confirmed_flush_lsn >= '${behind}' as yes from pg_replication_slots where slot_name = '${slotOf(migration)}'`,
    );
    return row?.['yes'] === 't';
  });
  expect(await rows(migration)).toBe(200);
  await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
  await until('it is applied', async () => (await rows(migration)) === 300);
  expect(await get(migration, '--replay-lsn')).not.toBe('0/0\n');

  // A second process may look, and may not follow.
  const kept = await runToEnd(migration, follow(migration, '--resume'));
  expect([kept.code, kept.stderr]).toEqual([1, expect.stringContaining(`(pid ${following.pid})`)]);

  await source.sql('truncate item; insert into item values (1, null)');
  await setEndpos(migration);
  expect((await following.exit).code, following.stderr).toBe(0);
  await expectEqual(source, target);

  // Taken down: slot, publications, and the schema on the target; and once more, which finds nothing and is no error.
  const before = await contents(target);
  for (let time = 1; time <= 2; time++) {
    await succeed(migration, ['stream', 'cleanup', ...options]);
    expect(await slot()).toEqual([]);
    expect(await source.sql('select pubname from pg_publication')).toEqual([]);
    expect(await target.sql(`select nspname from pg_namespace where nspname = 'walferry'`)).toEqual([]);
  }
  expect(await contents(target)).toEqual(before);
  const gone = await runToEnd(migration, ['stream', 'sentinel', 'get']);
  expect([gone.code, gone.stdout]).toEqual([6, '']);

  // And a stream that is set up again begins from nothing.
  await succeed(migration, ['stream', 'setup', ...options]);
  await succeed(migration, ['stream', 'cleanup', ...options]);
});

test('with --ack applied a receiver of its own acknowledges what another process has applied, while both go on', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  const { source } = migration;
  const options = streamOptions(migration);
  await succeed(migration, ['stream', 'setup', ...options]);
  await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
  const isAcknowledged = async (lsn: string) => {
    const [row] = await source.sql(
      `select confirmed_flush_lsn >= '${lsn}' as yes from pg_replication_slots where slot_name = '${slotOf(migration)}'`,
    );
    return row?.['yes'] === 't';
  };
  await using receiving = run(migration, ['stream', 'receive', ...options, '--ack', 'applied']);
  await receiving.waitForOutput(/receiving changes from/);
  for (const nth of [1, 2]) {
    // Given changes that are on disk here, and of which the source knows nothing,
    await insert(source, nth * 10, nth * 10 + 9);
    const written = await insertPosition(source);
    await insert(source, nth * 1000, nth * 1000);
    await until(
      'they are on disk',
      async () => readLsn((await get(migration, '--flush-lsn')).trim()) > readLsn(written),
    );
    expect(await isAcknowledged(written)).toBe(false);

    // when another process applies them, the source may forget them.
    await succeed(migration, ['stream', 'apply']);
    expect(await rows(migration)).toBe(nth * 11);
    await until('the source knows', () => isAcknowledged(written));
  }
});

test('cleanup works by names alone when the work directory is gone', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await using elsewhere = await openMigration({});
  await succeed(migration, ['stream', 'setup', ...streamOptions(migration)]);
  await succeed({ ...migration, directory: elsewhere.directory }, [
    'stream',
    'cleanup',
    ...streamOptions(migration),
  ]);
  expect(await migration.source.sql('select pubname from pg_publication')).toEqual([]);
  expect(
    await migration.source.sql(
      `select slot_name from pg_replication_slots where slot_name = '${slotOf(migration)}'`,
    ),
  ).toEqual([]);
  expect(await migration.target.sql(`select nspname from pg_namespace where nspname = 'walferry'`)).toEqual(
    [],
  );
});
