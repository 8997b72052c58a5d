import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { startServer } from '../support/clusters.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { cloneFor } from './clone-for.js';
import { dumpText } from './dump-text.js';

const tables = 100;

/** Each with a sequence, a default, a comment and a key. */
async function fill(source: TestDatabase): Promise<void> {
  await source.sql(`do $$ begin for n in 1..${tables} loop
    execute format('create table t_%s (id serial primary key, at timestamptz default ''2026-01-01 00:00+02'', note text)', n);
    execute format('comment on table t_%s is ''number %s''', n, n);
    execute format('insert into t_%s (note) values (''row of %s'')', n, n);
    end loop; end $$;
    create table parent (id integer, at date) partition by range (at);
    create table part_1 partition of parent for values from ('2026-01-01') to ('2026-02-01');
    create table part_2 partition of parent default;
    alter table parent add column more text default E'a\nb';`);
}

/** In how many transactions the tables were made. */
async function transactions(target: TestDatabase): Promise<number> {
  const [row] = await target.sql(
    `select count(distinct xmin::text) as n from pg_type where typname ~ '^(t_|pa)' and typtype = 'c'`,
  );
  return Number(row?.['n']);
}

test('many tables are made in few transactions, and are as the source has them', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await fill(source);
  await using run = await cloneFor(source, target);

  await run.clone();

  expect(await dumpText(target)).toBe(await dumpText(source));
  expect(await transactions(target)).toBeLessThan(tables / 5);
  expect(run.said).toEqual([]);
});

test('a server with few places for locks is asked for fewer at a time', async () => {
  await using server = await startServer('target', {
    settings: { max_locks_per_transaction: '10', max_connections: '20' },
  });
  await using source = await createDatabase('source');
  await using target = await createDatabase('target', { server });
  await fill(source);
  await using run = await cloneFor(source, target);

  await run.clone();

  expect(await dumpText(target)).toBe(await dumpText(source));
  const made = await transactions(target);
  expect(made).toBeGreaterThan(10);
  expect(made).toBeLessThan(tables);
});

test('a statement that is refused is told of its object alone, and everything is made', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  const role = `nobody_${randomBytes(4).toString('hex')}`;
  await fill(source);
  await source.sql(`create role ${role}; alter table t_77 owner to ${role}`);
  try {
    await using run = await cloneFor(source, target);

    const { problems } = await run.clone();

    expect(problems.map(({ object, message }) => [object, message])).toEqual([
      [`TABLE public t_77 ${role}`, `role "${role}" does not exist`],
      [`SEQUENCE public t_77_id_seq ${role}`, `role "${role}" does not exist`],
    ]);
    await source.sql('alter table t_77 owner to postgres');
    expect(await dumpText(target)).toBe(await dumpText(source));
  } finally {
    await source.sql(`drop owned by ${role}; drop role ${role}`);
  }
});

test('a text of the schema that looks like the head of an entry is no entry', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await fill(source);
  await source.sql(
    String.raw`comment on table t_5 is E'x\n--\n-- Name: t_6; Type: TABLE; Schema: public; Owner: -\n--\ndrop table t_1;\n'`,
  );
  await using run = await cloneFor(source, target);

  await run.clone();

  expect(await dumpText(target)).toBe(await dumpText(source));
});

test('without comments they are left out, and the rest goes together', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await fill(source);
  await using run = await cloneFor(source, target);

  await run.clone({ noComments: true });

  expect(await dumpText(target)).toBe(await dumpText(source, '--no-comments'));
  expect(await transactions(target)).toBeLessThan(tables / 5);
});

test('functions and views go together as well, but for those around one that is refused', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  const role = `nobody_${randomBytes(4).toString('hex')}`;
  await source.sql(`do $$ begin for n in 1..250 loop
    execute format('create function f_%s() returns text language sql as %L', n, E'\n--\n-- select ' || n || E'\nselect ''' || n || '''');
    end loop; end $$;
    create role ${role}; alter function f_200() owner to ${role}`);
  try {
    await using run = await cloneFor(source, target);

    const { problems } = await run.clone();

    expect(problems.map(({ object }) => object)).toEqual([`FUNCTION public f_200() ${role}`]);
    await source.sql('alter function f_200() owner to postgres');
    expect(await dumpText(target)).toBe(await dumpText(source));
    const [row] = await target.sql(
      `select count(distinct xmin::text) as n from pg_proc where proname ~ '^f_'`,
    );
    // One statement each for the hundred around it, and for ALTER … OWNER, which makes a row anew.
    expect(Number(row?.['n'])).toBeLessThan(110);
  } finally {
    await source.sql(`drop owned by ${role}; drop role ${role}`);
  }
});

test('where everything is refused, each is told, and everything is made', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  const role = `nobody_${randomBytes(4).toString('hex')}`;
  await fill(source);
  await source.sql(`create role ${role}; do $$ begin for n in 1..${tables} loop
    execute format('alter table t_%s owner to ${role}', n); end loop; end $$`);
  try {
    await using run = await cloneFor(source, target);

    const { problems } = await run.clone();

    const message = `role "${role}" does not exist`;
    expect(problems.filter((one) => one.message === message)).toHaveLength(2 * tables);
    expect(await dumpText(target, '--no-owner')).toBe(await dumpText(source, '--no-owner'));
  } finally {
    await source.sql(`drop owned by ${role}; drop role ${role}`);
  }
});

test('a source where backslashes escape has the same defaults, checks and policies on the target', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await fill(source);
  await source.sql(
    String.raw`
    create table odd (id integer primary key, place text default 'C:\dir', note text check (note ~ '^\w'));
    comment on table odd is 'a\b';
    alter table odd enable row level security;
    create policy own on odd using (note <> 'x\y')`,
  );
  await source.sql(`alter database ${source.name} set standard_conforming_strings to off`);
  await using run = await cloneFor(source, target);

  await run.clone();

  await source.sql(`alter database ${source.name} reset standard_conforming_strings`);
  await target.sql(`alter database ${target.name} reset standard_conforming_strings`);
  expect(await dumpText(target)).toBe(await dumpText(source));
});

test('money is read by the locale of the target, as by pg_restore', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await fill(source);
  await target.sql(`alter database ${target.name} set lc_monetary to 'POSIX';
    create table public.seen (setting text, application text);
    create function public.see() returns event_trigger language plpgsql as
      $$ begin insert into public.seen values (current_setting('lc_monetary'), current_setting('application_name')); end $$;
    create event trigger see on ddl_command_start when tag in ('CREATE TABLE') execute function public.see()`);
  await using run = await cloneFor(source, target);

  await run.clone();

  const [seen] = await target.sql(
    `select count(*) as n, min(setting), max(setting) from seen where application = 'walferry restore'`,
  );
  expect(Number(seen?.['n'])).toBeGreaterThanOrEqual(tables);
  expect(seen).toMatchObject({ min: 'POSIX', max: 'POSIX' });
});
