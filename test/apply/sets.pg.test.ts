/** Sets on real targets: the same rows as one change after the other, and COPY with every text and every failure. */
import { describe, expect, test } from 'vitest';
import type { Lsn } from '../../src/model/lsn.js';
import { unchanged, type Cell } from '../../src/model/row.js';
import type { Relation } from '../../src/model/relation.js';
import type { StreamMessage } from '../../src/model/message.js';
import { silentLog } from '../../src/log.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { copyText } from '../../src/postgres/copy-rows.js';
import { WireSession } from '../../src/postgres/wire-session.js';
import type { TestDatabase } from '../support/databases.js';
import { asPacked } from '../support/packed.js';
import { seededRandom, testSeed } from '../support/random.js';
import { openSilentProxy, serverOf, through } from '../support/silent-proxy.js';
import { until } from '../support/until.js';
import { TestJournal, at, insert, relation, remove, transaction, truncate, update } from './support.js';
import { applied, applying, failure, key, positionOf, preparedTarget } from './target.js';

/** A table of the random streams, and what is in it. */
type Model = {
  readonly relation: Relation;
  /** Columns whose values tell rows apart; empty: rows may be equal. */
  readonly keys: readonly number[];
  /** A column of unique values, beside. */
  readonly unique: number | null;
  /** Columns whose values may be left out of an update. */
  readonly toasted: readonly number[];
  rows: (string | null)[][];
};

/** The same tables in a schema: keys of one and two columns, an identity index, FULL with and without a key. */
const tablesOf = (schema: string) => `
  create schema ${schema};
  create table ${schema}.plain (id int primary key, v text, w text);
  create table ${schema}.pair (a int, b text, u int unique, v text, primary key (b, a));
  create table ${schema}.indexed (id int, code numeric not null unique, v text, w text);
  create table ${schema}.full_key (id int primary key, v text, w text, x int generated always as (id * 2) stored);
  create table ${schema}.full_none (a int, v text, j json);
  create table ${schema}.parts (id int primary key, v text, w text) partition by hash (id);
  create table ${schema}.parts_0 partition of ${schema}.parts for values with (modulus 2, remainder 0);
  create table ${schema}.parts_1 partition of ${schema}.parts for values with (modulus 2, remainder 1);
  create table ${schema}.wider (id int primary key, v text, w text, own text default 'own');
`;

function models(schema: string): Model[] {
  const model = (
    columns: string,
    more: Partial<Model> & { name: string; identity?: Relation['identity'] },
  ): Model => {
    const { name, identity, ...rest } = more;
    const description = relation(`${schema}.${name}`, columns, identity);
    return { relation: description, keys: [0], unique: null, toasted: [1], rows: [], ...rest };
  };
  return [
    model('id*, v, w', { name: 'plain', toasted: [1, 2] }),
    model('a*, b*, u, v', { name: 'pair', keys: [0, 1], unique: 2, toasted: [3] }),
    model('id, code*, v, w', { name: 'indexed', identity: 'index', keys: [1], toasted: [2] }),
    model('id, v, w', { name: 'full_key', identity: 'full' }),
    model('a, v, j', { name: 'full_none', identity: 'full', keys: [], toasted: [] }),
    model('id*, v, w', { name: 'parts' }),
    model('id*, v, w', { name: 'wider' }),
  ];
}

const texts = ['', 'a', 'b', '\\N', '\\.', 'tab\tbed', 'two\nlines', 'c:\\path', 'ünï', null];

/** Random changes that a source could have made, applied to the models as they are made. */
class RandomStream {
  readonly #random: () => number;
  readonly models: Model[];
  #fresh = 0;

  constructor(seed: number, schema: string) {
    this.#random = seededRandom(seed);
    this.models = models(schema);
  }

  transactions(count: number): StreamMessage[] {
    return Array.from({ length: count }, (_, n) => {
      const changes = Array.from({ length: 1 + this.#below(12) }, () => this.#change());
      return transaction(200 + n * 100, changes);
    })
      .flat()
      .map((message) =>
        message.kind === 'change' && this.#random() < 0.5
          ? { ...message, change: asPacked(message.change) }
          : message,
      );
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)] as T;
  }

  #change(): ReturnType<typeof insert> {
    const model = this.#pick(this.models);
    const dice = this.#random();
    if (dice < 0.005) {
      model.rows = [];
      return truncate([model.relation]);
    }
    const row = this.#freeRow(model);
    if (row !== null && (model.rows.length === 0 || dice < 0.35)) {
      model.rows.push(row);
      return insert(model.relation, ...row);
    }
    const index = this.#below(model.rows.length);
    const old = model.rows[index] as (string | null)[];
    const oldKey = model.relation.key.map((position) => old[position] ?? null);
    if (row === null || dice < 0.55) {
      model.rows.splice(index, 1);
      return remove(model.relation, ...oldKey);
    }
    const keyChanges = this.#random() < 0.2;
    const next = row;
    if (!keyChanges) for (const position of model.keys) next[position] = old[position] as string;
    const sent: Cell[] = [...next];
    for (const position of model.toasted) {
      if (this.#random() < 0.7) continue;
      next[position] = old[position] as string | null;
      sent[position] = unchanged;
    }
    model.rows[index] = next;
    const sendsKey = model.relation.identity === 'full' || keyChanges || this.#random() < 0.1;
    return update(model.relation, sent, sendsKey ? oldKey : null);
  }

  /** A row whose key and unique value no other row has, if one is found; keys come back often. */
  #freeRow(model: Model): (string | null)[] | null {
    for (let tries = 0; tries < 100; tries += 1) {
      const row = model.relation.columns.map((column, position): string | null => {
        if (column.name === 'j') return this.#pick(['{"a": 1}', '{"a":1}', '[]', null]);
        if (position === model.unique)
          return this.#random() < 0.5 ? String(this.#below(40)) : String((this.#fresh += 1) + 100);
        if (model.keys.includes(position) || column.name === 'a' || column.name === 'id') {
          return column.name === 'code' ? `${this.#below(15)}.50` : String(this.#below(15));
        }
        return this.#pick(texts);
      });
      const same = (a: readonly (string | null)[], columns: readonly number[]) =>
        model.rows.some((other) => columns.every((position) => other[position] === a[position]));
      if (model.keys.length > 0 && same(row, model.keys)) continue;
      if (model.unique !== null && same(row, [model.unique])) continue;
      return row;
    }
    return null;
  }
}

async function rowsOf(
  target: TestDatabase,
  { relation: { schema, name, columns } }: Model,
): Promise<string[]> {
  const list = columns.map((column) => `"${column.name}"`).join(', ');
  const rows = await target.sql(`select ${list} from ${schema}.${name}`);
  return rows.map((row) => JSON.stringify(columns.map((column) => row[column.name]))).toSorted();
}

test(
  'sets leave the same rows as one change after the other, for random streams',
  { timeout: 120_000 },
  async () => {
    const seed = testSeed('sets');
    await using target = await preparedTarget(`${tablesOf('sets')} ${tablesOf('strict')}`);
    await target.sql(
      `insert into walferry.position select 'strict', system_identifier, database, lsn from walferry.position`,
    );
    for (let round = 0; round < 12; round += 1) {
      const streams = {
        sets: new RandomStream(seed + round, 'sets'),
        strict: new RandomStream(seed + round, 'strict'),
      };
      const count = round % 3 === 0 ? 150 : 20;
      const batch = [1000, 7, 1][round % 3] as number;
      await target.sql(`update walferry.position set lsn = '0/64'`);
      for (const model of [...streams.sets.models, ...streams.strict.models]) {
        await target.sql(`truncate ${model.relation.schema}.${model.relation.name}`);
      }
      const run = (messages: StreamMessage[], strict: boolean) =>
        applying(target, new TestJournal(messages, { closed: true, batch }), {
          strict,
          key: { ...key, stream: strict ? 'strict' : key.stream },
        });
      await run(streams.sets.transactions(count), false);
      await run(streams.strict.transactions(count), true);
      for (const [n, model] of streams.sets.models.entries()) {
        const expected = model.rows.map((row) => JSON.stringify(row)).toSorted();
        const place = `round ${round}, ${model.relation.name}`;
        expect([place, await rowsOf(target, model)]).toEqual([place, expected]);
        expect([place, await rowsOf(target, streams.strict.models[n] as Model)]).toEqual([place, expected]);
      }
    }
  },
);

describe('inserts by COPY', () => {
  const many = <T>(count: number, make: (n: number) => T): T[] =>
    Array.from({ length: count }, (_, n) => make(n));
  const t = relation('t', 'id*, v');

  test('keep every text as it was', async () => {
    const hostile = [
      '',
      '\\',
      '\\\\',
      '\\.',
      '\\N',
      '\\n',
      '\n',
      '\r',
      '\r\n',
      '\t',
      '\b\f\v',
      '\\x41',
      '\\101',
      '"\'',
      'NULL',
      '𝄞 ünï',
      '\u0001',
      'x'.repeat(100_000),
      null,
    ];
    await using target = await preparedTarget(
      'create table t (id int primary key, v text); create table one (v text)',
    );
    const rows = many(200, (n) => hostile[n % hostile.length] as string | null);
    const one = relation('one', 'v', 'full');
    await applied(
      target,
      transaction(200, [
        ...rows.map((value, n) => insert(t, String(n), value)),
        ...rows.map((value) => insert(one, value)),
      ]),
    );
    const found = await target.sql('select v from t order by id');
    expect(found.map(({ v }) => v)).toEqual(rows);
    const ones = await target.sql('select v from one');
    expect(ones.map(({ v }) => v)).toEqual(rows);
  });

  test('fill identity columns as the source did, leave generated ones out, and reach partitions', async () => {
    await using target = await preparedTarget(`
      create table g (id int generated always as identity primary key, n int, twice int generated always as (n * 2) stored);
      create table p (id int primary key, v char(5), b bytea, a int[]) partition by range (id);
      create table p_low partition of p for values from (0) to (50);
      create table p_high partition of p for values from (50) to (1000)`);
    const g = relation('g', 'id*, n, twice');
    const p = relation('p', 'id*, v, b, a');
    await applied(
      target,
      transaction(200, [
        ...many(60, (n) => insert(g, String(n + 500), String(n), 'not this')),
        ...many(100, (n) => insert(p, String(n), 'ab   ', '\\x00ff5c', '{1,NULL,3}')),
      ]),
    );
    expect(await target.sql('select min(id), max(id), count(*), sum(twice) from g')).toEqual([
      { min: '500', max: '559', count: '60', sum: '3540' },
    ]);
    expect(
      await target.sql(`select tableoid::regclass::text as part, count(*) from p
        where b = '\\x00ff5c' and a = '{1,NULL,3}' and v = 'ab' group by 1 order by 1`),
    ).toEqual([
      { part: 'p_high', count: '50' },
      { part: 'p_low', count: '50' },
    ]);
  });

  test('with a value that the target refuses stop right before their transaction, whatever follows', async () => {
    await using target = await preparedTarget('create table t (id int primary key, v varchar(3))');
    const error = await failure(
      applied(target, [
        ...transaction(200, [insert(t, '1', 'a')]),
        ...transaction(
          300,
          many(3000, (n) => insert(t, String(n + 10), n === 1700 ? 'long' : 'x')),
          { xid: 9 },
        ),
        ...transaction(
          400,
          many(100, (n) => insert(t, String(n + 5000), 'x')),
        ),
      ]),
    );
    expect(error.code).toBe('target-statement');
    expect(error.message).toContain('insert of public.t of transaction 9');
    expect(await target.sql('select * from t')).toEqual([{ id: '1', v: 'a' }]);
    // Put right, it goes on from there.
    await target.sqlAsOwner('alter table t alter v type text');
  });

  test('do not lose a row to a trigger that came later', async () => {
    await using target = await preparedTarget('create table t (id int primary key, v text)');
    const journal = new TestJournal(
      transaction(
        200,
        many(100, (n) => insert(t, String(n), 'x')),
      ),
    );
    const running = applying(target, journal);
    await until('it is applied', async () => (await positionOf(target)) === '0/C8');
    await target.sqlAsOwner(`
      create function swallow_even() returns trigger language plpgsql as 'begin if new.id % 2 = 0 then return null; end if; return new; end';
      create trigger swallow before insert on t for each row execute function swallow_even()`);
    journal.feed(
      ...transaction(
        300,
        many(100, (n) => insert(t, String(n + 200), 'x')),
      ),
    );
    const error = await failure(running);
    expect(error.message).toContain('made 0 rows instead of one: a trigger');
    expect(await target.sql('select count(*) from t')).toEqual([{ count: '100' }]);
  });

  test('a session goes on after a COPY failed or was skipped', async () => {
    await using target = await preparedTarget('create table c (id int primary key, v text)');
    const session = await WireSession.open(readConninfo(target.neonUri, {}), {
      side: 'target',
      applicationName: 'walferry test',
      log: silentLog,
    });
    try {
      const rows = (from: number, wrong: number | null) =>
        copyText({
          count: 5000,
          columns: 2,
          cellOf: (row, column) =>
            column === 1 ? 'y'.repeat(40) : row === wrong ? 'wrong' : String(from + row),
        });
      const statement = (sql: string) => session.send({ sql, parameters: [] });
      // 1. The COPY itself fails in the middle of its data; what follows in the unit is skipped, COMMIT included.
      statement('begin');
      session.sendCopy('copy public.c (id, v) from stdin', rows(0, 2500));
      statement('commit');
      const failed = session.sync();
      // 2. A unit behind it, with a COPY, is refused.
      statement('begin');
      session.sendCopy('copy public.c (id, v) from stdin', rows(10_000, null));
      statement('commit');
      const refused = session.sync();
      expect((await failed).error?.code).toBe('22P02');
      expect((await failed).executed).toBe(1);
      expect((await refused).error?.code).toBe('25P02');
      await session.settle();
      // 3. A statement fails before the COPY: its data is skipped.
      statement('begin');
      statement('select 1/0');
      session.sendCopy('copy public.c (id, v) from stdin', rows(20_000, null));
      expect((await session.sync()).error?.code).toBe('22012');
      await session.settle();
      // 4. All well, and more statements behind it in the same unit.
      statement('begin');
      session.sendCopy('copy public.c (id, v) from stdin', rows(30_000, null));
      statement('update public.c set v = v where id = 30000');
      statement('commit');
      expect(await session.sync()).toMatchObject({ error: null, tag: 'COMMIT', executed: 4 });
      expect(await session.query('select count(*), min(id) from public.c')).toEqual([['5000', '30000']]);
      // 5. What the same COPY brings next goes on in it, until something else is sent.
      statement('begin');
      for (const from of [40_000, 50_000])
        session.sendCopy('copy public.c (id, v) from stdin', rows(from, null));
      session.sendCopy('copy public.c (v, id) from stdin', [Buffer.from('other\t1\n')]);
      expect(await session.sync()).toMatchObject({ error: null, tag: 'COPY 1', executed: 3 });
      session.sendCopy('copy public.c (id, v) from stdin', [Buffer.from('2\tother\n')]);
      expect(await session.query('select count(*), min(id) from public.c')).toEqual([['15002', '1']]);
      session.sendCopy('copy public.c (id, v) from stdin', [Buffer.from('3\tother\n')]);
      statement('commit');
      expect(await session.sync()).toMatchObject({ error: null, tag: 'COMMIT', executed: 2 });
      // 6. One that is open does not keep the session from being settled.
      statement('begin');
      session.sendCopy('copy public.c (id, v) from stdin', [Buffer.from('4\tother\n')]);
      session.flush();
      await session.settle();
      expect(await session.query('select count(*) from public.c')).toEqual([['15003']]);
    } finally {
      session.close();
    }
  });
});

test('values that swap under a second unique constraint are learned from: the next sets take them as they come', async () => {
  await using target = await preparedTarget('create table r (id int primary key, u int unique, v text)');
  const r = relation('r', 'id*, u, v');
  const warnings: string[] = [];
  const log = { ...silentLog, notice: (text: string) => void warnings.push(text) };
  const swaps = Array.from({ length: 8 }, (_, n) =>
    transaction(300 + n * 100, [
      update(r, ['1', '9', 'a']),
      update(r, ['2', n % 2 === 0 ? '1' : '2', 'b']),
      update(r, ['1', n % 2 === 0 ? '2' : '1', 'c']),
    ]),
  );
  const journal = new TestJournal(transaction(200, [insert(r, '1', '1', ''), insert(r, '2', '2', '')]));
  const running = applying(target, journal, { log });
  for (const swap of swaps) {
    journal.feed(...swap);
    const end = swap.at(-1);
    if (end?.kind === 'commit')
      await until(
        'it is applied',
        async () => (await positionOf(target)) === `0/${end.endLsn.toString(16).toUpperCase()}`,
      );
  }
  journal.close();
  expect((await running).applied).toBe(at(1000));
  expect(warnings.filter((text) => text.includes('one by one')).length).toBeLessThanOrEqual(1);
  expect(await target.sql('select id, u from r order by id')).toEqual([
    { id: '1', u: '1' },
    { id: '2', u: '2' },
  ]);
});

test('a lost reply to the COMMIT that ends what is applied one by one is no reason to go on so', async () => {
  await using target = await preparedTarget(`create table r (id int primary key, u int unique, v text);
    insert into r values (1, 1, ''), (2, 2, ''); create table slow (id int primary key);
    create function wait() returns trigger language plpgsql as
      'begin perform pg_advisory_xact_lock(7); return null; end';
    create constraint trigger wait after insert on slow deferrable initially deferred
      for each row execute function wait();`);
  const [r, slow] = [relation('r', 'id*, u, v'), relation('slow', 'id*')];
  await using proxy = await openSilentProxy(serverOf(target.neonUri));
  const said: string[] = [];
  const log = { ...silentLog, notice: (text: string) => void said.push(text) };
  const swap = transaction(300, [
    update(r, ['1', '9', 'a']),
    update(r, ['2', '1', 'b']),
    update(r, ['1', '2', 'c']),
    insert(slow, '1'),
  ]);
  const later = Array.from({ length: 50 }, (_, n) =>
    transaction(400 + n * 10, [insert(r, String(n + 3), String(n + 3), '')]),
  ).flat();
  // A file in which everything is applied is not read again.
  const openSource = (from: Lsn) => new TestJournal(from >= at(300) ? later : swap).open(from);
  await using locking = await target.session();
  await locking.sql('select pg_advisory_lock(7)');
  const commits: Lsn[] = [];
  const running = applying(target, new TestJournal(), {
    target: readConninfo(through(target.neonUri, proxy), {}),
    openSource,
    guard: false,
    log,
    endpos: () => at(890),
    onApplied: (lsn) => void commits.push(lsn),
  });

  // Given a set that did not go, whose changes went one by one, and that is being committed,
  await until('its COMMIT waits', async () => {
    const rows = await target.sql(
      `select from pg_locks where locktype = 'advisory' and objid = 7 and not granted`,
    );
    return rows.length === 1;
  });
  expect(said.join()).toContain('one by one');
  // when its reply is lost,
  proxy.swallow();
  await locking.sql('select pg_advisory_unlock(7)');
  await until('it is committed', async () => (await positionOf(target)) === '0/12C');
  proxy.cut();
  // then what follows goes together again.
  expect((await running).applied).toBe(at(890));
  expect(commits.filter((lsn) => lsn > at(300)).length).toBeLessThan(10);
});
