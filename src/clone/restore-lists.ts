/**
 * The dump's table of contents as files for people, as pg_restore reads them: `pre-out.list` and `post-out.list` with
 * every entry of their half, `pre-filtered.list` and `post-filtered.list` with a `;` before each that pg_restore is
 * not given, because a filter leaves it out or because we make it ourselves.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.js';
import { entryLabel, type DumpEntry } from '../postgres/dump.js';
import { planClone } from './plan.js';
import { placeEntries } from './restore-plan.js';
import { loadSchemaFile, schemaPaths } from './schema-file.js';
import { withoutSkipped } from './skipped.js';

/** A line of `pg_restore --list`. */
export function listLine(entry: DumpEntry): string {
  return `${entry.dumpId}; ${entry.catalogOid} ${entry.oid} ${entryLabel(entry)}`;
}

/** Writes the four files; gives their paths. */
export async function writeRestoreLists(directory: string): Promise<string[]> {
  const file = await loadSchemaFile(directory);
  if (file === null) {
    throw new Failure('work-directory-broken', `${directory} does not hold a dump of the source's schema`, {
      remedy: 'Run `walferry dump schema` with this --dir first.',
    });
  }
  const plan = planClone(file.schema, new Set(file.withoutRows));
  const placements = placeEntries(file.entries, {
    schema: file.schema,
    ownIndexes: plan.ownIndexes,
    ownConstraints: plan.ownConstraints,
    ownPublications: new Set(),
    leftOut: new Set(withoutSkipped(file, {}).leftOut),
  });
  const isRestored = (entry: DumpEntry) => placements.get(entry.dumpId)?.kind === 'restore';
  const halves = [
    ['pre', file.entries.filter((entry) => isPreData(entry.kind))],
    ['post', file.entries.filter((entry) => !isPreData(entry.kind))],
  ] as const;
  const paths: string[] = [];
  const write = async (name: string, lines: readonly string[]) => {
    const path = join(schemaPaths(directory).folder, `${name}.list`);
    await writeFile(path, lines.map((line) => `${line}\n`).join(''), { mode: 0o600 });
    paths.push(path);
  };
  for (const [half, entries] of halves) {
    await write(`${half}-out`, entries.map(listLine));
    await write(
      `${half}-filtered`,
      entries.map((entry) => `${isRestored(entry) ? '' : ';'}${listLine(entry)}`),
    );
  }
  return paths;
}

// pg_dump's own border (dumpObject's section): what needs rows, or would be in their way.
const postDataKinds = new Set([
  'INDEX',
  'INDEX ATTACH',
  'CONSTRAINT',
  'FK CONSTRAINT',
  'CHECK CONSTRAINT',
  'TRIGGER',
  'EVENT TRIGGER',
  'RULE',
  'POLICY',
  'ROW SECURITY',
  'STATISTICS',
  'PUBLICATION',
  'PUBLICATION TABLE',
  'PUBLICATION TABLES IN SCHEMA',
  'SUBSCRIPTION',
  'SUBSCRIPTION TABLE',
  'DEFAULT ACL',
  'MATERIALIZED VIEW DATA',
]);

function isPreData(kind: string): boolean {
  return !postDataKinds.has(kind);
}
