/**
 * Copying a database that looks like pgbench's, with two more indexes: walferry clone against pg_dump and pg_restore.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { time, type Case } from './measure.js';
import {
  createDatabase,
  dropDatabase,
  execute,
  expectEqual,
  runProgram,
  runWalferry,
  type BenchServers,
} from './servers.js';

/** 10,000 accounts for 1: about 1.4 MB without indexes. */
export const cloneScale = 100;
const jobs = 2;

function schema(scale: number): string[] {
  return [
    `create table branches (bid int primary key, bbalance int, filler char(88));
     create table tellers (tid int primary key, bid int references branches, tbalance int, filler char(84));
     create table accounts (aid int primary key, bid int, abalance int, filler char(84));
     create table history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
     insert into branches select i, 0, '' from generate_series(1, ${scale}) i;
     insert into tellers select i, 1 + i % ${scale}, 0, '' from generate_series(1, ${scale * 10}) i;
     insert into accounts select i, 1 + i % ${scale}, i % 977, '' from generate_series(1, ${scale * 10_000}) i;
     insert into history select i % 10, i % ${scale}, i, i % 5000, timestamp '2026-01-01' + i * interval '1 second', ''
       from generate_series(1, ${scale * 1000}) i;
     create index accounts_bid on accounts (bid);
     create index accounts_abalance on accounts (abalance);`,
    'vacuum analyze',
  ];
}

/** Fills the source and gives the cases. */
export async function cloneCases({ source, target }: BenchServers): Promise<readonly Case[]> {
  const database = await createDatabase(source, 'clone');
  const sourceUri = source.uri({ database });
  await execute(sourceUri, ...schema(cloneScale));

  const intoNewDatabase = (
    name: string,
    copy: (targetUri: string, directory: string) => Promise<unknown>,
  ): Case => ({
    name,
    run: async () => {
      const into = await createDatabase(target, 'clone');
      const directory = await mkdtemp(path.join(os.tmpdir(), 'walferry-bench-'));
      try {
        const targetUri = target.uri({ database: into });
        // Whatever the last run left to be written is not for this one to wait for.
        await execute(targetUri, 'checkpoint');
        const ms = await time(() => copy(targetUri, directory));
        await expectEqual(sourceUri, targetUri);
        return ms;
      } finally {
        await dropDatabase(target, into);
        await rm(directory, { recursive: true, force: true });
      }
    },
  });
  const program = (name: string) => path.join(source.address.programs, name);
  return [
    intoNewDatabase('walferry clone', (targetUri, directory) =>
      runWalferry(['clone', '--table-jobs', String(jobs), '--index-jobs', String(jobs)], {
        source: sourceUri,
        target: targetUri,
        directory,
      }),
    ),
    intoNewDatabase('pg_dump -Fd, pg_restore', async (targetUri, directory) => {
      const dump = path.join(directory, 'dump');
      await runProgram(program('pg_dump'), ['-Fd', '-j', String(jobs), '-Z0', '-f', dump, '-d', sourceUri]);
      await runProgram(program('pg_restore'), ['-j', String(jobs), '-d', targetUri, dump]);
    }),
  ];
}
