/** How many connections a clone has at most: the servers themselves are told to refuse one more. */
import { beforeAll, describe, expect, test } from 'vitest';
import { openTarget } from '../../src/clone/sessions.js';
import { SpareTarget } from '../../src/clone/spare-target.js';
import { silentLog } from '../../src/log.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { sessionNeeds } from '../../src/check/connections.js';
import { startServer } from '../support/clusters.js';
import { createDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';
import { until } from '../support/until.js';
import { walferry } from '../support/walferry.js';

const jobs = { table: 3, index: 2 };

// The owner's objects, so that the limit, which superusers do not have, counts for all of it.
const schema = `
  do $$ begin for n in 1..30 loop
    execute format('create table t_%s (id int primary key, of int, t text)', n);
    execute format('insert into t_%s select i, i, repeat(md5(i::text), 40) from generate_series(1, 1000) i', n);
    execute format('create index on t_%s (t); create index on t_%s (of)', n, n);
    execute format('alter table t_%s add foreign key (of) references t_%s', n, greatest(n - 1, 1));
    perform lo_from_bytea(0, 'object');
  end loop; end $$;
  create materialized view m as select count(*) from t_1`;

const complaint = /no more connections|trying again|after \d+ attempts/;

/** Servers of their own, since it is the roles that are limited: a database's limit counts autovacuum as well. */
async function startServers() {
  const [source, target] = await Promise.all([startServer('source'), startServer('target')]);
  return {
    source,
    target,
    [Symbol.asyncDispose]: async () => {
      await source[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
    },
  };
}

type Servers = Awaited<ReturnType<typeof startServers>>;

/** A clone between two databases, within limits that are set anew. */
async function bounded(
  servers: Servers,
  limits: { readonly source: number; readonly target: number },
  { table, index } = jobs,
) {
  const { source: sourceServer, target: targetServer } = servers;
  const source = await createDatabase('source', { server: sourceServer });
  const target = await createDatabase('target', { server: targetServer });
  const directory = await temporaryDirectory();
  await source.sqlAsOwner(schema);
  // The test's own session of the owner is one of them.
  await source.sql(`alter role ${sourceServer.owner.name} connection limit ${limits.source + 1}`);
  await target.sql(`alter role ${targetServer.owner.name} connection limit ${limits.target}`);
  const counts = ['--table-jobs', String(table), '--index-jobs', String(index)];
  return {
    source,
    target,
    env: { PGCOPYDB_SOURCE_PGURI: source.neonUri, PGCOPYDB_TARGET_PGURI: target.neonUri },
    args: ['clone', '--no-owner', '--dir', directory.path, ...counts],
    directory: directory.path,
    owners: { target: targetServer.owner.name },
    [Symbol.asyncDispose]: async () => {
      await source[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

const validated = `select count(*) as n from pg_constraint where contype = 'f' and convalidated`;

describe.concurrent('a clone', () => {
  let servers: Servers;
  beforeAll(async () => {
    servers = await startServers();
    return () => servers[Symbol.asyncDispose]();
  });

  test.sequential('at most table jobs + 2 connections to the source, and table jobs + index jobs + 2 to the target', async () => {
    await using place = await bounded(servers, {
      source: jobs.table + 2,
      target: jobs.table + jobs.index + 2,
    });
    await using process = walferry(place.args, { env: place.env });
    const exit = await process.exit;

    expect(exit.code, exit.stderr).toBe(0);
    expect(exit.stderr).not.toMatch(complaint);
    const [row] = await place.target.sql(
      `select count(*) as n, count(*) filter (where convalidated) as valid from pg_constraint where contype = 'f'`,
    );
    expect(row).toEqual({ n: '30', valid: '30' });
  });

  test.sequential('--restore-jobs is no reason for more', async () => {
    const one = { table: 1, index: 1 };
    await using place = await bounded(
      servers,
      { source: one.table + 2, target: one.table + one.index + 2 },
      one,
    );
    await using process = walferry([...place.args, '--restore-jobs', '20'], { env: place.env });
    const exit = await process.exit;

    expect(exit.code, exit.stderr).toBe(0);
    expect(exit.stderr).not.toMatch(complaint);
    expect(await place.target.sql(validated)).toEqual([{ n: '30' }]);
  });

  test.sequential('a target with no connection to spare has its foreign keys validated by the one that the run has', async () => {
    await using place = await bounded(servers, { source: jobs.table + 2, target: 2 });
    await using process = walferry([...place.args, '--restore-jobs', '4'], { env: place.env });
    const exit = await process.exit;

    expect(exit.code, exit.stderr).toBe(0);
    expect(exit.stderr).toContain('the target has no more connections to give: going on with fewer');
    expect(await place.target.sql(validated)).toEqual([{ n: '30' }]);
  });

  test.sequential('a target that has no connection for pg_restore is waited for', async () => {
    await using place = await bounded(servers, { source: jobs.table + 2, target: 1 });
    await using process = walferry([...place.args, '--skip-check'], { env: place.env });

    await process.waitForOutput(/the target has no connection for pg_restore: it waits/);
    const enough = jobs.table + jobs.index + 2;
    await place.target.sql(`alter role ${place.owners.target} connection limit ${enough}`);
    const exit = await process.exit;

    expect(exit.code, exit.stderr).toBe(0);
    expect(exit.stderr).not.toContain('ERROR');
    expect(await place.target.sql(validated)).toEqual([{ n: '30' }]);
  });

  test.sequential('large objects are copied by as many as get a connection, or after the indexes', async () => {
    await using place = await bounded(servers, { source: jobs.table + 2, target: 2 });
    await place.source.sqlAsOwner(`select lo_from_bytea(0, convert_to(repeat(md5(n::text), 20000), 'UTF8'))
      from generate_series(1, 12) n`);
    await using process = walferry(place.args, { env: place.env });
    const exit = await process.exit;

    expect(exit.code, exit.stderr).toBe(0);
    const contents = 'select count(*), sum(length(lo_get(oid))) from pg_largeobject_metadata';
    expect(await place.target.sql(contents)).toEqual(await place.source.sql(contents));
  });

  test.sequential('--all-databases has no more than one of them has', async () => {
    const one = { table: 1, index: 1 };
    await using place = await bounded(
      servers,
      { source: one.table + 2, target: one.table + one.index + 2 },
      one,
    );
    await place.target.sql(`alter database postgres owner to ${place.owners.target}`);
    await using process = walferry([...place.args, '--all-databases'], { env: place.env });
    const exit = await process.exit;

    expect(exit.stderr).not.toMatch(/too many connections|no more connections|after \d+ attempts/);
    expect(exit.code, exit.stderr).toBe(0);
  });

  test.sequential('with --follow, as many as check counts, and the two of the stream', async () => {
    const { asked, walsenders } = sessionNeeds('source', jobs, true);
    const target = sessionNeeds('target', jobs, true).asked;
    await using place = await bounded(servers, { source: asked + walsenders, target });
    await using following = walferry([...place.args, '--follow'], { env: place.env });
    await following.waitForOutput(/applying changes from/);
    // A table that the stream does not know: the source is looked at once more.
    await place.source.sqlAsOwner('create table late (id int primary key); insert into t_1 values (2000, 1)');
    await until('a change is applied', async () => {
      return (await place.target.sql('select from t_1 where id = 2000')).length === 1;
    });
    following.kill('SIGINT');
    const exit = await following.exit;
    expect(exit.code, exit.stderr).toBe(22);
    expect(exit.stderr).not.toMatch(complaint);
  });
});

// It waits more than it works: beside the others.
test.concurrent('a target that takes away all connections in the middle is waited for by the last of each kind of worker', async () => {
  const one = { table: 1, index: 1 };
  await using servers = await startServers();
  await using place = await bounded(servers, { source: one.table + 2, target: 1 }, one);
  const { target, owners } = place;
  const limit = (connections: number) =>
    target.sql(`alter role ${owners.target} connection limit ${connections}`);
  await using holder = await target.session();
  await using process = walferry([...place.args, '--skip-check'], { env: place.env });
  await process.waitForOutput(/the target has no connection for pg_restore: it waits/);
  // Until pre-data is recorded, it goes on with two connections; then the session that records it is the last one.
  await holder.sql('begin; lock table walferry.task in access exclusive mode');
  await limit(2);
  await until('pre-data is made', async () => {
    const waiting = `select from pg_locks where relation = 'walferry.task'::regclass and not granted`;
    return (await target.sql(waiting)).length > 0;
  });
  await limit(0);
  await holder.sql('commit');

  await process.waitForOutput(/(?:; copying [^]*?){6}/);
  await limit(one.table + one.index + 2);
  const exit = await process.exit;

  expect(exit.code, exit.stderr).toBe(0);
  expect(exit.stderr).not.toContain('ERROR');
  expect(await target.sql(validated)).toEqual([{ n: '30' }]);
});

test('a last connection that somebody has for a moment is waited for by one of several workers', async () => {
  await using server = await startServer('target');
  await using target = await createDatabase('target', { server });
  await target.sql(`alter role ${server.owner.name} connection limit 1`);
  const open = { log: silentLog, dispensable: true };
  const conninfo = readConninfo(target.neonUri, {});
  const held = await openTarget(conninfo, 'look', open);
  const opened = openTarget(conninfo, 'clone', open);
  await until('it is refused', async () => {
    const tried = await openTarget(conninfo, 'clone', { ...open, signal: AbortSignal.timeout(50) }).then(
      async (session) => session.close().then(() => false),
      () => true,
    );
    return tried;
  });
  await held.close();
  await using session = await opened;
  expect(await session.query('select 1 as one')).toEqual([{ one: '1' }]);
});

test('the only connection is handed on by the step that has it to the one that waits for it', async () => {
  await using server = await startServer('target');
  await using target = await createDatabase('target', { server });
  await target.sql(`alter role ${server.owner.name} connection limit 1`);
  const refused: string[] = [];
  const log = { ...silentLog, warn: (words: string) => void refused.push(words) };
  const work = { target: readConninfo(target.neonUri, {}), log, signal: undefined };
  await using spare = new SpareTarget();
  const first = await spare.lend(work);
  const second = spare.lend(work);
  await until('it is refused', () => refused.length > 0);
  await first[Symbol.asyncDispose]();
  await using lent = await second;
  expect(await lent.session.query('select 1 as one')).toEqual([{ one: '1' }]);
}, 30_000);
