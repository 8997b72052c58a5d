/**
 * What cannot work is refused before anything is done: one clear sentence, the exit code that the manual names, and
 * the password nowhere. Both servers are ones whose roles have the canary as their password.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterUri } from '../../../scripts/clusters/cluster.js';
import { startServer, type TestServer } from '../../support/clusters.js';
import { temporaryDirectory } from '../../support/directory.js';
import { openMigration, slotOf, uris, type Migration } from '../../support/live-migration.js';
import { canary, runWatched, startWatched } from './canary.js';

type OwnServer = Awaited<ReturnType<typeof startServer>>;

let sourceServer: OwnServer;
let targetServer: OwnServer;

/** A server whose owner's password is the canary. */
async function startCanaryServer(side: 'source' | 'target', settings = {}): Promise<OwnServer> {
  const server = await startServer(side, { settings });
  await administer(server, `alter role ${server.owner.name} password '${canary}'`);
  return Object.assign(server, { owner: { ...server.owner, password: canary } });
}

async function administer({ address }: TestServer, sql: string): Promise<void> {
  const client = new pg.Client(clusterUri(address, { database: 'postgres' }));
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

beforeAll(async () => {
  [sourceServer, targetServer] = await Promise.all([
    startCanaryServer('source', { max_replication_slots: '3', max_wal_senders: '3' }),
    startCanaryServer('target'),
  ]);
});

afterAll(async () => {
  await Promise.all([sourceServer[Symbol.asyncDispose](), targetServer[Symbol.asyncDispose]()]);
});

const schema = 'create table item (id int primary key, body text); insert into item values (1, $$one$$)';

function migrate(): Promise<Migration & AsyncDisposable> {
  return openMigration({ schema, sourceServer, targetServer });
}

type Refused = {
  readonly code: number;
  /** In the one sentence that says what happened. */
  readonly says: RegExp;
  /** In what to do about it. */
  readonly remedy?: RegExp;
};

/** Runs a command that must be refused, and leaves no slot, no publication and no table behind. */
async function expectRefused(
  migration: Migration,
  command: readonly string[],
  { code, says, remedy }: Refused,
  change: Readonly<Record<string, string>> = {},
): Promise<void> {
  const before = await left(migration);
  const env: Record<string, string> = { ...uris(migration), ...change };
  for (const [name, value] of Object.entries(env)) if (value === '') delete env[name];
  const exit = await runWatched({ command, directory: migration.directory, env });
  expect(exit.code, exit.stderr).toBe(code);
  expect(exit.stdout).toBe('');
  const errors = exit.stderr.split('\n').filter((line) => / ERROR /.test(line));
  expect(errors[0], exit.stderr).toMatch(says);
  if (remedy !== undefined) expect(errors.slice(1).join('\n')).toMatch(remedy);
  // What happened and what to do: two lines, not an outpour.
  expect(errors.length, exit.stderr).toBeLessThanOrEqual(2);
  expect(await left(migration), 'what is left behind').toEqual(before);
}

async function left({ source, target }: Migration): Promise<unknown[]> {
  const tables = `select relname from pg_class where relnamespace = 'public'::regnamespace order by 1`;
  return [
    await source.sql('select slot_name from pg_replication_slots order by 1'),
    await source.sql('select pubname from pg_publication'),
    await target.sql(tables),
  ];
}

const cloneFollow = (migration: Migration, ...more: string[]) => [
  ...['clone', '--follow', '--no-owner', '--slot-name', slotOf(migration)],
  ...more,
];

describe('a connection', () => {
  const sides = [
    { side: 'source', code: 6, variable: 'PGCOPYDB_SOURCE_PGURI' },
    { side: 'target', code: 7, variable: 'PGCOPYDB_TARGET_PGURI' },
  ] as const;

  test.each(sides)('with a wrong password for the $side', async ({ side, code, variable }) => {
    await using migration = await migrate();
    // The right password of the role is not it: a canary of another kind that must not be repeated either.
    const wrong = migration[side].neonUri.replace(canary, `wrong${canary}`);
    const says = new RegExp(
      `cannot connect to the ${side} at 127\\.0\\.0\\.1.*password authentication failed`,
    );
    const refused = { code, says, remedy: new RegExp(`--${side}`) };
    await expectRefused(migration, ['clone'], refused, { [variable]: wrong });
    // As an option, and the password alone as a variable of libpq.
    await expectRefused(migration, ['clone', `--${side}`, wrong], refused);
    const without = wrong.replace(`:wrong${canary}`, '');
    await expectRefused(migration, ['clone'], refused, { [variable]: without, PGPASSWORD: `wrong${canary}` });
  });

  test.each(sides)('to a $side that is not there', async ({ side, code, variable }) => {
    await using migration = await migrate();
    await expectRefused(
      migration,
      ['clone'],
      { code, says: new RegExp(`cannot connect to the ${side} at 127\\.0\\.0\\.1:1/d .*refused`) },
      { [variable]: `postgres://u:${canary}@127.0.0.1:1/d` },
    );
  });

  test.each(sides)('to a database that the $side does not have', async ({ side, code, variable }) => {
    await using migration = await migrate();
    const uri = migration[side].neonUri.replace(`/${migration[side].name}`, '/no_such_database');
    const refused = { code, says: new RegExp(`${side}.*database "no_such_database" does not exist`) };
    await expectRefused(migration, ['clone'], refused, { [variable]: uri });
  });

  test.each(sides)('through the pooler of the $side', async ({ code, variable }) => {
    await using migration = await migrate();
    await expectRefused(
      migration,
      cloneFollow(migration),
      { code, says: /Neon's connection pooler/, remedy: /ep-cool-name-1\.eu-central-1\.aws\.neon\.tech/ },
      { [variable]: `postgres://u:${canary}@ep-cool-name-1-pooler.eu-central-1.aws.neon.tech/d` },
    );
  });
});

describe('a source', () => {
  test('that does not log what decoding needs (wal_level = replica)', async () => {
    await using server = await startCanaryServer('source', { wal_level: 'replica' });
    await using migration = await openMigration({ schema, sourceServer: server, targetServer });
    const refused = { code: 6, says: /wal_level/, remedy: /alter system set wal_level = logical/ };
    await expectRefused(migration, cloneFollow(migration), refused);
    await expectRefused(migration, ['snapshot', '--follow', '--slot-name', slotOf(migration)], refused);
    // Without a stream it need not.
    const env = uris(migration);
    const exit = await runWatched({ command: ['clone', '--no-owner'], directory: migration.directory, env });
    expect(exit.code, exit.stderr).toBe(0);
  });

  test('without a free replication slot', async () => {
    await using migration = await migrate();
    const { source } = migration;
    const names = ['a', 'b', 'c'].map((letter) => `taken_${letter}`);
    for (const name of names) await source.sql(`select pg_create_physical_replication_slot('${name}')`);
    try {
      const refused = { code: 6, says: /no free replication slot/, remedy: /max_replication_slots/ };
      await expectRefused(migration, cloneFollow(migration), refused);
    } finally {
      for (const name of names) await source.sql(`select pg_drop_replication_slot('${name}')`);
    }
  });

  test('without a free walsender', async () => {
    await using migration = await migrate();
    // pg knows of no replication connections; the start-up parameter is all there is to it.
    const senders = [1, 2, 3].map(() => new pg.Client(`${migration.source.uri}?replication=database`));
    for (const sender of senders) await sender.connect();
    try {
      const refused = { code: 6, says: /no further replication connection/, remedy: /max_wal_senders/ };
      await expectRefused(migration, cloneFollow(migration), refused);
    } finally {
      for (const sender of senders) await sender.end();
    }
  });

  test('whose role may not replicate, or does not own the tables', async () => {
    await using migration = await migrate();
    const { source } = migration;
    await source.sql(
      `create role weak login password '${canary}'; grant create on database ${source.name} to weak;
       grant select on all tables in schema public to weak`,
    );
    const weak = clusterUri(sourceServer.address, { database: source.name, user: 'weak', password: canary });
    const variable = { PGCOPYDB_SOURCE_PGURI: weak };
    try {
      await source.sql('alter role weak replication');
      const foreign = { code: 6, says: /does not own 1 of them: public\.item/, remedy: /--publication/ };
      await expectRefused(migration, cloneFollow(migration), foreign, variable);

      await source.sql('alter role weak noreplication; alter table item owner to weak');
      const unable = { code: 6, says: /"weak" may not replicate/, remedy: /alter role "weak" replication/ };
      await expectRefused(migration, cloneFollow(migration), unable, variable);

      // Who may read nothing is told so before anything is copied.
      await source.sql('alter table item owner to postgres; revoke all on item from weak');
      await expectRefused(migration, ['clone'], { code: 6, says: /may not read public\.item/ }, variable);
    } finally {
      await source.sql('drop owned by weak; drop role weak');
    }
  });

  test('that has a slot of this name already, which stays as it is', async () => {
    await using migration = await migrate();
    await migration.source.sql(
      `select pg_create_logical_replication_slot('${slotOf(migration)}', 'test_decoding')`,
    );
    const refused = { code: 6, says: /a replication slot "\w+" exists/, remedy: /--slot-name/ };
    await expectRefused(migration, cloneFollow(migration), refused);
    await expectRefused(migration, cloneFollow(migration, '--resume'), refused);
  });
});

describe('a target', () => {
  test('that holds rows already, which stay as they are', async () => {
    await using migration = await migrate();
    await migration.target.sqlAsOwner(`create table item (id int primary key, body text);
      insert into item values (7, 'not yours')`);
    await expectRefused(migration, ['clone', '--no-owner'], {
      code: 7,
      says: /item/,
      remedy: /--drop-if-exists/,
    });
    expect(await migration.target.sql('select * from item')).toEqual([{ id: '7', body: 'not yours' }]);
  });

  test('whose role may not create anything', async () => {
    await using migration = await migrate();
    const { target } = migration;
    await target.sql(`create role guest login password '${canary}'; grant create on schema public to guest`);
    const uri = clusterUri(targetServer.address, { database: target.name, user: 'guest', password: canary });
    try {
      const refused = { code: 7, says: /permission denied for database/ };
      await expectRefused(migration, ['clone', '--no-owner'], refused, { PGCOPYDB_TARGET_PGURI: uri });
    } finally {
      await target.sql('drop owned by guest; drop role guest');
    }
  });
});

describe('client programs', () => {
  test('that are older than the source', async () => {
    await using migration = await migrate();
    await using programs = await temporaryDirectory();
    const directory = path.join(programs.path, 'bin');
    mkdirSync(directory);
    const script = (name: string, says: string) => {
      writeFileSync(path.join(directory, name), `#!/bin/sh\necho '${says}'\n`);
      chmodSync(path.join(directory, name), 0o755);
    };
    for (const name of ['pg_dump', 'pg_restore', 'pg_dumpall']) script(name, `${name} (PostgreSQL) 13.4`);
    script('pg_config', directory);
    const refused = {
      code: 5,
      says: /pg_dump in .* is version 13, and the source server is version 1\d/,
      remedy: /PG_CONFIG/,
    };
    await expectRefused(migration, ['clone'], refused, { PG_CONFIG: path.join(directory, 'pg_config') });
  });
});

test('in a run that ends well the password is nowhere either: not of pg_dump, not of pg_restore', async () => {
  await using migration = await migrate();
  const { source, target } = migration;
  const { PGCOPYDB_SOURCE_PGURI: sourceUri, PGCOPYDB_TARGET_PGURI: targetUri } = uris(migration);
  await using watched = startWatched({
    command: ['clone', '--no-owner', '--source', sourceUri],
    directory: migration.directory,
    env: { WALFERRY_TARGET_PGURI: targetUri },
  });
  const exit = await watched.finish();
  expect(exit.code, exit.stderr).toBe(0);
  // They were looked at while they ran; walferry's own command line disappears as soon as it runs.
  const seen = [...watched.seen];
  for (const program of ['pg_dump', 'pg_restore']) {
    expect(
      seen.filter((line) => line.includes(`/${program} `)),
      program,
    ).not.toEqual([]);
  }
  expect(seen).toContainEqual(expect.stringMatching(/^walferry clone/));
  expect(await target.sql('select * from item')).toEqual(await source.sql('select * from item'));
});
