/**
 * pg_dump and pg_restore: the source's schema into one file, and chosen entries of that file into the target.
 *
 * An entry's name in the table of contents is not to be trusted (blanks and line breaks of a name look like
 * separators), its catalog OIDs and dependencies are: entries are known by those.
 */
import { rename, rm, writeFile } from 'node:fs/promises';
import type { Log } from '../log.js';
import { quoteIdentifier } from '../model/sql.js';
import { clientToolFailure, runClientTool } from './client-tools.js';
import type { Conninfo } from './connection-string.js';
import { newerSetting, readRestoreScript } from './restore-script.js';

/** One line of a dump's table of contents. */
export type DumpEntry = {
  readonly dumpId: number;
  /** The system catalog that the object is a row of, 0 for what is none (ACL, COMMENT, …). */
  readonly catalogOid: number;
  readonly oid: number;
  /** pg_dump's word for it, for example `INDEX ATTACH`. */
  readonly kind: string;
  /** Schema, name and owner as printed: for people. */
  readonly tag: string;
  /** Dump ids that the entry needs. */
  readonly dependencies: readonly number[];
};

/** OIDs of system catalogs, the same on every server. */
export const catalogOids = {
  type: 1247,
  procedure: 1255,
  relation: 1259,
  default: 2604,
  constraint: 2606,
  namespace: 2615,
  rewrite: 2618,
  trigger: 2620,
  extension: 3079,
  policy: 3256,
  statistics: 3381,
  eventTrigger: 3466,
  publication: 6104,
} as const;

// Kinds of more than one word: what follows the kind is a name, and cannot be told from it otherwise. A kind
// counts only with the catalog that it goes with: a table in a schema "ATTACH" has catalog 1259, TABLE ATTACH 0.
const longKinds: readonly (readonly [kind: string, catalogs: readonly number[]])[] = [
  ['MATERIALIZED VIEW DATA', [0]],
  ['MATERIALIZED VIEW', [catalogOids.relation]],
  ['PUBLICATION TABLES IN SCHEMA', [6237]],
  ['PUBLICATION TABLE', [6106]],
  ['SUBSCRIPTION TABLE', [0, 6102]],
  ['SEQUENCE OWNED BY', [0]],
  ['SEQUENCE SET', [0]],
  ['TABLE DATA', [0]],
  ['TABLE ATTACH', [0]],
  ['INDEX ATTACH', [0]],
  ['FK CONSTRAINT', [catalogOids.constraint]],
  ['CHECK CONSTRAINT', [catalogOids.constraint]],
  ['EVENT TRIGGER', [catalogOids.eventTrigger]],
  ['ROW SECURITY', [0]],
  ['DEFAULT ACL', [826]],
  ['SECURITY LABEL', [0]],
  ['SHELL TYPE', [0, catalogOids.type]],
  ['FOREIGN TABLE', [catalogOids.relation]],
  ['FOREIGN DATA WRAPPER', [2328]],
  ['FOREIGN SERVER', [1417]],
  ['USER MAPPING', [0, 1417, 1418]],
  ['PROCEDURAL LANGUAGE', [2612]],
  ['OPERATOR CLASS', [2616]],
  ['OPERATOR FAMILY', [2753]],
  ['ACCESS METHOD', [2601]],
  ['TEXT SEARCH CONFIGURATION', [3602]],
  ['TEXT SEARCH DICTIONARY', [3600]],
  ['TEXT SEARCH PARSER', [3601]],
  ['TEXT SEARCH TEMPLATE', [3764]],
  ['DATABASE PROPERTIES', [0]],
  ['STATISTICS DATA', [0]],
];

/** The same word for all entries of a kind, in place of a piece of each one's line. */
const shortKinds = new Map(
  ['TABLE', 'INDEX', 'CONSTRAINT', 'SEQUENCE', 'DEFAULT', 'VIEW', 'COMMENT', 'ACL', 'TRIGGER'].map((kind) => [
    kind,
    kind,
  ]),
);

const entryPattern = /^(\d+); (\d+) (\d+) (.*)$/;
const dependenciesPattern = /^;\s+depends on:((?: \d+)*)\s*$/;

/** Reads the output of `pg_restore --list --verbose`. */
export function readDumpList(listing: string): DumpEntry[] {
  const reader = new DumpListReader();
  for (const line of listing.split('\n')) reader.line(line);
  return reader.entries;
}

/** Reads it line by line: the text of a list of very many entries is longer than what is kept of it. */
class DumpListReader {
  readonly entries: DumpEntry[] = [];

  line(line: string): void {
    const entry = entryPattern.exec(line);
    if (entry !== null) {
      const catalogOid = Number(entry[2]);
      const rest = entry[4] ?? '';
      const kind = readKind(rest, catalogOid);
      this.entries.push({
        dumpId: Number(entry[1]),
        catalogOid,
        oid: Number(entry[3]),
        kind,
        tag: rest.slice(kind.length + 1).trimEnd(),
        dependencies: [],
      });
      return;
    }
    const dependencies = dependenciesPattern.exec(line);
    const last = this.entries.at(-1);
    if (last === undefined || dependencies === null) return;
    this.entries[this.entries.length - 1] = {
      ...last,
      dependencies: (dependencies[1] ?? '').trim().split(' ').map(Number),
    };
  }
}

function readKind(rest: string, catalogOid: number): string {
  const long = longKinds.find(
    ([kind, catalogs]) => rest.startsWith(`${kind} `) && catalogs.includes(catalogOid),
  );
  if (long !== undefined) return long[0];
  const kind = rest.slice(0, rest.indexOf(' '));
  return shortKinds.get(kind) ?? kind;
}

/** An entry as it is shown to people. */
export function entryLabel(entry: DumpEntry): string {
  return `${entry.kind} ${entry.tag}`;
}

/** What pg_restore said of one failed statement. */
export type RestoreError = {
  readonly dumpId: number | null;
  /** The server's words. */
  readonly message: string;
  /** The statement; null when it failed before there was one. */
  readonly command: string | null;
};

/**
 * Reads pg_restore's error output (in its untranslated form):
 *
 *     pg_restore: from TOC entry 3458; 0 0 ACL TABLE a postgres
 *     pg_restore: error: could not execute query: ERROR:  role "x" does not exist
 *     Command was: GRANT SELECT ON TABLE public.a TO x;
 */
export function readRestoreErrors(output: string): RestoreError[] {
  const errors: RestoreError[] = [];
  let dumpId: number | null = null;
  let open: { dumpId: number | null; message: string[]; command: string[] | null } | null = null;
  const close = () => {
    if (open === null) return;
    const command = open.command?.join('\n').trim() ?? null;
    errors.push({ dumpId: open.dumpId, message: open.message.join('\n').trim(), command });
    open = null;
  };
  for (const line of output.split('\n')) {
    const from = /^pg_restore: from TOC entry (\d+);/.exec(line);
    const error = /^pg_restore: error: (?:could not execute query: )?(?:ERROR: {2})?(.*)$/.exec(line);
    if (from !== null) {
      close();
      dumpId = Number(from[1]);
    } else if (error !== null) {
      close();
      open = { dumpId, message: [error[1] ?? ''], command: null };
    } else if (line.startsWith('pg_restore: ')) {
      close();
    } else if (open !== null) {
      const command = /^Command was: (.*)$/.exec(line);
      if (command !== null && open.command === null) open.command = [command[1] ?? ''];
      else (open.command ?? open.message).push(line);
    }
  }
  close();
  return errors;
}

/** Whether it is only that: pg_restore goes on without. The words are the server's, in any language; the statement is not. */
export function isOfNewerProgram({ dumpId, command }: RestoreError): boolean {
  return dumpId === null && command !== null && newerSetting.test(command.trim());
}

/** What pg_dump is not even to look at, beyond our own schema: schemas by name, tables quoted and qualified. */
export type DumpExclusions = { readonly schemas: readonly string[]; readonly tables: readonly string[] };

export type DumpOptions = {
  readonly source: Conninfo;
  readonly snapshot: string;
  readonly file: string;
  /** server_version_num of the source: older programs refuse it. */
  readonly serverVersion: number;
  readonly exclude?: DumpExclusions | undefined;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
};

/**
 * Dumps the schema as the snapshot sees it, pre- and post-data in one file so that every dependency is known. The
 * file appears whole or not at all. Left out: our own schema; subscriptions, whose connection strings hold
 * passwords; large objects, which are copied (or not) apart.
 */
export async function dumpSchema(options: DumpOptions): Promise<void> {
  const partial = `${options.file}.partial`;
  await rm(partial, { force: true });
  const result = await runClientTool({
    tool: 'pg_dump',
    conninfo: options.source,
    side: 'source',
    serverVersion: options.serverVersion,
    args: [
      '--format=custom',
      `--snapshot=${options.snapshot}`,
      '--section=pre-data',
      '--section=post-data',
      '--exclude-schema=walferry',
      ...(options.exclude?.schemas ?? []).map((name) => `--exclude-schema=${quoteIdentifier(name)}`),
      ...(options.exclude?.tables ?? []).map((name) => `--exclude-table=${name}`),
      '--no-subscriptions',
      '--no-blobs',
      `--file=${partial}`,
    ],
    log: options.log,
    signal: options.signal,
  });
  if (result.code !== 0) throw clientToolFailure('pg_dump', result, 'source');
  await rename(partial, options.file);
}

/** The entries of a dump, in its order. `serverVersion` is the dumped server's, which chooses the program. */
export async function listDump(
  file: string,
  options: { readonly serverVersion: number; readonly log: Log; readonly signal?: AbortSignal | undefined },
): Promise<DumpEntry[]> {
  const reader = new DumpListReader();
  const result = await runClientTool({
    tool: 'pg_restore',
    args: ['--list', '--verbose', file],
    onLine: (line) => reader.line(line),
    ...options,
  });
  if (result.code !== 0) throw clientToolFailure('pg_restore', result);
  return reader.entries;
}

export type RestoreOptions = {
  readonly target: Conninfo;
  readonly file: string;
  /** server_version_num of the dumped server, which chooses the program. */
  readonly serverVersion: number;
  /** Where the list of chosen entries is written, for pg_restore and for whoever wants to see it. */
  readonly listFile: string;
  readonly entries: readonly DumpEntry[];
  readonly noOwner: boolean;
  readonly noAcl: boolean;
  readonly noComments: boolean;
  readonly noTablespaces: boolean;
  /** DROP … IF EXISTS before each CREATE. */
  readonly clean: boolean;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
};

/**
 * Restores the entries, in their order (pg_restore itself moves ACLs, and then refreshes and event triggers, to the
 * end). Statements that fail are returned; which of them matter is the caller's decision. Throws
 * `client-tool-failed` when pg_restore failed otherwise.
 */
export async function restoreEntries(options: RestoreOptions): Promise<RestoreError[]> {
  if (options.entries.length === 0) return [];
  const result = await runClientTool({
    tool: 'pg_restore',
    conninfo: options.target,
    side: 'target',
    serverVersion: options.serverVersion,
    // Only so does it say which entry a statement that failed belongs to.
    args: ['--verbose', ...(await restoreArguments(options))],
    log: options.log,
    errorsAs: 'notice',
    signal: options.signal,
  });
  const all = readRestoreErrors(result.stderr);
  const errors = all.filter((error) => !isOfNewerProgram(error));
  if (all.length > 0 && errors.length === 0) return [];
  // Without an entry it was not a statement of the dump: the connection, the file, the program itself.
  const other = errors.length === 0 || errors.some((error) => error.dumpId === null);
  if (result.code !== 0 && other) throw clientToolFailure('pg_restore', result, 'target');
  return errors;
}

/** Writes the list; what both ways of restoring tell pg_restore. */
async function restoreArguments(options: RestoreOptions): Promise<string[]> {
  const lines = options.entries.map(
    (entry) => `${entry.dumpId}; ${entry.catalogOid} ${entry.oid} ${entryLabel(entry)}`,
  );
  await writeFile(options.listFile, `${lines.join('\n')}\n`, { mode: 0o600 });
  const switches: readonly (readonly [boolean, readonly string[]])[] = [
    [options.noOwner, ['--no-owner']],
    [options.noAcl, ['--no-acl']],
    [options.noComments, ['--no-comments']],
    [options.noTablespaces, ['--no-tablespaces']],
    [options.clean, ['--clean', '--if-exists']],
  ];
  return [
    ...switches.flatMap(([on, words]) => (on ? words : [])),
    `--use-list=${options.listFile}`,
    options.file,
  ];
}

/** The same as SQL, for a session; null where that cannot be sent over ours. Throws `client-tool-failed`. */
export async function scriptEntries(options: RestoreOptions): Promise<string | null> {
  const result = await runClientTool({
    tool: 'pg_restore',
    serverVersion: options.serverVersion,
    args: ['--file=-', ...(await restoreArguments(options))],
    log: options.log,
    signal: options.signal,
  });
  if (result.code !== 0) throw clientToolFailure('pg_restore', result);
  return readRestoreScript(result.stdout);
}
