import { statSync } from 'node:fs';
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
