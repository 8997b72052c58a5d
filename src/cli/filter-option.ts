/** --filters → the filter file. */
import type { FilterFile } from '../filter/parse.js';
import type { Settings } from './settings.js';

/** The file of --filters; null without it. Throws `usage` with everything that is wrong with it. */
export async function filtersOf({ filters, skipExtensions }: Settings): Promise<FilterFile | null> {
  if (filters === null) return null;
  const { loadFilterFile } = await import('../filter/load.js');
  const { besideSkippedExtensions } = await import('../filter/parse.js');
  const file = await loadFilterFile(filters);
  return skipExtensions ? besideSkippedExtensions(file) : file;
}
