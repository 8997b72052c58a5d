/** Rows into tables that somebody else has made, with the foreign keys that these have. */
import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { copyRowsOnly, dumpSource } from '../../src/clone/steps.js';
import { createDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { cloneFor, type CloneFor } from './clone-for.js';

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (thrown instanceof Failure) return thrown;
  throw new Error(`expected a Failure, got ${String(thrown)}`);
}

const shop = `
  create table customer (id int primary key, note text);
  create table visit (customer int references customer);
  create table bought (customer int references customer, day int) partition by list (day);
  create table bought_1 partition of bought for values in (1);
  create table paid (customer int references customer, boss int, id int primary key references paid);
  create table line (paid int references paid);`;

const rows = `
  insert into customer select i, repeat('note ', 500) from generate_series(1, 2000) i;
  alter table customer alter note set storage plain;
  insert into customer select i, repeat('note ', 100) from generate_series(2001, 5000) i;
  insert into visit select 1 + i from generate_series(1, 100) i;
  insert into bought values (7, 1); insert into paid values (8, null, 1); insert into line values (1)`;

async function copy(run: CloneFor, restart: boolean): Promise<void> {
  await copyRowsOnly({ ...run.options, dropIfExists: restart }, { andTheRest: false });
}

describe('rows of a table that foreign keys of the target point at', () => {
  test('are copied, though it is large: it cannot be truncated for FREEZE', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${shop}${rows}; analyze`);
    await target.sql(shop);
    await using run = await cloneFor(source, target);
    await dumpSource(run.options);

    await copy(run, false);

    await expectEqual(source, target);
  });

  test('are replaced, also where a table that points at it is empty, or partitioned', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${shop}${rows}`);
    await target.sql(`${shop} insert into customer values (-1, 'theirs'); insert into bought values (-1, 1);
      create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
      create trigger refuse before truncate on customer execute function refuse()`);
    await using run = await cloneFor(source, target);
    await dumpSource(run.options);

    await copy(run, true);

    await expectEqual(source, target);
  });

  test('are replaced beside an empty table that the source does not have, and not under rows of one', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${shop}${rows}`);
    await target.sql(`${shop} insert into customer values (-1, 'theirs');
      create table extra (customer int references customer)`);
    await using run = await cloneFor(source, target);
    await dumpSource(run.options);
    await copy(run, true);
    expect(await target.sql('select count(*) from customer')).toEqual([{ count: '5000' }]);
    await target.sql('insert into extra values (1)');

    const failure = await failureOf(copy(run, true));

    expect(failure.code).toBe('target-not-empty');
    expect(failure.message).toBe(
      'the tables cannot be emptied: on the target foreign keys point at them from tables that hold rows and are not copied: public.extra',
    );
    expect(await target.sql('select count(*) from customer')).toEqual([{ count: '5000' }]);
  });
});
