import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's top directory. */
export const repository = fileURLToPath(new URL('../..', import.meta.url));

/** The built program. */
export const mainFile = path.join(repository, 'dist/src/cli/main.js');

const stamp = path.join(repository, 'dist/.built-for-tests');

/**
 * Compiles src and plugins to dist unless dist is newer. Type errors are printed and do not stop the run: `npm test`
 * builds first and stops there, and whoever runs one file wants to see that file's result.
 */
export async function buildWhenStale(): Promise<void> {
  const newest = Math.max(...['src', 'plugins'].map((folder) => newestChange(path.join(repository, folder))));
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= newest) return;
  const started = new Date();
  const compiler = path.join(repository, 'node_modules/typescript/bin/tsc');
  for (const project of ['tsconfig.json', 'src/monitor/page/browser']) {
    const built = spawnSync(process.execPath, [compiler, '-p', project], {
      cwd: repository,
      encoding: 'utf8',
    });
    if (built.status !== 0) process.stderr.write(`the build has errors:\n${built.stdout}${built.stderr}\n`);
  }
  writeFileSync(stamp, '');
  // A file that changed while the compiler ran must count as newer.
  utimesSync(stamp, started, started);
}

function newestChange(folder: string): number {
  return Math.max(
    statSync(folder).mtimeMs,
    ...readdirSync(folder, { withFileTypes: true }).map((entry) => {
      const file = path.join(folder, entry.name);
      return entry.isDirectory() ? newestChange(file) : statSync(file).mtimeMs;
    }),
  );
}
