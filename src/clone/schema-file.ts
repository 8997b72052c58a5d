/**
 * What a clone knows of the source's schema, kept in the work directory: finalize may come days after the copy, and
 * in another process. The dump lies beside it.
 */
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.js';
import type { DumpEntry } from '../postgres/dump.js';
import type { SourceSchema } from '../postgres/schema.js';
import type { DatabaseProperty } from './database-properties.js';
import type { CitusTable } from './extension-hooks.js';
import type { ExtensionFacts } from './extensions.js';
import type { SkipChoices } from './skipped.js';

/** Grows by one with every change of the file. */
const fileVersion = 3;

export type SchemaFile = {
  readonly version: typeof fileVersion;
  /** The snapshot that schema and dump were read in. */
  readonly snapshot: string;
  /** What that snapshot saw (`pg_current_snapshot()`): told of a primary, for a copy that changes will follow. */
  readonly seen?: string;
  /** Without what a filter leaves out. */
  readonly schema: SourceSchema;
  /** The dump's entries, and the identities of their objects by dump id. */
  readonly entries: readonly DumpEntry[];
  readonly identities: readonly (readonly [dumpId: number, identity: string])[];
  /** Dump ids of entries that a filter leaves out. */
  readonly leftOut: readonly number[];
  /** OIDs of tables that are made and not filled. */
  readonly withoutRows: readonly number[];
  /** Those that a filter leaves. */
  readonly extensions: readonly ExtensionFacts[];
  readonly properties: readonly DatabaseProperty[];
  readonly citusTables: readonly CitusTable[];
  /** What options of the dump leave out besides: see skipped.ts. Absent in files of before, which hold nothing of it. */
  readonly skipped?: SkipChoices;
  /** OIDs of the schemas in which there is nothing but what extensions brought. */
  readonly extensionSchemas?: readonly number[];
};

/** `<work directory>/schema` and the files in it. */
export function schemaPaths(directory: string): { folder: string; source: string; dump: string } {
  const folder = join(directory, 'schema');
  return { folder, source: join(folder, 'source.json'), dump: join(folder, 'schema.dump') };
}

export async function makeSchemaFolder(directory: string): Promise<void> {
  await mkdir(schemaPaths(directory).folder, { recursive: true, mode: 0o700 });
}

/** Writes the file whole or not at all. It comes after the dump: where it is, the dump is complete. */
export async function saveSchemaFile(
  directory: string,
  content: Omit<SchemaFile, 'version'>,
): Promise<SchemaFile> {
  const { source } = schemaPaths(directory);
  const file: SchemaFile = { version: fileVersion, ...content };
  const handle = await open(`${source}.partial`, 'w', 0o600);
  try {
    for (const piece of pieces(jsonOf(file))) await handle.appendFile(piece);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${source}.partial`, source);
  return file;
}

/** So many characters are written at a time. */
const pieceCharacters = 1024 * 1024;

/** Short texts together, so that none is a write of its own. */
function* pieces(texts: Iterable<string>): Generator<string> {
  let held = '';
  for (const text of texts) {
    held += text;
    if (held.length < pieceCharacters) continue;
    yield held;
    held = '';
  }
  yield held;
}

/** Objects in objects in objects: the facts by table OID. What is deeper is small. */
const deepest = 2;

/**
 * JSON of plain data as JSON.stringify makes it, in pieces: with thousands of tables the whole text would take more
 * memory than the data itself. Pure.
 */
export function* jsonOf(data: unknown, depth = 0): Generator<string> {
  if (depth > deepest || typeof data !== 'object' || data === null) {
    yield JSON.stringify(data);
    return;
  }
  let between = '';
  if (Array.isArray(data)) {
    yield '[';
    for (const item of data) {
      yield `${between}${JSON.stringify(item)}`;
      between = ',';
    }
    yield ']';
    return;
  }
  yield '{';
  for (const [key, value] of Object.entries(data)) {
    if (value === undefined) continue;
    yield `${between}${JSON.stringify(key)}:`;
    yield* jsonOf(value, depth + 1);
    between = ',';
  }
  yield '}';
}

/** Reads the file; null when there is none, or no dump with it. Throws `work-directory-broken`. */
export async function loadSchemaFile(directory: string): Promise<SchemaFile | null> {
  const { source, dump } = schemaPaths(directory);
  let text: string;
  try {
    await stat(dump);
    text = await readFile(source, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw new Failure('work-directory-broken', `${source} cannot be read`, { cause: error });
  }
  let file: Omit<SchemaFile, 'version'> & { readonly version: number };
  try {
    file = JSON.parse(text) as typeof file;
  } catch (error) {
    throw new Failure('work-directory-broken', `${source} is damaged`, { cause: error });
  }
  if (file.version !== fileVersion) {
    throw new Failure(
      'work-directory-broken',
      `${source} has version ${file.version}, this walferry reads version ${fileVersion}`,
    );
  }
  return { ...file, version: fileVersion };
}
