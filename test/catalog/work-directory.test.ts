import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { catalogExists } from '../../src/catalog/database.js';
import { decideRun, requireCatalogToRead, type DirectoryState } from '../../src/catalog/work-directory.js';
import { Failure } from '../../src/failure.js';
import { temporaryDirectory } from '../support/directory.js';

const unused: DirectoryState = { kind: 'unused' };
const incomplete: DirectoryState = { kind: 'incomplete', differences: [] };
const complete: DirectoryState = { kind: 'complete', differences: [] };
const another: DirectoryState = { kind: 'incomplete', differences: ['source was "a" and is now "b"'] };
const finishedOther: DirectoryState = { kind: 'complete', differences: ['slot was "a" and is now "b"'] };

const decide = (state: DirectoryState, resume: boolean, restart: boolean) => {
  try {
    return decideRun(state, { resume, restart }, '/dir', 'walferry clone --resume');
  } catch (error) {
    return error instanceof Failure ? error.code : 'not a Failure';
  }
};

describe('a work directory', () => {
  test.each([
    ['unused', unused, false, false, 'begin'],
    ['unused, resumed: the first run died before it recorded anything', unused, true, false, 'begin'],
    ['unused, restarted', unused, false, true, 'begin'],
    ['incomplete', incomplete, false, false, 'work-directory-used'],
    ['incomplete, resumed', incomplete, true, false, 'go-on'],
    ['incomplete, restarted', incomplete, false, true, 'begin'],
    ['complete', complete, false, false, 'nothing-to-do'],
    ['complete, resumed', complete, true, false, 'nothing-to-do'],
    ['of another run', another, false, false, 'work-directory-used'],
    ['of another run, resumed', another, true, false, 'work-directory-used'],
    ['of another run, restarted', another, false, true, 'begin'],
    ['of another run that is complete', finishedOther, false, false, 'work-directory-used'],
  ] as const)('%s: %#', (_name, state, resume, restart, expected) => {
    expect(decide(state, resume, restart)).toBe(expected);
  });

  test('refused as incomplete, it prints the line that goes on', () => {
    const refuse = () =>
      decideRun(incomplete, { resume: false, restart: false }, '/dir', 'walferry clone --resume');
    expect(refuse).toThrow(
      expect.objectContaining({ remedy: expect.stringContaining('walferry clone --resume') }),
    );
  });
});

test('a directory that cannot be read does not pass for one in which nothing was begun', async () => {
  await using directory = await temporaryDirectory();
  // A circle of links is refused to root too; a directory of another user is refused in the same way.
  const circle = join(directory.path, 'circle');
  symlinkSync(circle, circle);
  expect(() => requireCatalogToRead(circle)).toThrow(
    /cannot be read \(too many symbolic links encountered\)/,
  );

  const file = join(directory.path, 'file');
  writeFileSync(file, '');
  expect([catalogExists(file), catalogExists(join(directory.path, 'none'))]).toEqual([false, false]);
  expect(() => requireCatalogToRead(file)).toThrow(/there is no walferry run in/);
});
