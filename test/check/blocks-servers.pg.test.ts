/** As blocks.pg.test.ts, for what is wrong with a whole server, a work directory or the client programs. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { startCluster } from '../../scripts/clusters/cluster.js';
import { closeCatalog, openCatalog } from '../../src/catalog/database.js';
import { takeLocks } from '../../src/catalog/lock.js';
import { saveSetup, startPhase } from '../../src/catalog/setup.js';
import type { Finding } from '../../src/check/finding.js';
import type { RunWish } from '../../src/check/options.js';
import { checkDirectory } from '../../src/check/work-directory.js';
import { failurePolicies, type FailureCode } from '../../src/failure.js';
import { startServer } from '../support/clusters.js';
import { createDatabase } from '../support/databases.js';
import {
  openMigration,
  runToEnd,
  slotOf,
  streamOptions,
  uris,
  type Migration,
} from '../support/live-migration.js';
import { until } from '../support/until.js';
import { failing, wishOf } from './wish.js';

const schema = `create table item (id int primary key); insert into item values (1)`;

type Blocked = {
  readonly id: Finding['id'];
  readonly code: FailureCode;
  readonly says: RegExp;
  readonly remedy: RegExp;
  readonly options: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
};

/** One finding that fails, and a clone that does not check and ends with its status. */
async function expectBlocked(migration: Migration, wish: RunWish, blocked: Blocked): Promise<void> {
  expect(await failing(wish)).toEqual([
    expect.objectContaining({
      id: blocked.id,
      code: blocked.code,
      reason: expect.stringMatching(blocked.says) as string,
      remedy: expect.stringMatching(blocked.remedy) as string,
    }),
  ]);
  const command = ['clone', '--no-owner', '--skip-check', ...blocked.options];
  const exit = await runToEnd(migration, command, blocked.environment);
  expect(exit.code, exit.stderr).toBe(failurePolicies[blocked.code].exit);
}

const cloneFollow = (migration: Migration) => ['--follow', ...streamOptions(migration)];

test('a source without a free slot, then with one free walsender where two are needed', async () => {
  await using server = await startServer('source', {
    settings: { max_replication_slots: '1', max_wal_senders: '2' },
  });
  await using migration = await openMigration({ schema, sourceServer: server });
  const { source } = migration;
  const wish = wishOf(migration, { follow: true });
  const blocked = { id: 'stream.slot', code: 'source-setup', options: cloneFollow(migration) } as const;

  await source.sql(`select pg_create_physical_replication_slot('taken')`);
  await expectBlocked(migration, wish, {
    ...blocked,
    says: /no free replication slot/,
    remedy: /max_replication_slots = 20/,
  });
  await source.sql(`select pg_drop_replication_slot('taken')`);
  expect(await failing(wish)).toEqual([]);

  const sender = new pg.Client(`${source.uri}?replication=database`);
  await sender.connect();
  try {
    await expectBlocked(migration, wish, {
      ...blocked,
      says: /no further replication connection/,
      remedy: /max_wal_senders = 20/,
    });
  } finally {
    await sender.end();
  }
});

test('a source that logs too little, and its standby on either side', async () => {
  await using server = await startServer('source', { settings: { wal_level: 'replica' } });
  await using migration = await openMigration({ schema, role: 'superuser', sourceServer: server });
  const follow = wishOf(migration, { follow: true });
  await expectBlocked(migration, follow, {
    id: 'stream.slot',
    code: 'source-setup',
    says: /wal_level/,
    remedy: /alter system set wal_level = logical/,
    options: cloneFollow(migration),
  });

  await using standby = await startCluster({ standbyOf: server.address });
  const { source } = migration;
  const uri = standby.uri({ database: source.name });
  await until('the standby has the table', async () => {
    const client = new pg.Client(uri);
    await client.connect();
    const { rows } = await client.query(`select to_regclass('item') as found`);
    await client.end();
    return (rows[0] as { found: string | null }).found !== null;
  });
  await expectBlocked(migration, wishOf(migration, { follow: true, source: uri }), {
    id: 'stream.decoding',
    code: 'source-setup',
    says: /the source is a standby/,
    remedy: /Give the primary as --source/,
    options: [...cloneFollow(migration), '--source', uri],
  });
  // A server of its own is the source here: the standby has the source's table.
  await using other = await openMigration({
    schema: 'create table other (id int primary key)',
    role: 'superuser',
  });
  await expectBlocked(other, wishOf(other, { target: uri }), {
    id: 'target.writable',
    code: 'target-setup',
    says: /the target is a standby/,
    remedy: /Give the primary as --target/,
    options: ['--target', uri],
  });
});

test('a role that may not replicate', async () => {
  await using migration = await openMigration({ schema });
  const { source } = migration;
  const role = `plain_${source.name}`;
  await source.sql(
    `create role ${role} login password 'x'; grant create on database ${source.name} to ${role}; alter table item owner to ${role}`,
  );
  try {
    const uri = new URL(source.neonUri);
    uri.username = role;
    uri.password = 'x';
    await expectBlocked(migration, wishOf(migration, { follow: true, source: uri.href }), {
      id: 'stream.slot',
      code: 'source-rights',
      says: /may not replicate from the source/,
      remedy: /alter role ".*" replication;/,
      options: [...cloneFollow(migration), '--source', uri.href],
    });
  } finally {
    await source.sql(`drop owned by ${role}; drop role ${role}`);
  }
});

describe('a database', () => {
  async function openEncoded(encoding: string): Promise<Migration & AsyncDisposable> {
    const migration = await openMigration();
    const source = await createDatabase('source', { properties: `encoding '${encoding}'` });
    await source.sqlAsOwner(schema);
    return {
      ...migration,
      source,
      [Symbol.asyncDispose]: async () => {
        await source[Symbol.asyncDispose]();
        await migration[Symbol.asyncDispose]();
      },
    };
  }

  test('without an encoding can be cloned and not followed', async () => {
    await using migration = await openEncoded('SQL_ASCII');
    expect(await failing(wishOf(migration))).toEqual([]);
    await expectBlocked(migration, wishOf(migration, { follow: true }), {
      id: 'stream.decoding',
      code: 'source-setup',
      says: /encoded SQL_ASCII: its changes cannot be followed/,
      remedy: /without --follow/,
      options: cloneFollow(migration),
    });
  });

  test('that is not UTF8 can be followed by pgoutput alone', async () => {
    await using migration = await openEncoded('LATIN1');
    expect(await failing(wishOf(migration, { follow: true }))).toEqual([]);
    await expectBlocked(migration, wishOf(migration, { follow: { plugin: 'test_decoding' } }), {
      id: 'stream.decoding',
      code: 'source-setup',
      says: /encoded LATIN1, and test_decoding writes its text as it is/,
      remedy: /--plugin pgoutput/,
      options: [...cloneFollow(migration), '--plugin', 'test_decoding'],
    });
  });
});

test('the other plugins are tried on the server, and nothing of it stays', async () => {
  await using migration = await openMigration({ schema });
  for (const plugin of ['test_decoding', 'wal2json'] as const) {
    expect(await failing(wishOf(migration, { follow: { plugin } }))).toEqual([]);
  }
  const slots = `select slot_name from pg_replication_slots where database = current_database()`;
  expect(await migration.source.sql(slots)).toEqual([]);
});

test('client programs that are older than the source', async () => {
  await using migration = await openMigration({ schema });
  const directory = path.join(migration.directory, 'bin');
  mkdirSync(directory);
  const script = (name: string, says: string) => {
    writeFileSync(path.join(directory, name), `#!/bin/sh\necho '${says}'\n`);
    chmodSync(path.join(directory, name), 0o755);
  };
  for (const name of ['pg_dump', 'pg_restore', 'pg_dumpall']) script(name, `${name} (PostgreSQL) 13.4`);
  script('pg_config', directory);
  const environment = { PG_CONFIG: path.join(directory, 'pg_config') };
  await expectBlocked(migration, wishOf(migration, { environment }), {
    id: 'connections.client-tools',
    code: 'client-tools-old',
    says: /is version 13, and the source server is version 1\d/,
    remedy: /PG_CONFIG/,
    options: [],
    environment,
  });
});

describe('a work directory', () => {
  const elsewhere = { version: '1', source: 'x', target: 'y', settings: {} };
  const place = ({ directory }: Migration, more = {}) => ({
    ...{ directory, journalDirectory: directory, resume: false, restart: false, setup: elsewhere },
    ...more,
  });

  test('in which another process works', async () => {
    await using migration = await openMigration({ schema });
    const locks = takeLocks(migration.directory, ['clone']);
    try {
      // Our own lock stands for the other process's: fcntl's belong to processes, so a second one is asked.
      const check = await runToEnd(migration, ['check', '--json', '--no-owner', '--no-acl']);
      const { findings } = JSON.parse(check.stdout) as { findings: Finding[] };
      expect(findings.filter(({ verdict }) => verdict === 'fail')).toEqual([
        expect.objectContaining({ id: 'room.directory', code: 'work-directory-locked' }),
      ]);
      const exit = await runToEnd(migration, ['clone', '--no-owner', '--skip-check']);
      expect(exit.code, exit.stderr).toBe(failurePolicies['work-directory-locked'].exit);
    } finally {
      locks.release();
    }
  });

  test('with a run that is not complete, unless it is to go on or to go', async () => {
    await using migration = await openMigration({ schema });
    const catalog = openCatalog(migration.directory);
    saveSetup(catalog, elsewhere);
    startPhase(catalog, 'copy');
    closeCatalog(catalog);
    const looks = await checkDirectory(place(migration));
    expect([looks.finding.verdict, looks.finding.code, looks.own]).toEqual([
      'fail',
      'work-directory-used',
      { stream: false, tables: false, recorded: null },
    ]);
    const exit = await runToEnd(migration, ['clone', '--no-owner', '--skip-check']);
    expect(exit.code, exit.stderr).toBe(failurePolicies['work-directory-used'].exit);

    const resumed = await checkDirectory(place(migration, { resume: true }));
    expect([resumed.finding.verdict, resumed.own.tables]).toEqual(['pass', true]);
    const restarted = await checkDirectory(place(migration, { restart: true }));
    expect([restarted.finding.verdict, restarted.own.tables]).toEqual(['pass', false]);
  });

  test('with a run of other servers or settings, whether it is complete or not', async () => {
    await using migration = await openMigration({ schema });
    expect((await runToEnd(migration, ['clone', '--no-owner', '--no-acl'])).code).toBe(0);
    // The same run once more has nothing to do, and nothing in its way.
    expect((await runToEnd(migration, ['check', '--no-owner', '--no-acl'])).code).toBe(0);
    await using other = await openMigration({ schema });
    for (const [options, servers, says] of [
      [['--no-owner', '--no-acl'], uris(other), /belongs to another run: source was/],
      [['--no-owner'], uris(migration), /belongs to another run: no-acl was true and is now false$/],
    ] as const) {
      const check = await runToEnd(migration, ['check', '--json', ...options], servers);
      const { findings } = JSON.parse(check.stdout) as { findings: Finding[] };
      expect(findings).toContainEqual(
        expect.objectContaining({
          verdict: 'fail',
          id: 'room.directory',
          code: 'work-directory-used',
          reason: expect.stringMatching(says) as string,
        }),
      );
      expect((await runToEnd(migration, ['clone', ...options], servers)).code).toBe(1);
    }
  });

  test('with a stream that was made on another server, which is not the one of --source', async () => {
    await using migration = await openMigration({ schema });
    await using other = await openMigration({ schema });
    const elsewhere = uris({ ...migration, source: other.source });
    const setup = ['stream', 'setup', '--slot-name', slotOf(migration)];
    expect((await runToEnd(migration, setup)).code).toBe(0);
    const follow = ['--follow', '--slot-name', slotOf(migration), '--no-owner', '--no-acl'];
    const check = await runToEnd(migration, ['check', '--json', ...follow], elsewhere);
    const { findings } = JSON.parse(check.stdout) as { findings: Finding[] };
    expect(findings.filter(({ verdict }) => verdict === 'fail')).toEqual([
      expect.objectContaining({ id: 'stream.source', code: 'work-directory-used' }),
    ]);
    const exit = await runToEnd(migration, ['clone', ...follow, '--skip-check'], elsewhere);
    expect(exit.code, exit.stderr).toBe(1);
    expect(exit.stderr).not.toContain('Dropped replication slot');
    expect((await runToEnd(migration, ['check', '--json', ...follow])).code).toBe(0);
    expect((await runToEnd(migration, ['stream', 'cleanup'])).code).toBe(0);
  });
});
