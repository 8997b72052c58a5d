/**
 * Which failed statements of a restore are only reported, and which end the run. Pure.
 */
import { entryLabel } from '../postgres/dump.js';
import type { DumpEntry, RestoreError } from '../postgres/dump.js';
import type { Problem } from './options.js';
import { isRefusedSetting } from './restore-placements.js';

// What an ordinary role is refused on hosted servers, and what other objects can do without. An extension that
// could not be created is among them: whatever needs it fails for itself, and that ends the run.
const reportedKinds = new Set([
  'ACL',
  'DEFAULT ACL',
  'COMMENT',
  'SECURITY LABEL',
  'EXTENSION',
  'EVENT TRIGGER',
  'PUBLICATION',
  'PUBLICATION TABLE',
  'PUBLICATION TABLES IN SCHEMA',
  'PROCEDURAL LANGUAGE',
  'FOREIGN DATA WRAPPER',
  'FOREIGN SERVER',
  'SERVER',
  'USER MAPPING',
]);

// What may be refused to the role and can be made by somebody else afterwards: no row is lost by their absence. A table
// that needs one of them fails for itself.
const laterKinds = new Set([
  'ACCESS METHOD',
  'AGGREGATE',
  'CAST',
  'COLLATION',
  'CONVERSION',
  'DOMAIN',
  'FOREIGN TABLE',
  'FUNCTION',
  'MATERIALIZED VIEW',
  'MATERIALIZED VIEW DATA',
  'OPERATOR',
  'OPERATOR CLASS',
  'OPERATOR FAMILY',
  'POLICY',
  'PROCEDURE',
  'RULE',
  'SHELL TYPE',
  'STATISTICS',
  'TEXT SEARCH CONFIGURATION',
  'TEXT SEARCH DICTIONARY',
  'TEXT SEARCH PARSER',
  'TEXT SEARCH TEMPLATE',
  'TRANSFORM',
  'TRIGGER',
  'TYPE',
  'VIEW',
]);

// What belongs to a foreign table, and is in no other way of use.
const foreignKinds = new Set(['CHECK CONSTRAINT', 'DEFAULT', 'SEQUENCE OWNED BY', 'TABLE ATTACH']);

// The server's words for it; in another language than English they are not known, and the run ends.
const noRight =
  /permission denied|must be (?:superuser|owner|member|able to)|must have|only superuser|not trusted|affected by row-level security|transition data type cannot be internal/i;

const ownerCommand = /^alter\s[\s\S]*\sowner\s+to\s[^;]*;?\s*$/i;
const dropCommand = /^drop\s/i;

export type JudgedErrors = { readonly problems: Problem[]; readonly fatal: Problem[] };

/**
 * Sorts what pg_restore could not do. `refused` are the labels of entries that were only reported at an earlier stage:
 * what failed because it needs one of those is reported too.
 */
export function judgeRestoreErrors(
  errors: readonly RestoreError[],
  entries: ReadonlyMap<number, DumpEntry>,
  refused: ReadonlySet<string> = new Set(),
): JudgedErrors {
  const judged: JudgedErrors = { problems: [], fatal: [] };
  const missing = new Map([...entries].filter(([, entry]) => refused.has(entryLabel(entry))));
  for (const error of errors) {
    const entry = error.dumpId === null ? undefined : entries.get(error.dumpId);
    const reported = isReportedOnly(error, entry) || isRefused(error, entry, { entries, missing });
    if (reported && entry !== undefined) missing.set(entry.dumpId, entry);
    const list = reported ? judged.problems : judged.fatal;
    list.push({
      object: entry === undefined ? 'the schema' : entryLabel(entry),
      message: error.message,
      // The options of a user mapping may hold a password.
      sql: entry?.kind === 'USER MAPPING' ? null : error.command,
    });
  }
  return judged;
}

function isReportedOnly(error: RestoreError, entry: DumpEntry | undefined): boolean {
  if (entry === undefined) return false;
  if (reportedKinds.has(entry.kind)) return true;
  if (isRefusedSetting(error)) return true;
  if (error.command === null) return false;
  // --clean only: when the DROP mattered, the CREATE after it fails too, and counts.
  return ownerCommand.test(error.command) || dropCommand.test(error.command);
}

/** Refused to our role, or in need of something that was: and nothing that rows need. */
function isRefused(
  error: RestoreError,
  entry: DumpEntry | undefined,
  known: Readonly<Record<'entries' | 'missing', ReadonlyMap<number, DumpEntry>>>,
): boolean {
  if (entry === undefined) return false;
  // That a sequence is a column's is an entry of its own, which tells the sequence alone; that one tells the table.
  const of = entry.kind === 'SEQUENCE OWNED BY' ? known.entries : null;
  const needs = entry.dependencies.flatMap((id) => [id, ...(of?.get(id)?.dependencies ?? [])]);
  const needed = needs.flatMap((id) => known.missing.get(id) ?? []);
  if (foreignKinds.has(entry.kind)) return needed.some(({ kind }) => kind === 'FOREIGN TABLE');
  // Other indexes are of tables.
  if (entry.kind === 'INDEX') return needed.some(({ kind }) => kind === 'MATERIALIZED VIEW');
  return laterKinds.has(entry.kind) && (needed.length > 0 || noRight.test(error.message));
}
