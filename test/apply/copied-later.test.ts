import { describe, expect, test } from 'vitest';
import { CopiedLater } from '../../src/apply/copied-later.js';
import { relationVerdict } from '../../src/apply/verdict.js';
import { lsnFromBigInt } from '../../src/model/lsn.js';
import { quoteQualified } from '../../src/model/sql.js';
import { readGenerations } from '../../src/postgres/generation.js';
import { configurationTask, copyTask, relationOfTask } from '../../src/postgres/task-table.js';

const names = ['plain', 'with "quotes"', 'with\nline break', 'x part 1 of 2', 'a"."b', ''];

describe('the name of a task that copies rows', () => {
  test.each(names)('tells its relation: %o', (name) => {
    const qualified = quoteQualified('some.schema', name === '' ? ' ' : name);
    expect(relationOfTask(copyTask(qualified))).toBe(qualified);
    expect(relationOfTask(copyTask(qualified, { number: 12, of: 40 }))).toBe(qualified);
    expect(relationOfTask(configurationTask('an "extension"', qualified))).toBe(qualified);
  });

  test.each(['copy phase', 'pre-data', 'index "a"."b"', 'run 12', 'copy "a"', 'large objects 1 to 5'])(
    'is none: %o',
    (name) => expect(relationOfTask(name)).toBeNull(),
  );
});

describe('tables that were copied from later snapshots', () => {
  const copied = new CopiedLater(
    readGenerations([
      [copyTask(quoteQualified('public', 'first')), '10:12:11', '0/100'],
      [copyTask(quoteQualified('public', 'parts'), { number: 1, of: 2 }), '20:22:', '0/200'],
      [copyTask(quoteQualified('public', 'parts'), { number: 2, of: 2 }), '20:22:', '0/200'],
    ]),
  );
  const verdicts = (name: string) => {
    const seen = copied.seenBy({ schema: 'public', name });
    return [9n, 11n, 12n, 21n, 22n].map((xid) => relationVerdict(xid, seen));
  };

  test('leave out what their own snapshot saw, and nothing else', () => {
    expect(verdicts('first')).toEqual(['skip', 'apply', 'apply', 'apply', 'apply']);
    expect(verdicts('parts')).toEqual(['skip', 'skip', 'skip', 'skip', 'apply']);
    expect(verdicts('of the beginning')).toEqual(['apply', 'apply', 'apply', 'apply', 'apply']);
  });

  test('are refused where the target does not tell what the snapshot saw', () => {
    const rows = [[copyTask(quoteQualified('public', 'first')), null, null]];
    expect(() => readGenerations(rows)).toThrow(
      'does not tell which snapshot "public"."first" was copied from',
    );
  });

  test('are behind the last of the snapshots', () => {
    expect(copied.through).toBe(lsnFromBigInt(0x200n));
  });
});
