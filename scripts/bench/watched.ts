/**
 * `watched`: a copy that nobody looks at, and the same one looked at fifty times a second: by a program that reads its
 * work directory, and by one that asks the run itself over its port. Whoever looks needs a processor as well; what
 * counts is whether the run does its work in the same time.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { runMeasured } from './client-cost.js';
import { workloads } from './clone.js';
import { lookedAt, looker } from './looker.js';
import type { Case, Sample } from './measure.js';
import { createDatabase, dropDatabase, execute, expectEqual, type BenchServers } from './servers.js';

/** Fills the source and gives the cases. */
export async function watchedCases(
  { source, target }: BenchServers,
  scale: number,
): Promise<readonly Case[]> {
  const database = await createDatabase(source, 'watched');
  const sourceUri = source.uri({ database });
  await execute(sourceUri, ...(workloads['pgbench']?.fill(scale) ?? []), 'vacuum analyze');
  const watched = (name: string, look: 'nobody' | 'directory' | 'port'): Case => ({
    name,
    run: async (): Promise<Sample> => {
      const into = await createDatabase(target, 'watched');
      const directory = await mkdtemp(path.join(os.tmpdir(), 'walferry-bench-'));
      try {
        const targetUri = target.uri({ database: into });
        await execute(targetUri, 'checkpoint');
        const clone =
          `"${process.execPath}" "${path.resolve('dist/src/cli/main.js')}" clone --dir "$DIRECTORY/work" ` +
          `--source "$SOURCE" --target "$TARGET" --table-jobs 2 --index-jobs 2 --monitor ${lookedAt} --quiet >"$DIRECTORY/out"`;
        const looking =
          `"${process.execPath}" --input-type=module --eval "$LOOKER" "$DIRECTORY/work" ` +
          `"${look === 'port' ? lookedAt : ''}" & LOOKING=$!; trap 'kill $LOOKING' EXIT; `;
        const sample = await runMeasured(`${look === 'nobody' ? '' : looking}${clone}`, {
          PATH: `${source.address.programs}:${process.env['PATH'] ?? ''}`,
          SOURCE: sourceUri,
          TARGET: targetUri,
          DIRECTORY: directory,
          LOOKER: looker,
        });
        await expectEqual({ sourceUri, targetUri });
        return sample;
      } finally {
        await dropDatabase(target, into);
        await rm(directory, { recursive: true, force: true });
      }
    },
  });
  return [
    watched('nobody looks', 'nobody'),
    watched('its directory, 50 times a second', 'directory'),
    watched('its port, 50 times a second', 'port'),
  ];
}
