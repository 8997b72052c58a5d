/**
 * What no comparison of rows tells: the source has got another table since, an index is not on the target, the target's
 * role was refused something. An operator learns it before the application is switched, or right behind it.
 */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryDirectory } from '../../support/directory.js';
import { expectEqual } from '../../support/equal.js';
import {
  follow,
  openMigration,
  run,
  runToEnd,
  setupStream,
  streamOptions,
  succeed,
} from '../../support/live-migration.js';
import { until } from '../../support/until.js';
import { richRows, richSchema, richTables } from '../../clone/rich-schema.js';
import { anyLag, cutover, expectFollows, followed, shopSchema, type Report } from './shop.js';

const detail = ({ steps }: Report, name: string) => steps.find(({ step }) => step === name)?.detail;

describe('a table that was made on the source since', () => {
  test('is a reason to freeze nothing, unless nothing is to be compared', async () => {
    await using migration = await openMigration({ schema: shopSchema });
    await using following = await followed(migration);
    await migration.source.sqlAsOwner('create table later (id int)');

    const plan = await runToEnd(migration, ['cutover', ...anyLag, '--dry-run']);
    expect(plan.code).toBe(12);
    expect(plan.stdout).toMatch(/BLOCK {2}tables of the source .*: public\.later is missing on the target/);
    const exit = await runToEnd(migration, ['cutover', ...anyLag]);
    expect(exit.code).toBe(12);
    expect(exit.stderr).toContain('public.later is missing on the target');
    await expectFollows(migration);
    expect(existsSync(join(migration.directory, 'unfreeze.sql'))).toBe(false);

    const done = await cutover(migration, '--verify', 'none');
    expect(done.exit.code, done.exit.stderr).toBe(0);
    expect(done.exit.stderr).toContain(
      'check: tables of the source that the target does not have as they are: public.later',
    );
    expect(detail(done.report, 'schemas')).toMatch(/^1 object differs: table public\.later is missing/);
    expect((await following.exit).code).toBe(0);
  });
});

test('an index that is missing is noted before the freeze, and told again at the end', async () => {
  await using migration = await openMigration({
    schema: `${shopSchema} create index sale_amount on sale (amount); create materialized view sums as
      select item, sum(amount) as sum from sale group by item; create unique index sums_item on sums (item);`,
  });
  await using following = await followed(migration);
  await migration.target.sql('drop index sale_amount');

  const { exit, report } = await cutover(migration);
  expect(exit.code, exit.stderr).toBe(0);
  // What is made at the end is no difference: the materialized view and its index, the foreign key, the trigger.
  expect(exit.stderr).toContain(
    'check: the schemas differ in what is not made at the end: index public.sale_amount is missing on the target; `walferry',
  );
  expect(detail(report, 'schemas')).toBe(
    '1 object differs: index public.sale_amount is missing on the target',
  );
  expect((await following.exit).code).toBe(0);
});

test('objects of every kind are on the target at the end, and nothing is noted of those that wait for it', async () => {
  await using migration = await openMigration({
    role: 'superuser',
    schema: `${richSchema}${richTables}${richRows}`,
  });
  await using following = await followed(migration);
  const { exit, report } = await cutover(migration);
  expect(exit.code, exit.stderr).toBe(0);
  expect(exit.stderr).toContain('check: the target has what the source has, as far as it is made by now');
  expect(detail(report, 'schemas')).toBe('equal');
  expect((await following.exit).code).toBe(0);
});

test('what the target refused is in the report, and what no stream carries is noted', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  const { source } = migration;
  // Its owner on the target is no superuser.
  await source.sql(`create function note_ddl() returns event_trigger language plpgsql as 'begin end';
    create event trigger note_ddl on ddl_command_end execute function note_ddl()`);
  await source.sqlAsOwner(`select lo_from_bytea(0, 'abc')`);
  await using following = await followed(migration);

  const { exit, report } = await cutover(migration, '--before-freeze', 'sleep 0.3');
  expect(exit.code, exit.stderr).toBe(0);
  expect(detail(report, 'finalize')).toMatch(/^1 thing refused to the role of --target, .*refused\.sql$/);
  expect(detail(report, 'schemas')).toContain('event trigger note_ddl is missing on the target');
  expect(exit.stderr).toContain('check: large objects are in no stream');
  // The command may have stopped the application: the report says for how long with it.
  expect(report.pause_with_command_ms).toBeGreaterThanOrEqual((report.pause_ms ?? 0) + 300);
  expect((await following.exit).code).toBe(0);
  await expectEqual(source, migration.target);
});

test('a table that the filter names and the source has no more is no reason to stay there', async () => {
  await using migration = await openMigration({
    schema: `${shopSchema} create table extra (id int primary key)`,
  });
  await using directory = await temporaryDirectory();
  const filter = join(directory.path, 'filter.ini');
  await writeFile(filter, '[include-only-table]\npublic.item\npublic.sale\npublic.extra\n');
  await using following = await followed(migration, '--filters', filter);
  await migration.source.sqlAsOwner('drop table extra');

  const { exit } = await cutover(migration);
  expect(exit.code, exit.stderr).toBe(0);
  expect(exit.stderr).toContain('check: whether the schemas differ otherwise is not known: ');
  expect((await following.exit).code).toBe(0);
});

describe('beside `follow`, which completes no target', () => {
  test(
    'what was never restored is a reason to freeze nothing, unless it is accepted',
    { timeout: 300_000 },
    async () => {
      await using migration = await openMigration({ schema: shopSchema });
      {
        await using holding = run(migration, ['snapshot', '--follow', ...streamOptions(migration)]);
        await until('the snapshot is held', () => holding.stdout.length > 0);
        await succeed(migration, ['stream', 'setup', ...streamOptions(migration)]);
        await succeed(migration, ['dump', 'schema']);
        await succeed(migration, ['restore', 'pre-data', '--no-owner']);
        await succeed(migration, ['copy', 'table-data']);
        await succeed(migration, ['copy', 'indexes']);
        holding.kill('SIGTERM');
        await holding.exit;
      }
      await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
      {
        await using following = run(migration, follow(migration));
        await expectFollows(migration);
        const lacks =
          /nobody completes the target beside `walferry follow`.*: constraint public\.sale: sale_item_fkey is missing on the target; trigger public\.sale: note_sale is missing on the target/;
        const refused = await runToEnd(migration, ['cutover', ...anyLag]);
        expect(refused.code).toBe(12);
        expect(refused.stderr).toMatch(new RegExp(`${lacks.source}; .*--accept-missing`));
        expect(existsSync(join(migration.directory, 'unfreeze.sql'))).toBe(false);
        const accepted = await succeed(migration, ['cutover', ...anyLag, '--accept-missing', '--dry-run']);
        expect(accepted.stdout).toMatch(new RegExp(`note {3}${lacks.source}`));
        await expectFollows(migration);
        following.kill('SIGTERM');
        await following.exit;
      }

      // What the check says is done: then the key and the trigger are off, which is nothing to be missed.
      await succeed(migration, ['restore', 'post-data', '--no-owner']);
      await using following = run(migration, follow(migration, '--resume'));
      await expectFollows(migration);
      expect(await migration.target.sql('select kind, name from walferry.guard order by kind, name')).toEqual(
        [
          { kind: 'foreign-key', name: 'sale_item_fkey' },
          { kind: 'identity', name: 'id' },
          { kind: 'trigger', name: 'note_sale' },
        ],
      );
      const { exit, report } = await cutover(migration);
      expect(exit.code, exit.stderr).toBe(0);
      expect(exit.stderr).toContain('check: the target has what the source has, as far as it is made by now');
      expect(detail(report, 'schemas')).toBe('equal');
      expect((await following.exit).code).toBe(0);
    },
  );

  test('what is off because somebody has switched it off stays off, and is told', async () => {
    await using migration = await openMigration({ schema: shopSchema, onBoth: true });
    const { target } = migration;
    await target.sqlAsOwner(`truncate item, sale; alter table sale disable trigger note_sale;
      alter table item enable row level security`);
    await setupStream(migration);
    await using following = run(migration, follow(migration));
    await following.waitForOutput(/receiving changes from/);
    const { exit } = await cutover(migration, '--verify', 'none');
    expect(exit.code).toBe(12);
    expect(exit.stderr).toContain(
      'table public.item differs in row security; trigger public.sale: note_sale differs in enabled; ',
    );
  });
});
