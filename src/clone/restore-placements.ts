/**
 * Tables and indexes whose tablespace or access method the target does not have. They are made with the default one, and
 * pg_restore tells it of the first of several in a row only: the setting is not sent again for the next.
 */
import { entryLabel } from '../postgres/dump.js';
import type { DumpEntry, RestoreError } from '../postgres/dump.js';
import { splitRestoreScript } from '../postgres/restore-script.js';
import type { SourceSchema } from '../postgres/schema.js';
import type { Problem } from './options.js';

type Setting = 'tablespace' | 'table_access_method';

/** By setting, what it is set to: quoted where a name needs it. */
type Placement = ReadonlyMap<Setting, string>;

const refusedSetting = /^could not set default_(tablespace|table_access_method)\b/;
const settingLine = /^SET default_(tablespace|table_access_method) = (.*);$/;

const placedKinds: Readonly<Record<Setting, readonly string[]>> = {
  tablespace: ['TABLE', 'MATERIALIZED VIEW', 'INDEX'],
  table_access_method: ['TABLE', 'MATERIALIZED VIEW'],
};

/** Whether pg_restore was refused a tablespace or an access method, and went on without. */
export function isRefusedSetting({ message }: Pick<RestoreError, 'message'>): boolean {
  return refusedSetting.test(message);
}

/** Those of a restore's entries that may be in a tablespace, or have an access method. */
export function placedEntries(entries: readonly DumpEntry[]): DumpEntry[] {
  return entries.filter(({ kind }) => placedKinds.tablespace.includes(kind));
}

/**
 * Where each of the entries is to be, as pg_restore's script of them (and of nothing else) says. Null where the script
 * is not understood. Pure.
 */
export function readPlacements(
  script: string,
  entries: readonly DumpEntry[],
): ReadonlyMap<number, Placement> | null {
  const pieces = splitRestoreScript(
    script,
    entries.map(({ kind }) => kind),
  );
  if (pieces === null) return null;
  const placements = new Map<number, Placement>();
  let holds: Placement = new Map();
  for (const [at, entry] of entries.entries()) {
    const piece = pieces[at] ?? '';
    // What holds for the first entry stands above it.
    if (at === 0) holds = settingsOf(piece.slice(0, piece.indexOf('\n-- Name: ')), holds);
    placements.set(entry.dumpId, holds);
    holds = settingsOf(piece, holds);
  }
  return placements;
}

/** The settings that a text ends with: above these it may be a view's. */
function settingsOf(text: string, before: Placement): Placement {
  const after = new Map(before);
  const lines = text.split('\n').toReversed();
  const end = lines.findIndex((line) => line !== '' && line !== '--' && !settingLine.test(line));
  for (const line of lines.slice(0, end === -1 ? undefined : end).toReversed()) {
    const [, setting, value] = settingLine.exec(line) ?? [];
    if (setting !== undefined && value !== undefined) after.set(setting as Setting, value);
  }
  return after;
}

export type Placed = {
  readonly entries: readonly DumpEntry[];
  readonly placements: ReadonlyMap<number, Placement>;
  /** What Postgres calls the entries: `table public.t`. */
  readonly identities: ReadonlyMap<number, string>;
  readonly schema: Pick<SourceSchema, 'tables'>;
  /** server_version_num of the target. */
  readonly targetVersion: number;
};

// ALTER TABLE … SET ACCESS METHOD is known from here on.
const alterMethodFrom = 150_000;

/** Every entry that was made elsewhere than it should be, with the statement that moves it. Pure. */
export function madeElsewhere(
  errors: readonly RestoreError[],
  { entries, placements, identities, schema, targetVersion }: Placed,
): Problem[] {
  const words = new Map<string, string>();
  for (const { dumpId, message } of errors) {
    const setting = refusedSetting.exec(message)?.[1] as Setting | undefined;
    const value = setting && placements.get(dumpId ?? 0)?.get(setting);
    if (value !== undefined) words.set(`${setting} ${value}`, message);
  }
  // Without rows of its own a table has no access method, before 17; from there on a statement of its own says it.
  const partitioned = new Set(schema.tables.filter(({ kind }) => kind !== 'table').map(({ oid }) => oid));
  return entries.flatMap((entry) =>
    [...(placements.get(entry.dumpId) ?? [])].flatMap(([setting, value]): Problem[] => {
      const message = words.get(`${setting} ${value}`);
      if (message === undefined || !placedKinds[setting].includes(entry.kind)) return [];
      if (setting === 'table_access_method' && entry.kind === 'TABLE' && partitioned.has(entry.oid))
        return [];
      const what = setting === 'tablespace' ? 'tablespace' : 'access method';
      const identity = identities.get(entry.dumpId);
      const sql =
        identity === undefined || (setting === 'table_access_method' && targetVersion < alterMethodFrom)
          ? null
          : `ALTER ${identity} SET ${what.toUpperCase()} ${value};`;
      return [{ object: `${what} of ${entryLabel(entry)}`, message, sql }];
    }),
  );
}
