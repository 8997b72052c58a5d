import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { makeDirectory } from '../../src/catalog/make-directory.js';
import { temporaryDirectory } from '../support/directory.js';

test.each([
  ['', (path: string) => path],
  [', named from where we are', (path: string) => relative('.', path)],
])('directories are made down to the last one, and found when they are there%s', async (_how, named) => {
  await using directory = await temporaryDirectory();
  const path = named(join(directory.path, 'above', 'work', 'locks'));
  makeDirectory(path);
  makeDirectory(path);
  for (const made of [path, join(path, '..'), join(path, '..', '..')]) {
    expect(statSync(made).mode & 0o777).toBe(0o700);
  }
});

// Where a directory cannot be made, Node's own way of making all that are missing never ends on Linux.
test.skipIf(process.platform !== 'linux')('a directory where none can be made is refused', () => {
  expect(() => makeDirectory('/proc/walferry/locks')).toThrow(/ENOENT/);
});

test('a file that is in the way is refused, and so is a link to nowhere', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'file');
  const link = join(directory.path, 'link');
  writeFileSync(file, '');
  symlinkSync(join(directory.path, 'nowhere'), link);
  expect(() => makeDirectory(join(file, 'locks'))).toThrow(/ENOTDIR/);
  expect(() => makeDirectory(join(link, 'locks'))).toThrow(/EEXIST/);
});
