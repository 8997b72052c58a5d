/**
 * The shop's customers: several connections that write all the time. Each transaction touches several tables; some
 * update a row whose TOASTed description stays as it is, some rewrite it, some delete, a few roll back.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** What was committed. A change is one row inserted, updated or deleted, those of triggers and cascades included. */
export type LoadFigures = {
  readonly transactions: number;
  readonly changes: number;
  /** Times that a connection was ended by the server, or told that it takes no writes. */
  readonly refusals: number;
  /** When the last transaction was committed, in milliseconds of the epoch. */
  readonly lastCommitAt: number;
};

export type Load = {
  /** Up to now. */
  figures(): LoadFigures;
  /** Lets every connection finish its transaction; throws what went wrong on one. */
  stop(): Promise<LoadFigures>;
};

export type LoadOptions = {
  readonly uri: string;
  readonly connections: number;
  /** Between two transactions of a connection, on average. */
  readonly pauseMs: number;
  readonly customers: number;
  readonly products: number;
};

/** Starts writing. A connection that is cut comes back, as a pool's would. */
export async function startLoad(options: LoadOptions): Promise<Load> {
  let running = true;
  let transactions = 0;
  let changes = 0;
  let refusals = 0;
  let lastCommitAt = 0;
  const connect = async () => {
    const client = new pg.Client({ connectionString: options.uri, application_name: 'shop' });
    // A connection that is cut while it rests: its next statement says so.
    client.on('error', () => {});
    await client.connect();
    return client;
  };
  const write = async (client: pg.Client) => {
    while (running) {
      const written = await transact(client, options);
      if (written > 0) {
        transactions += 1;
        changes += written;
        lastCommitAt = Date.now();
      }
      await sleep(Math.random() * 2 * options.pauseMs);
    }
  };
  const writer = async (first: pg.Client) => {
    for (let client = first; running; client = await connect()) {
      try {
        await write(client);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        refusals += 1;
        await sleep(comesBackMs);
      } finally {
        await client.end().catch(() => {});
      }
    }
  };
  const clients = await Promise.all(Array.from({ length: options.connections }, connect));
  const writers = Promise.allSettled(clients.map(writer));
  const figures = () => ({ transactions, changes, refusals, lastCommitAt });
  return {
    figures,
    stop: async () => {
      running = false;
      for (const result of await writers) {
        if (result.status === 'rejected') throw result.reason;
      }
      return figures();
    },
  };
}

const comesBackMs = 100;

/** A source that is frozen: the session was ended, or may only read. */
function isRefusal(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return ['57P01', '25006'].includes(error.code ?? '');
  return error instanceof Error && /^Connection terminated|connection error|ECONNRESET/.test(error.message);
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

/** One transaction; gives the number of changed rows, 0 when it was rolled back. */
async function transact(client: pg.Client, options: LoadOptions): Promise<number> {
  await client.query('begin');
  const changes = await actions[pick()]?.(new Writer(client), options);
  if (random(50) === 0) {
    await client.query('rollback');
    return 0;
  }
  await client.query('commit');
  return changes ?? 0;
}

/** Counts the rows that its statements change. */
class Writer {
  readonly #client: pg.Client;
  changes = 0;

  constructor(client: pg.Client) {
    this.#client = client;
  }

  /** Runs one writing statement. `audited` rows leave a row in the audit log each. */
  async write(sql: string, values: unknown[] = [], audited = false): Promise<pg.QueryResult> {
    const result = await this.#client.query<Record<string, unknown>>(sql, values);
    this.changes += (result.rowCount ?? 0) * (audited ? 2 : 1);
    return result;
  }

  async read(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.#client.query<Record<string, unknown>>(sql, values)).rows;
  }
}

type Action = (writer: Writer, options: LoadOptions) => Promise<number>;

/** How often each action happens, in a hundred. */
const shares = { order: 40, ship: 20, giveBack: 8, price: 17, describe: 5, customer: 10 } as const;

function pick(): keyof typeof shares {
  let draw = random(100);
  for (const [name, share] of Object.entries(shares)) {
    draw -= share;
    if (draw < 0) return name as keyof typeof shares;
  }
  return 'order';
}

const actions: Readonly<Record<keyof typeof shares, Action>> = {
  /** A new order: order, lines in one statement, stock, payment. */
  order: async (writer, { customers, products }) => {
    const { rows } = await writer.write(
      `insert into orders (customer_id, note) values ($1, $2) returning id`,
      [1 + random(customers), random(5) === 0 ? `ring twice, "${random(100)}"` : null],
      true,
    );
    const order = (rows[0] as { id: string }).id;
    // Sorted, or two orders of the same products would wait for each other.
    const bought = [...new Set(Array.from({ length: 1 + random(4) }, () => 1 + random(products)))].sort(
      (a, b) => a - b,
    );
    await writer.write(
      `insert into order_item (order_id, line, product_id, quantity, price)
         select $1, line, product, 1 + line % 3, p.price
           from unnest($2::int[]) with ordinality as u (product, line) join product p on p.id = product`,
      [order, bought],
    );
    for (const product of bought) {
      await writer.write('update product set stock = stock - 1 where id = $1', [product]);
    }
    await writer.write(
      `insert into payment (order_id, amount, method, details)
         select $1, sum(quantity * price), 'card', '{"risk": 0.10}' from order_item where order_id = $1`,
      [order],
    );
    return writer.changes;
  },

  /** The oldest open orders leave the house. */
  ship: async (writer) => {
    await writer.write(
      `update orders set state = 'shipped', shipped_at = now() where id in (
         select id from orders where state <> 'shipped' order by placed_at desc limit $1 for update skip locked)`,
      [1 + random(3)],
      true,
    );
    return writer.changes;
  },

  /** An order is taken back: payment, lines and order are deleted, by hand and by cascade. */
  giveBack: async (writer) => {
    const [order] = await writer.read(
      `select id from orders where state = 'placed' order by placed_at desc limit 1 for update skip locked`,
    );
    if (order === undefined) return writer.changes;
    await writer.write('delete from payment where order_id = $1', [order['id']]);
    const [lines] = await writer.read('select count(*)::int as count from order_item where order_id = $1', [
      order['id'],
    ]);
    await writer.write('delete from orders where id = $1', [order['id']]);
    return writer.changes + Number(lines?.['count'] ?? 0);
  },

  /** A new price; the description, stored out of line, is not touched. */
  price: async (writer, { products }) => {
    await writer.write('update product set price = round(price * 1.01, 2) % 1000 where id = $1', [
      1 + random(products),
    ]);
    return writer.changes;
  },

  /** A new description. */
  describe: async (writer, { products }) => {
    await writer.write(
      `update product set description = (select string_agg(md5(random()::text), '') from generate_series(1, 150))
        where id = $1`,
      [1 + random(products)],
    );
    return writer.changes;
  },

  /** Somebody registers, somebody changes preferences. */
  customer: async (writer, { customers }) => {
    await writer.write(
      `insert into customer (email, name, tags) values (gen_random_uuid()::text || '@example.org', 'Ödön', '{new}')`,
    );
    await writer.write(
      `update customer set preferences = preferences || jsonb_build_object('seen', clock_timestamp()::text),
              tags = array_append(tags[1:3], 'seen')
        where id = $1`,
      [1 + random(customers)],
    );
    return writer.changes;
  },
};
