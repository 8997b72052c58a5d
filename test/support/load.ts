/**
 * A ledger under load: transfers that keep a sum, an append-only table, TOAST values that are left alone and touched,
 * rows that come and go, several tables in each transaction. What the load did can be checked without a second copy:
 * the sum of the accounts never changes, and `journal` counts the transfers.
 */
import pg from 'pg';
import type { TestDatabase } from './databases.js';

export const ledgerSchema = `
  create table account (id int primary key, owner text not null, balance numeric(20, 2) not null, note text);
  create table journal (id bigint generated always as identity primary key, from_id int not null references account,
    to_id int not null references account, amount numeric(20, 2) not null, at timestamptz not null default now());
  create table ticket (id uuid primary key default gen_random_uuid(), state text not null, body text);
  create table event (at timestamptz not null default clock_timestamp(), kind text, detail jsonb);
  alter table event replica identity full;
  insert into account select i, 'owner ' || i, 1000, repeat(md5(i::text), 200) from generate_series(1, 200) i;
  alter table account alter column note set storage external;
  insert into ticket (state, body) select 'new', md5(i::text) from generate_series(1, 500) i;
  insert into event (kind, detail) select 'start', jsonb_build_object('i', i % 7) from generate_series(1, 100) i;
`;

export type Load = {
  /** Stops after the transactions under way; gives how many were committed. Throws what a client met. */
  stop(): Promise<number>;
};

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

async function transact(client: pg.Client): Promise<void> {
  const from = 1 + random(200);
  const to = 1 + ((from + random(199)) % 200);
  const amount = `${random(1000)}.${10 + random(89)}`;
  await client.query('begin');
  // Locked in one order, or the load would meet deadlocks of its own making.
  await client.query('select 1 from account where id in ($1, $2) order by id for update', [from, to]);
  await client.query('update account set balance = balance - $2 where id = $1', [from, amount]);
  await client.query('update account set balance = balance + $2 where id = $1', [to, amount]);
  await client.query('insert into journal (from_id, to_id, amount) values ($1, $2, $3)', [from, to, amount]);
  switch (random(8)) {
    case 0:
      await client.query('update account set note = repeat(md5(random()::text), 200) where id = $1', [from]);
      break;
    case 1:
      await client.query(
        `insert into ticket (state, body) select 'new', md5(i::text) from generate_series(1, 5) i`,
      );
      break;
    case 2:
      await client.query(
        `update ticket set state = 'seen' where id in (select id from ticket limit 3 for update skip locked)`,
      );
      break;
    case 3:
      await client.query(
        `delete from ticket where id in (select id from ticket limit 2 for update skip locked)`,
      );
      break;
    case 4:
      await client.query(
        `insert into event (kind, detail) values ('load', jsonb_build_object('i', $1::int)), (null, null)`,
        [random(7)],
      );
      break;
    case 5:
      await client.query(
        `delete from event where ctid in (select ctid from event where kind is not null limit 1 for update skip locked)`,
      );
      break;
    default:
      break;
  }
  await client.query(random(20) === 0 ? 'rollback' : 'commit');
}

/** Starts `clients` connections that write as fast as they are answered, with `pauseMs` between transactions. */
export async function startLoad(database: TestDatabase, clients: number, pauseMs = 0): Promise<Load> {
  let running = true;
  let count = 0;
  const failures: unknown[] = [];
  const one = async () => {
    const client = new pg.Client(database.uri);
    // A server that goes away below an idle client; the next statement says so.
    client.on('error', () => {});
    await client.connect();
    try {
      while (running) {
        await transact(client);
        count += 1;
        if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    } catch (error) {
      failures.push(error);
    } finally {
      await client.end();
    }
  };
  const all = Array.from({ length: clients }, one);
  return {
    stop: async () => {
      running = false;
      await Promise.all(all);
      if (failures.length > 0) throw failures[0];
      return count;
    },
  };
}
