import { readFile } from 'node:fs/promises';
import { Failure, systemReason } from '../failure.js';
import { readFilters, type FilterFile } from './parse.js';

/** Reads a filter file from the disk. Throws `usage`: also where there is none. */
export async function loadFilterFile(file: string): Promise<FilterFile> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    throw new Failure('usage', `the filter file ${file} cannot be read${systemReason(error)}`, {
      cause: error,
    });
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new Failure('usage', `the filter file ${file} is not encoded in UTF-8`, { cause: error });
  }
  return readFilters(text, file);
}
