/** Files that a command leaves in the work directory for others to read. */
import { join } from 'node:path';
import { Failure, systemReason } from '../failure.js';

/** Makes the directory where it is missing. Pieces of text follow one another. The file appears whole or not at all: somebody may be reading the last one. */
export async function writeWhole(
  directory: string,
  name: string,
  text: string | AsyncIterable<string>,
): Promise<void> {
  const { rename, writeFile } = await import('node:fs/promises');
  const { makeDirectory } = await import('../catalog/make-directory.js');
  const file = join(directory, name);
  try {
    makeDirectory(directory);
    await writeFile(`${file}.partial`, text, { mode: 0o600 });
    await rename(`${file}.partial`, file);
  } catch (error) {
    throw new Failure('work-directory-broken', `${file} cannot be written${systemReason(error)}`, {
      cause: error,
    });
  }
}
