import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readLastCommit } from '../../src/journal/last-commit.js';
import { readLsn } from '../../src/model/lsn.js';
import { temporaryDirectory } from '../support/directory.js';

const commit = (end: string) =>
  `{"action":"C","xid":"7","lsn":"0/1","timestamp":"2026-01-01","end":"${end}"}\n`;
const row = (text: string) =>
  `{"action":"I","xid":"8","lsn":"0/2","rel":0,"row":[${JSON.stringify(text)}]}\n`;
const header = '{"action":"H"}\n';

describe('the last commit of the transform files', () => {
  test.each<[claim: string, files: string[], end: string | null]>([
    ['no file', [], null],
    ['no commit in the newest file', [header + commit('0/10'), header + row('a')], null],
    ['the last of several', [header + commit('0/10') + commit('0/20') + row('a')], '0/20'],
    ['one that is torn does not count', [header + commit('0/10') + commit('0/20').slice(0, -2)], '0/10'],
    ['what a row holds is none', [header + commit('0/10') + row(`\n${commit('0/99')}`)], '0/10'],
    ['behind a row of a megabyte', [header + commit('0/10') + row('x'.repeat(1_000_000))], '0/10'],
    [
      'wherever the pieces that are read begin',
      [header + commit('0/10') + row('x'.repeat(256 * 1024 - 80)) + row('y')],
      '0/10',
    ],
  ])('%s', async (_claim, files, end) => {
    await using directory = await temporaryDirectory();
    for (const [nth, text] of files.entries()) {
      await writeFile(join(directory.path, `00000001000000000000000${nth}.json`), text);
    }
    expect(await readLastCommit(directory.path)).toBe(end === null ? null : readLsn(end));
  });

  test('is found at every place that a piece may cut it', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, '000000010000000000000000.json');
    const line = commit('0/ABC');
    for (let cut = 0; cut <= line.length + 1; cut += 1) {
      const rest = row('x'.repeat(256 * 1024)).length - 256 * 1024;
      await writeFile(file, header + commit('0/10') + line + row('x'.repeat(256 * 1024 - cut - rest)));
      expect(await readLastCommit(directory.path)).toBe(readLsn('0/ABC'));
    }
  });
});
