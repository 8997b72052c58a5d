/** A target that fails over to a server which had not got the last transactions: they are applied again, once. */
import { execFileSync } from 'node:child_process';
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { startServer } from '../../support/clusters.js';
import { expectEqual } from '../../support/equal.js';
import { follow, openMigration, run, setEndpos, setupStream } from '../../support/live-migration.js';
import { until } from '../../support/until.js';

const schema = `create table item (id int primary key, body text); create table line (body text);
  alter table line replica identity full;
  create table noted (id int primary key); create table echo (what int); alter table echo replica identity full;
  create function note() returns trigger language plpgsql as $$
    begin insert into public.echo values (new.id); return null; end $$;
  create trigger note after insert on noted for each row execute function note()`;

test(
  'the target comes back as it was a while ago: nothing is lost, nothing is doubled',
  { timeout: 300_000 },
  async () => {
    await using targetServer = await startServer('target', { settings: { fsync: 'on' } });
    await using migration = await openMigration({ schema, onBoth: true, targetServer });
    const { source, target } = migration;
    await setupStream(migration);
    await using following = run(migration, follow(migration, '--resume'));
    await following.waitForOutput(/receiving changes from/);
    const write = async (from: number, to: number) => {
      for (let id = from; id < to; id += 1) {
        await source.sql(`insert into item values (${id}, 'a'); insert into line values ('same')`);
        await source.sql(`update item set body = 'b' where id = ${id}`);
      }
      await until('it is applied', async () => {
        const [row] = await target.sql(`select count(*) as n from item where body = 'b'`).catch(() => []);
        return Number(row?.['n']) === to;
      });
    };
    await write(0, 20);

    // The standby that lags behind is a copy of the server as it was.
    const { cluster } = targetServer;
    const data = path.join(cluster.address.directory, 'data');
    await cluster.stop('fast');
    execFileSync('cp', ['-a', data, `${data}.older`]);
    await cluster.start();
    // That what fires is switched off on the target is not known to the older one.
    await source.sql('insert into noted values (1)');
    await write(20, 40);
    await cluster.stop('kill');
    await rm(data, { recursive: true });
    await rename(`${data}.older`, data);
    await cluster.start();

    await following.waitForOutput(/the target was set back to/);
    await source.sql('insert into noted values (2)');
    await write(40, 45);
    await setEndpos(migration);
    const exit = await following.exit;
    expect(exit.code, exit.stderr).toBe(0);
    await expectEqual(source, target);
  },
);
