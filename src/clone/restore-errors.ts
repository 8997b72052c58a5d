/**
 * Which failed statements of a restore are only reported, and which end the run. Pure.
 */
import { entryLabel } from '../postgres/dump.js';
import type { DumpEntry, RestoreError } from '../postgres/dump.js';
import type { Problem } from './options.js';

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

const ownerCommand = /^alter\s[\s\S]*\sowner\s+to\s[^;]*;?\s*$/i;
const dropCommand = /^drop\s/i;
const setting = /^could not set default_(tablespace|table_access_method)/;

export type JudgedErrors = { readonly problems: Problem[]; readonly fatal: Problem[] };

/** Sorts what pg_restore could not do. */
export function judgeRestoreErrors(
  errors: readonly RestoreError[],
  entries: ReadonlyMap<number, DumpEntry>,
): JudgedErrors {
  const judged: JudgedErrors = { problems: [], fatal: [] };
  for (const error of errors) {
    const entry = error.dumpId === null ? undefined : entries.get(error.dumpId);
    const list = isReportedOnly(error, entry) ? judged.problems : judged.fatal;
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
  if (setting.test(error.message)) return true;
  if (error.command === null) return false;
  // --clean only: when the DROP mattered, the CREATE after it fails too, and counts.
  return ownerCommand.test(error.command) || dropCommand.test(error.command);
}
