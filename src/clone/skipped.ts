/**
 * What --skip-extensions, --skip-ext-comments, --skip-collations and --skip-db-properties leave out: of a step that goes
 * by a schema in the work directory, what it is told itself, and what the dump was told.
 */
import type { DumpEntry } from '../postgres/dump.js';
import { catalogOids } from '../postgres/dump.js';
import type { ObjectChoices } from './options.js';
import type { SchemaFile } from './schema-file.js';

/** The options; also as the schema file keeps them. */
export type SkipChoices = Pick<
  ObjectChoices,
  'skipExtensions' | 'skipExtensionComments' | 'skipCollations' | 'skipDatabaseProperties'
>;

/** The options alone. */
export function skipChoices(options: SkipChoices): SkipChoices {
  const { skipExtensions, skipExtensionComments, skipCollations, skipDatabaseProperties } = options;
  return { skipExtensions, skipExtensionComments, skipCollations, skipDatabaseProperties };
}

/** The schema without what these options, or those of its dump, leave out. Not to be saved: that would be for good. Pure. */
export function withoutSkipped(file: SchemaFile, options: SkipChoices): SchemaFile {
  const dumped = file.skipped ?? {};
  const either = (name: keyof SkipChoices) => options[name] === true || dumped[name] === true;
  const choices: SkipChoices = {
    skipExtensions: either('skipExtensions'),
    skipExtensionComments: either('skipExtensionComments'),
    skipCollations: either('skipCollations'),
  };
  return {
    ...file,
    leftOut: [
      ...file.leftOut,
      ...skippedEntries(file.entries, choices, new Set(file.extensionSchemas ?? [])),
    ],
    extensions: either('skipExtensions') ? [] : file.extensions,
    properties: either('skipDatabaseProperties') ? [] : file.properties,
  };
}

/** Dump ids of what --skip-extensions, --skip-ext-comments and --skip-collations leave out. Pure. */
export function skippedEntries(
  entries: readonly DumpEntry[],
  choices: SkipChoices,
  extensionSchemas: ReadonlySet<number>,
): number[] {
  const extensions = new Set(
    entries.filter((entry) => entry.catalogOid === catalogOids.extension).map((entry) => entry.dumpId),
  );
  const isSkipped = (entry: DumpEntry) => {
    const skipExtensions = choices.skipExtensions === true;
    if (skipExtensions && extensions.has(entry.dumpId)) return true;
    if (skipExtensions && entry.catalogOid === catalogOids.namespace) return extensionSchemas.has(entry.oid);
    if (skipExtensions || choices.skipExtensionComments === true) {
      if (entry.kind === 'COMMENT' && entry.dependencies.some((id) => extensions.has(id))) return true;
    }
    return choices.skipCollations === true && entry.kind === 'COLLATION';
  };
  return entries.filter(isSkipped).map(({ dumpId }) => dumpId);
}
