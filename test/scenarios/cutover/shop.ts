/** A shop whose application writes all the time, comes back when its connection is cut, and says how it was refused. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { TestDatabase } from '../../support/databases.js';
import { cloneFollow, run, runToEnd, type Migration } from '../../support/live-migration.js';
import { until } from '../../support/until.js';
import type { WalferryExit, WalferryProcess } from '../../support/walferry.js';

/** How far the target is behind is counted in WAL of the whole server, and other tests write a lot of that. */
export const anyLag = ['--max-lag', '1 TB'] as const;

export const shopSchema = `
  create table item (id int primary key, name text not null);
  create table sale (id bigint generated always as identity primary key, item int not null references item,
    amount int not null, note text);
  create function note_sale() returns trigger language plpgsql as
    $$ begin new.note := coalesce(new.note, 'sold'); return new; end $$;
  create trigger note_sale before insert on sale for each row execute function note_sale();
  insert into item select i, 'item ' || i from generate_series(1, 100) i;
`;

export type Shop = AsyncDisposable & {
  /** Resolves when so many sales were committed since the start. */
  written(count: number): Promise<void>;
  /** Resolves when a sale was refused by the server, since the call. */
  refused(): Promise<void>;
  stop(): Promise<{ committed: number; refusals: ReadonlySet<string> }>;
};

/** Connects as the owner of the database, or as the superuser, whom nobody else can stop. */
export async function startShop(
  source: TestDatabase,
  { as = 'owner', pauseMs = 5 }: { readonly as?: 'owner' | 'superuser'; readonly pauseMs?: number } = {},
): Promise<Shop> {
  const uri = as === 'owner' ? verifiedUri(source) : source.uri;
  let running = true;
  let committed = 0;
  let refused = 0;
  const refusals = new Set<string>();
  const writer = async () => {
    while (running) {
      const client = new pg.Client({ connectionString: uri, application_name: 'shop' });
      client.on('error', () => {});
      try {
        await client.connect();
        while (running) {
          await client.query('insert into sale (item, amount) values (1 + floor(random() * 100), 1)');
          committed += 1;
          await sleep(pauseMs);
        }
      } catch (error) {
        const code = error instanceof pg.DatabaseError ? (error.code ?? '') : 'lost';
        refusals.add(code);
        if (code !== 'lost' && code !== '57P01') refused += 1;
        await sleep(20);
      } finally {
        await client.end().catch(() => {});
      }
    }
  };
  const writers = [writer(), writer()];
  const stop = async () => {
    running = false;
    await Promise.all(writers);
    return { committed, refusals };
  };
  return {
    written: async (count) => void (await until(`${count} sales are made`, () => committed >= count)),
    refused: async () => {
      const before = refused;
      await until('a sale is refused', () => refused > before);
    },
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}

/** pg reads `sslmode=require` as verify-full, and is told the authority. */
export function verifiedUri({ neonUri, authorityFile }: TestDatabase): string {
  return `${neonUri.replace('sslmode=require', 'sslmode=verify-full')}&sslrootcert=${encodeURIComponent(authorityFile)}`;
}

/** Starts the run of the first terminal; resolves when the copy is there and changes are applied. */
export async function followed(migration: Migration, ...more: string[]): Promise<WalferryProcess> {
  const following = run(migration, cloneFollow(migration, '--no-owner', ...more));
  await following.waitForOutput(/applying changes from/);
  return following;
}

/** A row that is written on the source now arrives on the target. */
export async function expectFollows({ source, target }: Migration): Promise<void> {
  const [sale] = await source.sqlAsOwner(
    'insert into sale (item, amount) values (7, 7) returning id::text as id',
  );
  await until(`sale ${sale?.['id']} is on the target`, async () => {
    const rows = await target.sql(`select from sale where id = ${sale?.['id']}`);
    return rows.length === 1;
  });
}

/** Somebody's transaction on the target that keeps a table from being written to, until it is ended. */
export async function holdUp(
  { target }: Migration,
  lock: string,
): Promise<AsyncDisposable & { readonly end: () => Promise<void> }> {
  const session = await target.session();
  await session.sql(`begin; lock table ${lock}`);
  return {
    end: async () => void (await session.sql('rollback')),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

/** A change that cannot be applied while `sale` is locked on the target. */
export async function heldUpInDrain(migration: Migration): ReturnType<typeof holdUp> {
  const blocker = await holdUp(migration, 'sale');
  await migration.source.sqlAsOwner('insert into sale (item, amount) values (1, 1)');
  return blocker;
}

/** The last thing that is said before the drain is waited for. */
export const draining = /waiting until everything up to the end position/;

export type Report = {
  readonly state: string;
  readonly pause_ms: number | null;
  readonly pause_with_command_ms: number | null;
  readonly source_frozen: boolean;
  readonly steps: readonly { readonly step: string; readonly ms: number | null; readonly detail: string }[];
};

/** Runs the cutover of the second terminal to its end, and reads its report. */
export async function cutover(
  migration: Migration,
  ...more: string[]
): Promise<{ exit: WalferryExit; report: Report }> {
  const exit = await runToEnd(migration, ['cutover', ...anyLag, '--json', ...more]);
  return { exit, report: JSON.parse(exit.stdout === '' ? '{}' : exit.stdout) as Report };
}
