/**
 * `--restart` and `stream cleanup` on the wrong server, in the wrong directory, or of a run that could not begin: what
 * is somebody else's stays, and so does the run that was there.
 */
import { expect, test } from 'vitest';
import { startServer } from '../../support/clusters.js';
import type { TestDatabase } from '../../support/databases.js';
import { contents } from '../../support/equal.js';
import {
  cloneFollow,
  follow,
  openMigration,
  runToEnd,
  setEndpos,
  setupStream,
  slotOf,
  streamOptions,
  succeed,
  type Migration,
} from '../../support/live-migration.js';

const schema = `create table item (id int primary key, body text); insert into item values (1, 'one');
  create table other (id int primary key)`;

/** Slot and publications of a name, as a server has them. */
async function made(source: TestDatabase, name: string): Promise<string[]> {
  const rows = await source.sql(
    `select 'slot ' || slot_name as name from pg_replication_slots where slot_name = '${name}'
     union all select 'publication ' || pubname from pg_publication where pubname = '${name}' order by 1`,
  );
  return rows.map((row) => row['name'] ?? '');
}

const both = (name: string) => [`publication ${name}`, `slot ${name}`];

async function identifierOf({ source }: Migration): Promise<string> {
  const [row] = await source.sql('select system_identifier::text as id from pg_control_system()');
  return row?.['id'] ?? '';
}

test('the stream in the directory was made on another server: neither --restart nor cleanup drops anything on either', async () => {
  await using server = await startServer('source');
  await using first = await openMigration({ schema, onBoth: true });
  await using second = await openMigration({ schema, onBoth: true, sourceServer: server });
  // Both runs call their slot and their publication alike, as with the default names.
  const name = slotOf(first);
  await succeed(first, ['stream', 'setup', '--slot-name', name]);
  await succeed(second, ['stream', 'setup', '--slot-name', name]);
  const wrong = { ...first, source: second.source };
  const rows = await contents(first.target);
  const positions = async () => await first.target.sql('select stream, lsn from walferry.position');
  const before = await positions();

  const clone = ['clone', '--follow', '--slot-name', name, '--no-owner', '--restart'];
  const cleanup = ['stream', 'cleanup', '--slot-name', name];
  for (const command of [[...clone, '--skip-check'], ['clone', '--no-owner', '--restart'], cleanup]) {
    const refused = await runToEnd(wrong, command);
    expect(refused.code, refused.stderr).toBe(1);
    // It names both servers, both databases, and the way out.
    for (const { source, ...migration } of [first, second]) {
      expect(refused.stderr).toContain(await identifierOf({ source, ...migration }));
      expect(refused.stderr).toContain(`"${source.name}"`);
    }
    expect(refused.stderr).toContain(`walferry stream cleanup --dir ${first.directory}`);
    expect(refused.stderr).not.toMatch(/Dropped|dropping/);
    expect(await made(first.source, name)).toEqual(both(name));
    expect(await made(second.source, name)).toEqual(both(name));
  }
  expect(await contents(first.target)).toEqual(rows);
  expect(await positions()).toEqual(before);

  // As it says: with its own server. What the other run has is still not this directory's.
  await succeed(first, cleanup);
  expect([await made(first.source, name), await made(second.source, name)]).toEqual([[], both(name)]);
  const taken = await runToEnd(wrong, clone);
  expect(taken.code, taken.stderr).toBe(6);
  expect(taken.stderr).toContain('stream cleanup');
  expect(await made(second.source, name)).toEqual(both(name));
  await succeed(second, cleanup);
});

test('the stream in the directory was made in another database of the same server: refused as well', async () => {
  await using first = await openMigration({ schema, onBoth: true });
  await using second = await openMigration({ schema });
  await succeed(first, ['stream', 'setup', ...streamOptions(first)]);
  for (const command of [cloneFollow(first, '--no-owner', '--restart'), ['stream', 'cleanup']]) {
    const refused = await runToEnd({ ...first, source: second.source }, command);
    expect(refused.code, refused.stderr).toBe(1);
    expect(refused.stderr).toContain(`the database "${first.source.name}" of the server`);
    expect(refused.stderr).toContain(`--source is the database "${second.source.name}" of the server`);
    expect(await made(first.source, slotOf(first))).toEqual(both(slotOf(first)));
  }
  await succeed(first, ['stream', 'cleanup']);
});

test('--restart in a directory that knows of no stream: the slot, publication, rows and position of another run stay, and that run goes on', async () => {
  await using stopped = await openMigration({ schema, onBoth: true });
  await using elsewhere = await openMigration({});
  await setupStream(stopped);
  const mistyped = { ...stopped, directory: elsewhere.directory };
  for (const more of [[], ['--skip-check']]) {
    const refused = await runToEnd(mistyped, cloneFollow(stopped, '--no-owner', '--restart', ...more));
    expect(refused.code, refused.stderr).toBe(6);
    expect(refused.stderr).toContain(`a replication slot "${slotOf(stopped)}" exists on the source already`);
    expect(refused.stderr).toMatch(/--slot-name .*walferry stream cleanup/);
    expect(await made(stopped.source, slotOf(stopped))).toEqual(both(slotOf(stopped)));
  }

  await stopped.source.sqlAsOwner(`insert into item values (2, 'two')`);
  await setEndpos(stopped);
  await succeed(stopped, follow(stopped, '--resume'));
  expect(await stopped.target.sql('select id from item order by 1')).toEqual([{ id: '1' }, { id: '2' }]);

  // A publication alone may be somebody's too.
  await stopped.source.sql(`select pg_drop_replication_slot('${slotOf(stopped)}')`);
  const named = await runToEnd(mistyped, cloneFollow(stopped, '--no-owner', '--restart', '--skip-check'));
  expect(named.code, named.stderr).toBe(6);
  expect(named.stderr).toMatch(/a publication named ".*" or ".*" exists/);
  expect(await made(stopped.source, slotOf(stopped))).toEqual([`publication ${slotOf(stopped)}`]);
  // Whoever knows that they are nobody's says so by name.
  await succeed(mistyped, ['stream', 'cleanup', ...streamOptions(stopped)]);
  await succeed(mistyped, cloneFollow(stopped, '--no-owner', '--restart', '--endpos', '0/1'));
  await succeed(mistyped, ['stream', 'cleanup', ...streamOptions(stopped)]);
});

test('--restart with another slot name, which another run has: refused before the own stream is dropped', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  const taken = `${slotOf(migration)}_taken`;
  await succeed(migration, ['stream', 'setup', ...streamOptions(migration)]);
  await migration.source.sql(`select pg_create_logical_replication_slot('${taken}', 'pgoutput')`);
  const refused = await runToEnd(migration, ['clone', '--follow', '--slot-name', taken, '--restart']);
  expect(refused.code, refused.stderr).toBe(6);
  expect(refused.stderr).toContain(`a replication slot "${taken}" exists`);
  expect(await made(migration.source, slotOf(migration))).toEqual(both(slotOf(migration)));
  expect(await made(migration.source, taken)).toEqual([`slot ${taken}`]);
  await migration.source.sql(`select pg_drop_replication_slot('${taken}')`);
  await succeed(migration, ['stream', 'cleanup']);
});

test('--restart that fails its check: the earlier run is as it was, and once it is mended the same line begins anew', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  const killed = await runToEnd(migration, cloneFollow(migration, '--no-owner'), {
    WALFERRY_FAILPOINT: 'clone.table-committed:1',
  });
  expect(killed.signal, killed.stderr).toBe('SIGKILL');
  const half = await contents(target);
  const sentinel = async () => (await succeed(migration, ['stream', 'sentinel', 'get', '--json'])).stdout;
  const known = await sentinel();

  await source.sql('create table secret (id int primary key)');
  const restart = cloneFollow(migration, '--no-owner', '--restart', '--endpos', '0/1');
  const refused = await runToEnd(migration, restart);
  expect(refused.code, refused.stderr).toBe(6);
  expect(refused.stderr).toContain('secret');
  expect(refused.stderr).not.toMatch(/Dropped|dropping/);
  expect(await made(source, slotOf(migration))).toEqual(both(slotOf(migration)));
  expect(await contents(target)).toEqual(half);
  expect(await sentinel()).toBe(known);

  await source.sql('drop table secret');
  const anew = await succeed(migration, restart);
  expect(anew.stderr).toContain(`Dropped replication slot "${slotOf(migration)}"`);
  expect(await target.sql('select id from item')).toEqual([{ id: '1' }]);
  await succeed(migration, ['stream', 'cleanup']);
});

test('a setup that was killed is made again where it was; on another server nothing of its name is dropped', async () => {
  await using server = await startServer('source');
  await using first = await openMigration({ schema });
  await using second = await openMigration({ schema, sourceServer: server });
  const name = slotOf(first);
  const setup = ['stream', 'setup', '--slot-name', name];
  const killed = await runToEnd(first, setup, { WALFERRY_FAILPOINT: 'follow.slot-made' });
  expect(killed.signal, killed.stderr).toBe('SIGKILL');
  expect(await made(first.source, name)).toEqual(both(name));
  await succeed(second, setup);

  // Also where both servers have the same address, as after a change of a name or a tunnel: the directory knows it.
  const wrong = { ...first, source: second.source };
  const clone = ['clone', '--follow', '--no-owner', '--slot-name', name];
  for (const command of [
    setup,
    [...clone, '--skip-check'],
    [...clone, '--restart'],
    ['follow', '--slot-name', name],
    ['stream', 'cleanup', '--slot-name', name],
  ]) {
    const refused = await runToEnd(wrong, command);
    expect(refused.code, refused.stderr).toBe(1);
    expect(refused.stderr).toContain(
      `was not completed on the database "${first.source.name}" of the server`,
    );
    expect(refused.stderr).toContain(`${await identifierOf(second)}: nothing was dropped`);
    expect(await made(first.source, name)).toEqual(both(name));
    expect(await made(second.source, name)).toEqual(both(name));
  }

  // Where it was: dropped and made again, also under another name.
  const other = await succeed(first, ['stream', 'setup', '--slot-name', `${name}_other`]);
  expect(other.stderr).toContain(
    `dropped replication slot "${name}", left by a setup that was not completed`,
  );
  expect(await made(first.source, name)).toEqual([]);
  await succeed(first, ['stream', 'cleanup']);
  expect(await made(first.source, `${name}_other`)).toEqual([]);

  const again = await runToEnd(first, setup, { WALFERRY_FAILPOINT: 'follow.slot-made' });
  expect(again.signal).toBe('SIGKILL');
  const anew = await succeed(first, [...clone, '--restart', '--endpos', '0/1']);
  expect(anew.stderr).toContain(`Dropped replication slot "${name}"`);
  await succeed(first, ['stream', 'cleanup']);
  expect(await made(second.source, name)).toEqual(both(name));
});

test('--restart into another target: what the earlier run left stays there, and nothing that is here is dropped', async () => {
  await using first = await openMigration({ schema });
  await using second = await openMigration({});
  await succeed(first, ['clone', '--no-owner']);
  await second.target.sqlAsOwner('create table item (theirs text)');
  const elsewhere = { ...first, target: second.target };
  const restart = ['clone', '--no-owner', '--restart'];

  for (const words of [restart, ['check', ...restart.slice(1)]]) {
    const refused = await runToEnd(elsewhere, words);
    expect(refused.code, refused.stderr).toBe(words === restart ? 7 : 25);
    expect(refused.stdout + refused.stderr).toContain('--drop-if-exists');
  }
  // The run that was there is as it was.
  const complete = await runToEnd(first, ['clone', '--no-owner', '--resume']);
  expect([complete.code, complete.stderr]).toEqual([0, expect.stringContaining('nothing to do') as string]);

  await second.target.sqlAsOwner('alter table item rename to kept');
  const { stderr } = await succeed(elsewhere, restart);
  expect(stderr).toContain(`was into postgres://`);
  expect(stderr).toContain(`/${first.target.name}`);
  expect(stderr).toContain(`in postgres://`);
  expect(stderr).not.toContain('and their tables on the target');
  for (const target of [first.target, second.target]) {
    expect(await target.sql('select id, body from item')).toEqual([{ id: '1', body: 'one' }]);
  }
  expect(await second.target.sql(`select to_regclass('kept')::text as kept`)).toEqual([{ kept: 'kept' }]);
});

test('--restart with another name for the same target drops the tables there', async () => {
  await using migration = await openMigration({ schema });
  await succeed(migration, ['clone', '--no-owner']);
  const uri = new URL(migration.target.neonUri);
  uri.hostname = uri.hostname === 'localhost' ? '127.0.0.1' : 'localhost';

  const again = await runToEnd(migration, ['clone', '--no-owner', '--restart'], {
    PGCOPYDB_TARGET_PGURI: uri.href,
  });

  expect([again.code, again.stderr]).toEqual([
    0,
    expect.stringContaining('and their tables on the target') as string,
  ]);
});
