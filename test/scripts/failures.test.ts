import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { failuresPage, readEntries } from '../../scripts/usage/failures.js';
import { failurePolicies } from '../../src/failure.js';
import { repository } from '../support/build.js';

const source = readFileSync(path.join(repository, 'src/failure.ts'), 'utf8');

describe('the page of failures', () => {
  test('has an entry for every code and for nothing else', () => {
    expect([...readEntries(source).keys()].toSorted()).toEqual(Object.keys(failurePolicies).toSorted());
    expect([...readEntries(source).values()].filter((entry) => entry === '')).toEqual([]);
  });

  test('joins the lines of a doc comment', () => {
    const union = `export type FailureCode =\n  /**\n   * One, over\n   * two lines.\n   */\n  | 'one'\n  /** Two. */\n  | 'two';\n`;
    expect([...readEntries(union)]).toEqual([
      ['one', 'One, over two lines.'],
      ['two', 'Two.'],
    ]);
  });

  test('cannot be made while a code has no doc comment', () => {
    const undocumented = source.replace(/\/\*\*[^\n]*\*\/\n(\s*\| 'slot-lost')/, '$1');
    expect(() => failuresPage(undocumented)).toThrow(`slot-lost has no doc comment`);
  });

  test('tells the exit status, whether to try again, and the remedy', () => {
    const { exit, remedy } = failurePolicies['slot-lost'];
    expect(failuresPage(source)).toContain(
      `Exit status ${exit}; trying again, with nothing changed, fails again.\n\n${remedy}`,
    );
  });
});
