/**
 * Late writes that the run has taken already: a transaction that it received before it knew of the end position, or whose
 * end its plugin tells last, may end behind that position and be acknowledged. The slot tells of it no more, and the
 * transform files hold it.
 */
import { readLastCommit } from '../journal/last-commit.js';
import { Failure } from '../failure.js';
import { JournalReader } from '../journal/reader.js';
import { listSegments } from '../journal/segment.js';
import type { Change } from '../model/change.js';
import type { Lsn } from '../model/lsn.js';
import { relationLabel } from '../model/relation.js';
import type { LateWrites, TableName } from './late-writes.js';

export type TakenWritesQuestion = {
  /** Where the transform files lie. Whoever receives into them stands still. */
  readonly journalDirectory: string;
  readonly endpos: Lsn;
  readonly isFollowed: (table: TableName) => boolean;
  readonly signal: AbortSignal;
};

/** Whether the run's transform files are there: there always is one. */
export async function holdsFiles(journalDirectory: string): Promise<boolean> {
  return (await listSegments(journalDirectory)).length > 0;
}

/** What to say, and to do, where they are not. */
export const filesElsewhere =
  'there are no transform files of the run beside this work directory: give the options and variables (--dir, XDG_DATA_HOME, TMPDIR), and the name of the program, with which the run was started';

/** Reads the transform files from the end position on. Throws `cutover-failed`, `journal-damaged`, `stopped`. */
export async function readTakenWrites(question: TakenWritesQuestion): Promise<LateWrites> {
  const { journalDirectory: directory, endpos, isFollowed, signal } = question;
  if (!(await holdsFiles(directory))) throw new Failure('cutover-failed', filesElsewhere);
  // Nearly always: the newest file need not be read from its beginning while the source is frozen.
  const last = await readLastCommit(directory);
  if (last !== null && last <= endpos) return { transactions: 0, changes: 0, tables: [] };
  await using reader = await JournalReader.open({ directory, follow: false, from: endpos });
  let transactions = 0;
  let changes = 0;
  const tables = new Set<string>();
  const open = { changes: 0, tables: new Set<string>() };
  const begin = () => {
    open.changes = 0;
    open.tables.clear();
  };
  for (;;) {
    const batch = await reader.next(signal);
    if (batch === null) return { transactions, changes, tables: [...tables].toSorted() };
    for (const message of batch) {
      switch (message.kind) {
        case 'begin':
        case 'connected':
        case 'rollback':
          begin();
          break;
        case 'change': {
          const followed = relationsOf(message.change).filter(isFollowed);
          if (followed.length > 0) open.changes += 1;
          for (const table of followed) open.tables.add(relationLabel(table));
          break;
        }
        case 'commit':
          if (message.endLsn <= endpos || open.changes === 0) break;
          transactions += 1;
          changes += open.changes;
          for (const label of open.tables) tables.add(label);
          break;
        case 'relation':
        case 'message':
        case 'keepalive':
        case 'endpos':
          break;
      }
    }
  }
}

function relationsOf(change: Change): readonly TableName[] {
  return change.kind === 'truncate' ? change.relations : [change.relation];
}
