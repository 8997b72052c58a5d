/** Targets whose foreign keys, triggers and identity columns are there already. */
import { describe, expect, test } from 'vitest';
import { apply } from '../../src/apply/apply.js';
import { restoreGuarded, validateGuarded } from '../../src/apply/guard-restore.js';
import { silentLog } from '../../src/log.js';
import { zeroLsn } from '../../src/model/lsn.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { TestJournal, at, insert, relation, remove, transaction, truncate, update } from './support.js';
import { failure, key, preparedTarget } from './target.js';
import type { StreamMessage } from '../../src/model/message.js';

const schema = `
  create table author (id int generated always as identity primary key, name text);
  create table book (id int primary key, author int not null references author on delete cascade, title text);
  comment on constraint book_author_fkey on book is 'who''s it';
  create table unchecked (id int primary key, author int);
  alter table unchecked add constraint unchecked_key foreign key (author) references author not valid;
  create table log (what text);
  create function note() returns trigger language plpgsql as $$
    begin insert into public.log values (tg_op); return null; end $$;
  create trigger plain after insert or delete on book for each row execute function note();
  create trigger always after insert on book for each row execute function note();
  alter table book enable always trigger always;
  create trigger off after insert on book for each row execute function note();
  alter table book disable trigger off;
  insert into author (name) values ('a'), ('b'), ('c');
  create rule also as on insert to author do also insert into public.log values ('rule');
  create table part (id int primary key, author int references author) partition by range (id);
  create table part_1 partition of part for values from (0) to (100);
  create trigger of_part after insert on part for each row execute function note()`;

/** What must be the same before and after. */
const state = `
  select 'key' as what, conrelid::regclass::text || ' ' || conname as name,
    pg_get_constraintdef(oid) || convalidated || coalesce(obj_description(oid, 'pg_constraint'), '') as is
  from pg_constraint where contype = 'f'
  union all select 'trigger', tgrelid::regclass || ' ' || tgname, tgenabled::text from pg_trigger where not tgisinternal
  union all select 'rule', ev_class::regclass || ' ' || rulename, ev_enabled::text from pg_rewrite where rulename = 'also'
  union all select 'identity', attrelid::regclass || ' ' || attname, attidentity::text from pg_attribute where attidentity <> ''
  order by 1, 2`;

const author = relation('author', 'id*, name');
const book = relation('book', 'id*, author, title');
const unchecked = relation('unchecked', 'id*, author');
const part = relation('part_1', 'id*, author');

/** A cascade, as the source sent it; children before parents; a key that changes; two tables emptied by one command. */
const stream: StreamMessage[] = [
  ...transaction(200, [
    insert(book, '1', '1', 'x'),
    insert(book, '2', '1', 'y'),
    insert(book, '3', '2', 'z'),
  ]),
  ...transaction(300, [remove(author, '1'), remove(book, '1'), remove(book, '2')]),
  ...transaction(400, [update(author, ['20', 'b'], ['2']), update(book, ['3', '20', 'z'])]),
  ...transaction(500, [insert(unchecked, '1', '20'), insert(author, '30', 'n'), insert(part, '5', '30')]),
  ...transaction(600, [truncate([book, unchecked]), insert(book, '4', '30', 'last')]),
];

const roles = { 'an ordinary owner': 'neonUri', 'a superuser': 'uri' } as const;

function running(uri: string, messages: readonly StreamMessage[]) {
  return apply({
    openSource: new TestJournal(messages, { closed: true }).open,
    target: readConninfo(uri, {}),
    key,
    endpos: () => zeroLsn,
    signal: new AbortController().signal,
    log: silentLog,
    onApplied: () => {},
    guard: true,
  });
}

async function restore(uri: string): Promise<void> {
  await restoreGuarded(guarded(uri));
  await validateGuarded(guarded(uri));
}

function guarded(uri: string) {
  const { signal } = new AbortController();
  return { target: readConninfo(uri, {}), key, log: silentLog, signal };
}

describe.each(Object.entries(roles))('as %s', (_, uriOf) => {
  test('nothing fires while changes are applied, and all is as before at the end', async () => {
    await using target = await preparedTarget(schema);
    const before = await target.sql(state);
    expect((await running(target[uriOf], stream)).applied).toBe(at(600));

    expect(await target.sql('select * from book')).toEqual([{ id: '4', author: '30', title: 'last' }]);
    expect(await target.sql('select id from author order by id')).toEqual([
      { id: '3' },
      { id: '20' },
      { id: '30' },
    ]);
    expect(await target.sql('select * from part')).toEqual([{ id: '5', author: '30' }]);
    expect(await target.sql('select * from log')).toEqual([]);
    expect(await target.sql(state)).not.toEqual(before);

    await restore(target[uriOf]);
    expect(await target.sql(state)).toEqual(before);
    expect(await target.sql('select * from walferry.guard')).toEqual([]);
    // And again, with nothing to do.
    await restore(target[uriOf]);
    expect(await target.sql(state)).toEqual(before);
  });
});

test('foreign keys are there before they are validated, which passes over one that is gone again', async () => {
  await using target = await preparedTarget(schema);
  await running(target.neonUri, stream);
  await restoreGuarded(guarded(target.neonUri));
  // A partitioned table's key cannot be left for later before 18.
  const open = `select conrelid::regclass::text as table from pg_constraint
    where contype = 'f' and not convalidated and conparentid = 0 and conrelid <> 'part'::regclass order by 1`;
  expect(await target.sql(open)).toEqual([{ table: 'book' }, { table: 'unchecked' }]);
  await expect(target.sql(`insert into book values (50, -1, 'new')`)).rejects.toThrow(/foreign key/);
  await target.sql('alter table book drop constraint book_author_fkey');
  await validateGuarded(guarded(target.neonUri));
  expect(await target.sql(open)).toEqual([{ table: 'unchecked' }]);
  expect(await target.sql('select * from walferry.guard')).toEqual([]);
});

test('what an interrupted run switched off is put back by whoever comes next', async () => {
  await using target = await preparedTarget(schema);
  const before = await target.sql(state);
  // The second half of the stream has a change that cannot be applied.
  await failure(running(target.neonUri, [...stream, ...transaction(700, [remove(book, '99')])]));
  expect(await target.sql(state)).not.toEqual(before);
  // Another run of the same stream finds it off, and records nothing else.
  await running(target.neonUri, [...stream, ...transaction(700, [insert(book, '99', '3', 'new')])]);
  await restore(target.neonUri);
  expect(await target.sql(state)).toEqual(before);
});

test('a foreign key that was added again meanwhile is left as it is, a table that is gone is passed over', async () => {
  await using target = await preparedTarget(schema);
  await running(target.neonUri, stream);
  await target.sqlAsOwner(`
    alter table book add constraint book_author_fkey foreign key (author) references author; drop table unchecked`);
  await restore(target.neonUri);
  expect(
    await target.sql(`select conname from pg_constraint where contype = 'f' and conrelid = 'book'::regclass`),
  ).toEqual([{ conname: 'book_author_fkey' }]);
  expect(await target.sql('select * from walferry.guard')).toEqual([]);
});

test('row security that applies to the role is refused', async () => {
  await using target = await preparedTarget(`
    create table author (id int primary key, name text);
    alter table author enable row level security; alter table author force row level security`);
  // The usual owner of these tests may bypass it, as on Neon.
  await target.sql(`
    create role "${target.name}" login password 'secret';
    grant all on author to "${target.name}"; grant all on schema walferry to "${target.name}";
    grant all on all tables in schema walferry to "${target.name}"`);
  const { host, pathname } = new URL(target.uri);
  const uri = `postgres://${target.name}:secret@${host}${pathname}`;
  const error = await failure(running(uri, transaction(200, [insert(author, '1', 'a')])));
  expect([error.code, error.message]).toEqual(['target-setup', expect.stringContaining('public.author')]);
});

test('a role that may not alter what fires is told so', async () => {
  await using target = await preparedTarget('create table own (id int primary key)');
  await target.sql(`
    create table author (id int primary key, name text);
    create table book (id int primary key, author int references author);
    grant all on author, book to public`);
  const error = await failure(running(target.neonUri, transaction(200, [insert(author, '1', 'a')])));
  expect(error.code).toBe('target-rights');
  expect(error.message).toContain('public.author');
});
