/** The page's files as `walferry monitor --web` serves them, and the run's own answers over the same paths. */
import { expect, test } from 'vitest';
import { closeCatalog, openCatalog } from '../../../src/catalog/database.js';
import { temporaryDirectory } from '../../support/directory.js';
import { freePort } from '../../support/ports.js';
import { walferry } from '../../support/walferry.js';

async function directoryWithRun(): Promise<Awaited<ReturnType<typeof temporaryDirectory>>> {
  const directory = await temporaryDirectory();
  closeCatalog(openCatalog(directory.path));
  return directory;
}

test('every file of the page is served, loads nothing from elsewhere, and may do no more than it must', async () => {
  await using directory = await directoryWithRun();
  const address = `127.0.0.1:${await freePort()}`;
  await using serving = walferry(['monitor', '--web', '--listen', address, '--dir', directory.path]);
  await serving.waitForOutput(/monitor: http:\/\/127.0.0.1:\d+\//);
  const get = (path: string) => fetch(`http://${address}${path}`);

  const page = await get('/');
  const policy = page.headers.get('content-security-policy') ?? '';
  expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/);
  expect(policy).toMatch(/frame-ancestors 'none'/);
  expect(policy).not.toMatch(/unsafe|https?:|\*/);
  expect(page.headers.get('x-content-type-options')).toBe('nosniff');
  expect(page.headers.get('access-control-allow-origin')).toBeNull();
  const markup = await page.text();
  expect(markup).not.toMatch(/<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|https?:\/\//);

  const seen = new Set<string>();
  const queue = [...markup.matchAll(/(?:src|href)="(\/[^"#]+)"/g)].map(([, path]) => path ?? '');
  expect(queue.length).toBeGreaterThan(4);
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const answer = await get(path);
    expect([path, answer.status]).toEqual([path, 200]);
    const text = await answer.text();
    if (!path.includes('/browser/')) continue;
    const imports = [...text.matchAll(/^import .*from '([^']+)'/gm)].map(([, name]) => name ?? '');
    queue.push(...imports.map((name) => new URL(name, `http://x${path}`).pathname));
  }
  expect([...seen]).toEqual(
    expect.arrayContaining(['/assets/format.js', '/assets/uplot.js', '/assets/page.css']),
  );
  for (const path of ['/assets/', '/assets/%2e%2e/package.json', '/assets/browser/main.js.map', '/nothing']) {
    expect([path, (await get(path)).status]).toEqual([path, 404]);
  }

  // A second one finds the address taken, and says so; the first ends well when it is told to.
  await using second = walferry(['monitor', '--web', '--listen', address, '--dir', directory.path]);
  const refused = await second.exit;
  expect([refused.code, refused.stderr]).toEqual([
    12,
    expect.stringMatching(/cannot be served.*\n.*--listen/),
  ]);
  serving.kill('SIGINT');
  expect((await serving.exit).code).toBe(0);
});

test('a page for others is refused without a token, and nothing is made where no run is', async () => {
  await using directory = await directoryWithRun();
  await using open = walferry(['monitor', '--web', '--listen', '0.0.0.0:5443', '--dir', directory.path]);
  expect((await open.exit).code).toBe(1);
  expect(open.stderr).toMatch(/without a token nobody listens there/);
  await using empty = await temporaryDirectory();
  for (const more of [['--web'], [], ['--json']]) {
    await using nothing = walferry(['monitor', '--dir', `${empty.path}/none`, ...more]);
    const exit = await nothing.exit;
    expect([exit.code, exit.stderr]).toEqual([12, expect.stringMatching(/there is no walferry run in/)]);
  }
});
