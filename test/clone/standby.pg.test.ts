import { expect, test } from 'vitest';
import { startCluster } from '../../scripts/clusters/cluster.js';
import { startServer } from '../support/clusters.js';
import { createDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { temporaryDirectory } from '../support/directory.js';
import { until } from '../support/until.js';
import { walferry } from '../support/walferry.js';
import { richRows, richSchema, richTables } from './rich-schema.js';

test('a streaming standby is cloned like its primary, which meanwhile goes on; it cannot be followed', async () => {
  await using primary = await startServer('source');
  await using source = await createDatabase('source', { server: primary });
  for (const text of [richSchema, richTables, richRows]) await source.sql(text);
  await source.sql(
    `select lo_from_bytea(300000 + i, decode(md5(i::text), 'hex')) from generate_series(1, 300) i`,
  );
  await using standby = await startCluster({
    standbyOf: primary.address,
    settings: { max_standby_streaming_delay: '-1', hot_standby_feedback: 'on' },
  });
  await using target = await createDatabase('target');
  const { address } = standby;
  const uri = source.uri.replace(/@[^/]*\//, `@${address.host}:${address.port}/`);
  await using directory = await temporaryDirectory();

  await using run = walferry([
    'clone',
    '--source',
    uri,
    '--target',
    target.uri,
    '--dir',
    `${directory.path}/a`,
  ]);
  await source.sql('create table later (id integer)');
  const { code, stderr } = await run.exit;

  expect(stderr).not.toMatch(/ERROR/);
  expect(code).toBe(0);
  await source.sql('drop table later');
  await target.sql('drop table if exists later');
  expect(stderr).toMatch(/rows of app.scratch: it is unlogged/);
  await source.sql('truncate app.scratch');
  await expectEqual(source, target);
  expect(
    await target.sql(
      `select count(*) as n, md5(string_agg(lo_get(oid)::text, '' order by oid)) as c from pg_largeobject_metadata`,
    ),
  ).toEqual(
    await source.sql(
      `select count(*) as n, md5(string_agg(lo_get(oid)::text, '' order by oid)) as c from pg_largeobject_metadata`,
    ),
  );

  // What is dropped on its own primary, the standby would lose as well.
  await using own = walferry([
    ...['clone', '--drop-if-exists', '--source', uri, '--target', source.uri],
    ...['--dir', `${directory.path}/own`],
  ]);
  expect(await own.exit).toMatchObject({
    code: 7,
    stderr: expect.stringContaining('that the source, a standby, replicates') as string,
  });
  await expectEqual(source, target);

  await using other = walferry([
    'clone',
    '--follow',
    '--source',
    uri,
    '--target',
    target.uri,
    '--dir',
    `${directory.path}/b`,
  ]);
  const refused = await other.exit;
  // One of the things that the check before it names; the copy of above is on the target too.
  expect(refused.code).toBe(25);
  expect(refused.stderr).toMatch(/standby/);
  // Nothing was left on the primary.
  await until(
    'no slot',
    async () =>
      (await source.sql('select from pg_replication_slots where database = current_database()')).length === 0,
  );
});
