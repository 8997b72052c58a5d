/** Files that a command leaves in the work directory for others to read. */
import { join } from 'node:path';
import { Failure } from '../failure.js';

/** Makes the directory where it is missing. Pieces of text follow one another. The file appears whole or not at all: somebody may be reading the last one. */
export async function writeWhole(
  directory: string,
  name: string,
  text: string | AsyncIterable<string>,
): Promise<void> {
  const { mkdir, rename, writeFile } = await import('node:fs/promises');
  const file = join(directory, name);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFile(`${file}.partial`, text, { mode: 0o600 });
    await rename(`${file}.partial`, file);
  } catch (error) {
    throw new Failure('work-directory-broken', `${file} cannot be written`, { cause: error });
  }
}
