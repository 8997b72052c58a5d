/** Networks that go silent, sessions that somebody ends, a target that comes back as another host and older. */
import { expect, test } from 'vitest';
import { insertPosition } from '../../support/commits.js';
import { expectEqual, expectLedger } from '../../support/equal.js';
import {
  appliedPosition,
  follow,
  openMigration,
  run,
  setEndpos,
  setupStream,
  type Migration,
} from '../../support/live-migration.js';
import { ledgerSchema, startLoad } from '../../support/load.js';
import { readLsn } from '../../../src/model/lsn.js';
import { openSilentProxy, serverOf, through, type SilentProxy } from '../../support/silent-proxy.js';
import { until } from '../../support/until.js';
import type { WalferryProcess } from '../../support/walferry.js';

/** Shows the log should it be in vain. */
async function untilIt(
  following: WalferryProcess,
  what: string,
  ask: () => Promise<boolean> | boolean,
): Promise<void> {
  try {
    await until(what, ask, { timeoutMs: 120_000 });
  } catch (error) {
    throw new Error(following.stderr, { cause: error });
  }
}

async function levelAgain(migration: Migration, following: WalferryProcess, what: string): Promise<void> {
  const written = readLsn(await insertPosition(migration.source));
  await migration.source.sql(`insert into ticket (state) values ('so that something comes after')`);
  const level = async () => readLsn((await appliedPosition(migration)) ?? '0/0') >= written;
  await untilIt(following, `the target is level after ${what}`, level);
}

/** Waits until silence was noticed so often since the log had `from` characters. */
async function untilSaid(following: WalferryProcess, from: number, times: number): Promise<void> {
  const said = () => following.stderr.slice(from).match(/has not answered for/g)?.length === times;
  await untilIt(following, 'silence is noticed', said);
}

/** A way on which a connection that cannot be made is given up after 3 s, not 10. */
function impatient(uri: string, proxy: SilentProxy): string {
  return `${through(uri, proxy)}?connect_timeout=3`;
}

test(
  'the network to the source is cut, then that to the target: noticed, and gone on when it is back',
  { timeout: 400_000 },
  async () => {
    await using migration = await openMigration({ schema: ledgerSchema, onBoth: true });
    // Both start equal: the target's own rows would have other keys.
    await migration.target.sql('truncate account, journal, ticket, event');
    const copy = async (table: string) => {
      const rows = await migration.source.sql(`select (row_to_json(t))::text as row from ${table} t`);
      const list = rows.map(({ row }) => row).join(',');
      await migration.target.sql(
        `insert into ${table} overriding system value select * from json_populate_recordset(null::${table}, $walferry$[${list}]$walferry$)`,
      );
    };
    for (const table of ['account', 'ticket', 'event']) await copy(table);
    await setupStream(migration);
    // So long the source keeps its own end of a dead connection, and with it the slot; a minute by itself.
    await migration.source.sql(`alter database ${migration.source.name} set wal_sender_timeout = '20s'`);
    await using toSource = await openSilentProxy(serverOf(migration.source.uri));
    await using toTarget = await openSilentProxy(serverOf(migration.target.uri));
    await using following = run(
      migration,
      follow(
        migration,
        '--resume',
        '--source',
        impatient(migration.source.uri, toSource),
        '--target',
        impatient(migration.target.uri, toTarget),
      ),
    );
    await following.waitForOutput(/applying changes from/);
    await following.waitForOutput(/receiving changes from/);
    await levelAgain(migration, following, 'the start');

    for (const [what, proxy] of [
      ['the source was cut off', toSource],
      ['the target was cut off', toTarget],
    ] as const) {
      const load = await startLoad(migration.source, 2, 5);
      const before = following.stderr.length;
      proxy.silence();
      await untilSaid(following, before, 1);
      await load.stop();
      proxy.speak();
      await levelAgain(migration, following, what);
    }

    // The peer alone has died: a new connection can be made at once, and the old process waits for us in vain.
    const load = await startLoad(migration.source, 2, 5);
    const before = following.stderr.length;
    for (const proxy of [toSource, toTarget]) {
      proxy.silence();
      await new Promise((resolve) => setTimeout(resolve, 50));
      proxy.speak();
    }
    await untilSaid(following, before, 2);
    await load.stop();
    await levelAgain(migration, following, 'the connections died');
    await setEndpos(migration);
    const exit = await following.exit;
    expect(exit.code, exit.stderr).toBe(0);
    await expectEqual(migration.source, migration.target);
    await expectLedger(migration.target);
  },
);
