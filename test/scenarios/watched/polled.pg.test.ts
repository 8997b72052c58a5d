/** A run that is looked at fifty times a second, from its beginning to its end: it ends as if nobody had looked. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { readStatusAndDetails } from '../../../src/monitor/status.js';
import { expectEqual } from '../../support/equal.js';
import { ledgerSchema, startLoad } from '../../support/load.js';
import { cloneFollow, openMigration, run, setEndpos } from '../../support/live-migration.js';
import { freePort } from '../../support/ports.js';
import { until } from '../../support/until.js';

const schema = `${ledgerSchema}
  create table big (id int primary key, body text);
  insert into big select i, repeat(md5(i::text), 10) from generate_series(1, 40000) i;
  create index on big (body);`;

test('a clone under load, looked at from its directory and over its port all the time, ends equal', async () => {
  await using migration = await openMigration({ schema });
  const address = `127.0.0.1:${await freePort()}`;
  const load = await startLoad(migration.source, 2);
  await using following = run(migration, cloneFollow(migration, '--monitor', address, '--no-owner'));
  const done = new AbortController();
  const states = new Set<string>();
  let looks = 0;
  const refused = new Set<string>();
  const paths = ['/v1/status', '/metrics', '/healthz', '/v1/sentinel'];

  const looking = (async () => {
    while (!done.signal.aborted) {
      try {
        const known = { sampleMs: 0, lineId: 0, tables: 100 };
        states.add(readStatusAndDetails(migration.directory, known).status.state);
      } catch (error) {
        refused.add(
          error instanceof Error ? error.message.replace(migration.directory, 'DIR') : String(error),
        );
      }
      looks += 1;
      const path = paths[looks % paths.length] ?? '';
      await fetch(`http://${address}${path}`).then(
        (response) => response.text(),
        () => {},
      );
      await sleep(15);
    }
  })();

  await following.waitForOutput(/applying changes from/);
  await until(
    'changes flow while it is looked at',
    () => states.has('following') || states.has('catching-up'),
  );
  const before = looks;
  await until('it was looked at often', () => looks > before + 200, { timeoutMs: 60_000 });
  await load.stop();
  await setEndpos(migration);
  const exit = await following.exit;
  done.abort();
  await looking;
  expect(exit.code, exit.stderr).toBe(0);
  expect(exit.stderr).not.toMatch(/cannot be (read|written)|SQLITE|busy|locked/i);
  await expectEqual(migration.source, migration.target);
  expect([...states]).toEqual(expect.arrayContaining(['copying']));
  // Before the run has made its directory there is nothing to be read; after that, every look was answered.
  expect([...refused].filter((reason) => !/there is no walferry run|has version 0/.test(reason))).toEqual([]);
});
