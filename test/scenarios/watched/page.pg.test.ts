/** The page of a run, in a browser: while it copies and while it follows, in both themes, on a desk and on a phone. */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { loadToken } from '../../../src/control/token.js';
import { expectAccessible, expectKeyboard } from '../../support/accessible.js';
import { openPage } from '../../support/browser.js';
import { startServer } from '../../support/clusters.js';
import { temporaryDirectory } from '../../support/directory.js';
import { expectEqual } from '../../support/equal.js';
import { cloneFollow, openMigration, run } from '../../support/live-migration.js';
import { freePort } from '../../support/ports.js';

const schema = `
  create table customer (id int primary key, name text); create index on customer (name);
  create table orders (id int primary key, customer int, total numeric); create index on orders (customer);
  create table waits (id int primary key, body text);
  create table note (id int primary key, body text);
  insert into customer select i, 'customer ' || i from generate_series(1, 20000) i;
  insert into orders select i, i % 20000, i from generate_series(1, 60000) i;
  insert into waits select i, repeat('x', 200) from generate_series(1, 5000) i;`;

/** Where pictures go: a folder that somebody named to look at them, else one that is removed. */
async function pictures(): Promise<{ folder: string } & AsyncDisposable> {
  const named = process.env['WALFERRY_PICTURES'] ?? '';
  const own = await temporaryDirectory();
  if (named !== '') mkdirSync(named, { recursive: true });
  return { folder: named === '' ? own.path : named, [Symbol.asyncDispose]: () => own[Symbol.asyncDispose]() };
}

/** A picture of what anybody can read and operate. */
async function picture(page: Page, folder: string, name: string): Promise<void> {
  const path = join(folder, `${name}.png`);
  await page.screenshot({ path, fullPage: true });
  // A page that shows nothing makes a picture of a few kB.
  expect(statSync(path).size, name).toBeGreaterThan(15_000);
  await expectAccessible(page);
}

const dark = { colorScheme: 'dark' } as const;
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 };

test('a clone and what follows it are shown live in a browser, and steered with the token', async () => {
  // On a server of its own: whoever makes a slot on the same one waits for the lock's transaction.
  await using sourceServer = await startServer('source');
  await using migration = await openMigration({ schema, sourceServer });
  await using place = await pictures();
  const { folder } = place;
  const address = `127.0.0.1:${await freePort()}`;
  await using locker = await migration.source.session();
  await using following = run(migration, cloneFollow(migration, '--monitor', address, '--no-owner'));
  await following.waitForOutput(/monitor: http:\/\/127.0.0.1:\d+\//);
  // Slot and dump would wait for the lock; while the target's schema is made nobody does.
  await following.waitForOutput(/restoring the schema/);
  await locker.sql('begin; lock table waits in access exclusive mode');
  await using watched = await openPage(`http://${address}/`);
  const { page } = watched;

  // While it copies: two tables are there, one waits for its lock.
  await page.locator('#state:text("copying")').waitFor();
  await page.locator('tr[data-row="done"]').nth(2).waitFor();
  await expect.poll(() => page.locator('#tables tr').allTextContents()).toHaveLength(4);
  expect(await page.locator('#phases [aria-current="step"]').textContent()).toMatch(/^Copy/);
  expect(await page.locator('#log li').allTextContents()).toContainEqual(
    expect.stringMatching(/copying 4 tables/),
  );
  expect(await page.locator('th:text("Parts")').isVisible()).toBe(false);
  await picture(page, folder, 'clone-light');
  const darkPage = await watched.another(dark);
  await darkPage.locator('tr[data-row="done"]').nth(2).waitFor();
  await picture(darkPage, folder, 'clone-dark');
  const ground = (one: Page) => one.evaluate('getComputedStyle(document.body).backgroundColor');
  expect(await ground(darkPage)).not.toBe(await ground(page));
  await page.locator('#filter').fill('ord');
  expect(await page.locator('#tables tr').count()).toBe(1);
  await page.locator('#filter').fill('');

  // While it follows.
  await locker.sql('commit');
  await page.locator('#state:text("following")').waitFor();
  for (let i = 0; i < 20; i += 1) {
    await migration.source.sql(
      `insert into note values (${i}, 'x'); update orders set total = total + 1 where id < 500`,
    );
  }
  await page.locator('#chart canvas').waitFor();
  await page.locator('#positions tr').nth(3).waitFor();
  await expect.poll(() => page.locator('#slot').textContent(), { timeout: 60_000 }).toMatch(/WAL held back/);
  await picture(page, folder, 'follow-light');
  await picture(darkPage, folder, 'follow-dark');
  const phonePage = await watched.another(phone);
  await phonePage.locator('#state:text("following")').waitFor();
  await phonePage.locator('#chart canvas').waitFor();
  await picture(phonePage, folder, 'follow-phone');
  expect(await phonePage.evaluate('document.documentElement.scrollWidth')).toBe(390);
  await expectKeyboard(phonePage);

  // The theme is switched by hand, and remembered.
  await page.locator('#theme').click();
  await page.locator('#theme').click();
  expect(await page.evaluate('document.documentElement.dataset.theme')).toBe('dark');
  expect(await ground(page)).toBe(await ground(darkPage));

  // Without the token nothing can be set; with another one neither.
  expect(await page.locator('#endpos').isVisible()).toBe(false);
  await page.locator('#token').fill('a guess');
  await page.locator('#unlock button').click();
  await page.locator('#unlock-error:text("not the token of the run")').waitFor();
  // The browser itself notes the refused request.
  expect(watched.troubles.splice(0)).toEqual([expect.stringMatching(/401/)]);
  await page.locator('#token').fill(loadToken(migration.directory) ?? '');
  await page.locator('#unlock button').click();
  await page.locator('#endpos').waitFor();
  watched.troubles.splice(0);

  // A change that is not confirmed is none.
  await page.locator('#endpos').click();
  await page.locator('dialog button:text("Cancel")').click();
  await page.locator('#apply').click();
  await page.locator('#confirm-yes').click();
  await page.locator('#steer-result:text("Applying is disabled.")').waitFor();
  await page.locator('#apply:text("Apply")').click();
  await page.locator('#confirm-yes').click();
  await page.locator('#steer-result:text("Applying is enabled.")').waitFor();
  await picture(page, folder, 'steer-dark');
  await expectKeyboard(page);

  // The end position is set, and the page shows the run to its end.
  await page.locator('#endpos:text("End here")').click();
  await picture(page, folder, 'confirm-dark');
  await page.locator('#confirm-yes').click();
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(0);
  await page.locator('#state:text("done")').waitFor();
  await page.locator('#link[data-link="lost"]').waitFor();
  await expectEqual(migration.source, migration.target);
  expect(watched.outside).toEqual([]);
  // That nobody listens any more is what the browser notes now.
  expect(
    watched.troubles.filter((trouble) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED/.test(trouble)),
  ).toEqual([]);
});
