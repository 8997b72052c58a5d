/** The last comparison: what was proven while changes flowed is not read again, what was written since is. */
import { expect, test } from 'vitest';
import { compareData } from '../../src/compare/data.js';
import { compareTouched, type TouchedComparison } from '../../src/compare/touched.js';
import type { StreamKey } from '../../src/model/stream-key.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import {
  appliedPosition,
  cloneFollow,
  openMigration,
  run,
  hasApplied,
  setEndpos,
  type Migration,
} from '../support/live-migration.js';
import { until } from '../support/until.js';

const schema = `
  create type mood as enum ('glad', 'sad');
  create table quiet (id int primary key, a text, m mood[] default '{glad}'); insert into quiet (id, a) select i, 'x' from generate_series(1, 100) i;
  create table busy (k text, l int, a text, primary key (k, l)); insert into busy select 'k' || i, i, 'x' from generate_series(1, 100) i;
  create table emptied (id int primary key); insert into emptied values (1);
  create table keyless (a text); insert into keyless values ('x');
  create unlogged table unlogged (id int primary key);
`;

async function key({ source }: Migration): Promise<StreamKey> {
  const [row] = await source.sql('select system_identifier::text as id from pg_control_system()');
  return { stream: 'walferry', systemIdentifier: row?.['id'] ?? '', database: source.name };
}

async function options(migration: Migration) {
  const { source, target, directory } = migration;
  return {
    source: readConninfo(source.uri, {}),
    target: readConninfo(target.uri, {}),
    jobs: 2,
    directory,
    key: await key(migration),
  };
}

const differing = ({ tables }: TouchedComparison) =>
  Object.fromEntries(
    tables.flatMap(({ name, difference, rows }) => (difference === null ? [] : [[name, rows?.shown]])),
  );

/** Until the target holds everything that the source has committed. */
async function level(migration: Migration): Promise<void> {
  const [row] = await migration.source.sql(
    `select pg_logical_emit_message(true, 'test', 'level'); select pg_current_wal_insert_lsn()::text as lsn`,
  );
  await until('the target is level', async () => {
    const applied = await appliedPosition(migration);
    const [answer] = await migration.source.sql(
      `select '${applied}'::pg_lsn >= '${row?.['lsn']}'::pg_lsn as level`,
    );
    return answer?.['level'] === 't';
  });
}

/**
 * The last pass beside a source that may still write a record of its own: where the target moved on in the middle of
 * it, everything is read as a whole, and it is asked again.
 */
async function lastPass(given: Awaited<ReturnType<typeof options>>): Promise<TouchedComparison> {
  for (let tries = 1; ; tries += 1) {
    const comparison = await compareTouched(given);
    const { untouched, rows } = comparison.reused;
    if (untouched + rows > 0 || tries === 10) return comparison;
  }
}

test('only rows that were written since a table was proven are read again, and after a crash all are', async () => {
  await using migration = await openMigration({ schema });
  const { source, target, directory } = migration;
  const follow = () => run(migration, cloneFollow(migration, '--no-owner', '--resume'));
  let migrating = run(migration, cloneFollow(migration, '--no-owner'));
  try {
    await migrating.waitForOutput(/applying changes from/);
    await until('it applies', () => hasApplied(migration));
    const given = await options(migration);

    // Before anything was proven, all is read.
    await source.sql(`update busy set a = 'z' where l = 50`);
    await level(migration);
    expect((await compareTouched(given)).reused).toEqual({ untouched: 0, rows: 0, whole: 5 });

    // Once proven beside the stream, nothing is; but for what the stream does not tell of.
    const proving = async () => {
      const { tables } = await compareData({ ...given, following: given.key });
      expect(tables.filter(({ difference }) => difference !== null)).toEqual([]);
    };
    await proving();
    await level(migration);
    expect((await lastPass(given)).reused).toEqual({ untouched: 3, rows: 0, whole: 2 });

    // What is written after that is read again, by its keys: old ones and new ones, rows that come and go.
    await source.sql(`
      update busy set a = 'y' where l = 1; update busy set k = 'moved' where l = 2; delete from busy where l = 3;
      insert into busy values ('new', 1000, 'x'); insert into keyless values ('y'); truncate emptied`);
    await level(migration);
    const equal = await lastPass(given);
    expect(differing(equal)).toEqual({});
    expect(equal.reused).toEqual({ untouched: 1, rows: 1, whole: 3 });

    // A row that was written since and is wrong is found, each kind of it.
    await target.sql(`
      update busy set a = 'wrong' where l = 1; update busy set k = 'k2' where k = 'moved';
      insert into busy values ('k3', 3, 'x'); delete from busy where k = 'new'`);
    expect(differing(await lastPass(given))).toEqual({
      busy: [
        { kind: 'different', key: ['k1', '1'], columns: ['a'] },
        { kind: 'extra', key: ['k2', '2'], columns: [] },
        { kind: 'extra', key: ['k3', '3'], columns: [] },
        { kind: 'missing', key: ['moved', '2'], columns: [] },
        { kind: 'missing', key: ['new', '1000'], columns: [] },
      ],
    });
    await target.sql(`
      update busy set a = 'y' where l = 1; update busy set k = 'moved' where k = 'k2';
      delete from busy where k = 'k3'; insert into busy values ('new', 1000, 'x')`);

    // What a comparison finds to differ is proven no more, and is read as a whole until it is found equal.
    await target.sql(`update quiet set a = 'tampered' where id = 5`);
    const { tables: found } = await compareData({ ...given, following: given.key });
    expect(found.filter(({ difference }) => difference !== null).map(({ name }) => name)).toEqual(['quiet']);
    expect(Object.keys(differing(await lastPass(given)))).toEqual(['quiet']);
    await target.sql(`update quiet set a = 'x' where id = 5`);
    await proving();

    // A table that was rewritten on the source is read as a whole: the stream does not tell.
    await source.sql(`alter table quiet alter column a type text using a || 'y'`);
    await source.sql(`alter table quiet alter column a type text using left(a, 1)`);
    await source.sql('vacuum full quiet');
    expect((await lastPass(given)).reused).toEqual({ untouched: 2, rows: 0, whole: 3 });

    // So is one that got a column whose default gives the rows of each side other values, in the files that it had.
    await proving();
    for (const side of [source, target]) {
      const file = `select pg_relation_filenode('quiet') as file`;
      const before = await side.sql(file);
      await side.sql('alter table quiet add column at timestamptz not null default now()');
      expect(await side.sql(file)).toEqual(before);
    }
    const altered = await lastPass(given);
    expect(altered.reused).toEqual({ untouched: 2, rows: 0, whole: 3 });
    expect(Object.keys(differing(altered))).toEqual(['quiet']);
    for (const side of [source, target]) await side.sql('alter table quiet drop column at');

    // And one whose values print another way since: a label of a type was renamed.
    await proving();
    await source.sql(`alter type mood rename value 'glad' to 'merry'`);
    const renamed = await lastPass(given);
    expect(renamed.reused).toEqual({ untouched: 2, rows: 0, whole: 3 });
    expect(Object.keys(differing(renamed))).toEqual(['quiet']);
    await target.sql(`alter type mood rename value 'glad' to 'merry'`);

    // And one that went by another name for a while: what was written to it then is noted under that.
    await proving();
    for (const side of [source, target]) await side.sql('alter table quiet rename to other');
    await source.sql(`update other set a = 'written' where id = 7`);
    await level(migration);
    await target.sql(`update other set a = 'wrong' where id = 7`);
    for (const side of [source, target]) await side.sql('alter table other rename to quiet');
    const named = await lastPass(given);
    expect(named.reused).toEqual({ untouched: 2, rows: 0, whole: 3 });
    expect(Object.keys(differing(named))).toEqual(['quiet']);
    await target.sql(`update quiet set a = 'written' where id = 7`);

    // Privileges that come and go, as in a cutover, make no difference.
    await proving();
    await source.sql('grant insert on busy, quiet to public; revoke insert on busy, quiet from public');
    expect((await lastPass(given)).reused).toEqual({ untouched: 3, rows: 0, whole: 2 });

    // And once the process was killed in the middle, nobody knows what it wrote last.
    await proving();
    expect((await lastPass(given)).reused).toEqual({ untouched: 3, rows: 0, whole: 2 });
    await using blocker = await target.session();
    await blocker.sql('begin; lock table walferry.position in share mode');
    await source.sql(`update busy set a = 'unseen' where l = 10`);
    await until('the applier waits', async () => {
      const [row] = await target.sql(
        `select count(*) as n from pg_locks where not granted and relation = 'walferry.position'::regclass`,
      );
      return row?.['n'] !== '0';
    });
    migrating.kill('SIGKILL');
    await migrating.exit;
    await blocker.sql('commit');
    await until('its backend is gone', async () => {
      const [row] = await target.sql(
        `select count(*) as n from pg_stat_activity where application_name = 'walferry apply' and datname = current_database()`,
      );
      return row?.['n'] === '0';
    });
    migrating = follow();
    await migrating.waitForOutput(/applying changes from/);
    await level(migration);
    const after = await compareTouched(given);
    expect(differing(after)).toEqual({});
    // Whether its COMMIT got through or not, what it wrote is read.
    expect(after.reused.rows + after.reused.whole).toBeGreaterThanOrEqual(3);
    // And one that the publication was without for a while: what was written to it then is in no stream.
    await proving();
    const [published] = await source.sql(
      `select quote_ident(p.pubname) as name from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
        where r.prrelid = 'quiet'::regclass`,
    );
    const publication = published?.['name'] ?? '';
    await source.sql(`alter publication ${publication} drop table quiet`);
    await source.sql(`update quiet set a = 'unheard of' where id = 8`);
    await source.sql(`alter publication ${publication} add table quiet`);
    await level(migration);
    const unheard = await lastPass(given);
    expect(unheard.reused).toEqual({ untouched: 2, rows: 0, whole: 3 });
    expect(Object.keys(differing(unheard))).toEqual(['quiet']);

    // The run says so too, at the latest at its end position.
    await setEndpos(migration);
    expect((await migrating.exit).code).toBe(23);
    void directory;
  } finally {
    await migrating[Symbol.asyncDispose]();
  }
});

test('a partition that was detached from a published table for a while is read as a whole', async () => {
  // Given a partition that is published by the table above it, and proven,
  await using migration = await openMigration({
    schema: `create table tree (id int primary key, a text) partition by range (id);
      create table leaf partition of tree for values from (0) to (100);
      insert into tree select i, 'x' from generate_series(1, 50) i`,
  });
  const { source } = migration;
  await source.sql('create publication above for table tree');
  await using migrating = run(migration, cloneFollow(migration, '--no-owner', '--publication', 'above'));
  await migrating.waitForOutput(/applying changes from/);
  await until('it applies', () => hasApplied(migration));
  const given = await options(migration);
  await compareData({ ...given, following: given.key });
  await level(migration);
  expect((await lastPass(given)).reused).toEqual({ untouched: 1, rows: 0, whole: 0 });

  // when it is written while it is out of the tree,
  await source.sql('alter table tree detach partition leaf');
  await source.sql(`update leaf set a = 'unheard of' where id = 7`);
  await source.sql('alter table tree attach partition leaf for values from (0) to (100)');
  await level(migration);
  // then that is found, although no stream has told of it.
  expect(differing(await compareTouched(given))).toHaveProperty('leaf');
  await setEndpos(migration);
  expect((await migrating.exit).code).toBe(0);
});
