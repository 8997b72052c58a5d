/**
 * Roles of the source's server: pg_dumpall's script read statement by statement and replayed on the target.
 *
 * The script holds password hashes: it is kept in memory, and a statement with one goes nowhere but to the target.
 * What happens to a role:
 * 1. a hosted service's own (`rds_superuser`, `neon_superuser`, …): left out, with its memberships;
 * 2. on the target already: left as it is, only its memberships are added;
 * 3. else it is made, attribute by attribute where the whole is refused.
 */
import type { Log } from '../log.js';
import { quoteIdentifier } from '../model/sql.js';
import { clientToolFailure, runClientTool } from '../postgres/client-tools.js';
import type { ClientToolResult } from '../postgres/client-tools.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { Problem } from './options.js';
import { attemptStatement } from './problems.js';
import { planMembership, readMembershipOptions, type Membership } from './role-memberships.js';
import { openTarget } from './sessions.js';

export type RoleOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  /** server_version_num of the source, which chooses the program. */
  readonly serverVersion: number;
  /** False: --no-role-passwords. */
  readonly passwords: boolean;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
};

/** Copies the roles, all or none of them. Returns what was refused. */
export async function copyRoles(options: RoleOptions): Promise<Problem[]> {
  const problems: Problem[] = [];
  const script = await dumpRoles(options, problems);
  return [...problems, ...(await replayRoles(script, options))];
}

/** Replays a script of `pg_dumpall --roles-only`, all of it or nothing. Returns what was refused. */
export async function replayRoles(
  script: string,
  options: Pick<RoleOptions, 'target' | 'log' | 'signal'>,
): Promise<Problem[]> {
  const statements = readRoleScript(script);
  await using target = await openTarget(options.target, 'roles', options);
  await target.query('begin');
  const replayed = await new RoleReplay(target, await fetchRoleNames(target)).replay(statements);
  await target.query('commit');
  const { made, there, leftOut } = replayed;
  options.log.info(
    `Copied ${made.length} role${made.length === 1 ? '' : 's'}; ${there.length} were on the target already`,
  );
  if (leftOut.length > 0) options.log.info(`Left out the service's own roles: ${leftOut.join(', ')}`);
  return replayed.problems;
}

/** The script; without passwords where the source's role may not read them, which is a problem to be told. */
export async function dumpRoles(options: Omit<RoleOptions, 'target'>, problems: Problem[]): Promise<string> {
  if (options.passwords) {
    const result = await runDumpAll(options, []);
    if (result.code === 0) return result.stdout;
    if (!/permission denied for (?:table|relation|view) pg_authid/.test(result.stderr)) {
      throw clientToolFailure('pg_dumpall', result, 'source');
    }
    problems.push({
      object: 'passwords of the roles',
      message: 'our role on the source may not read them (pg_authid): the roles have none on the target',
      sql: null,
    });
  }
  const result = await runDumpAll(options, ['--no-role-passwords']);
  if (result.code !== 0) throw clientToolFailure('pg_dumpall', result, 'source');
  return result.stdout;
}

function runDumpAll(
  options: Omit<RoleOptions, 'target'>,
  more: readonly string[],
): Promise<ClientToolResult> {
  return runClientTool({
    tool: 'pg_dumpall',
    conninfo: options.source,
    side: 'source',
    serverVersion: options.serverVersion,
    // pg_dumpall ignores the connection's database, and `postgres` may not be open to us.
    args: ['--roles-only', '--encoding=UTF8', `--database=${options.source.database}`, ...more],
    log: options.log,
    errorsAs: 'notice',
    signal: options.signal,
  });
}

async function fetchRoleNames(target: Session): Promise<Set<string>> {
  const rows = await target.query('select rolname from pg_catalog.pg_roles');
  return new Set(rows.map((row) => row['rolname'] ?? ''));
}

/** A statement of the script, as far as it matters who it is about. */
export type RoleStatement =
  | { readonly kind: 'create'; readonly role: string }
  | {
      readonly kind: 'attributes';
      readonly role: string;
      /** SQL of one attribute each, for example `LOGIN`, `CONNECTION LIMIT 3`, `PASSWORD '…'`. */
      readonly attributes: readonly string[];
    }
  | ({ readonly kind: 'membership' } & Membership)
  /** Settings, comments, security labels; `role` is null for a statement about no role. */
  | { readonly kind: 'other'; readonly role: string | null; readonly sql: string };

const tokenPattern =
  /--[^\n]*|\\[^\n]*|[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[\w$.\u0080-\uffff]+|\s+|[\s\S]/gu;

/** Reads the script that `pg_dumpall --roles-only` prints. Pure. */
export function readRoleScript(script: string): RoleStatement[] {
  const statements: RoleStatement[] = [];
  let tokens: string[] = [];
  for (const [token] of script.matchAll(tokenPattern)) {
    const ignored = token.startsWith('--') || token.startsWith('\\');
    if (token === ';') {
      const statement = readStatement(tokens);
      if (statement !== null) statements.push(statement);
      tokens = [];
    } else if (!ignored && (tokens.length > 0 || token.trim() !== '')) {
      tokens.push(token);
    }
  }
  return statements;
}

function readStatement(tokens: readonly string[]): RoleStatement | null {
  const sql = tokens.join('').trim();
  const words = tokens.filter((token) => token.trim() !== '');
  const [first, second, third, fourth] = words;
  const role = readIdentifier(third ?? '');
  if (first === undefined || first === 'SET' || first === 'SELECT') return null;
  if (first === 'CREATE' && second === 'ROLE') return { kind: 'create', role };
  if (first === 'ALTER' && second === 'ROLE' && fourth === 'WITH') {
    return { kind: 'attributes', role, attributes: readAttributes(words.slice(4)) };
  }
  if (first === 'ALTER' && second === 'ROLE') return { kind: 'other', role, sql };
  if (first === 'GRANT' && third === 'TO') {
    const { grantor, options } = readMembershipOptions(words);
    const plain = tokens.slice(0, grantor === null ? undefined : tokens.indexOf('GRANTED'));
    return {
      kind: 'membership',
      role: readIdentifier(second ?? ''),
      member: readIdentifier(fourth ?? ''),
      sql,
      withoutGrantor: plain.join('').trim(),
      grantor,
      options,
    };
  }
  // COMMENT ON ROLE x IS …, SECURITY LABEL … ON ROLE x IS …, GRANT SET ON PARAMETER p TO x
  const at = first === 'GRANT' ? words.lastIndexOf('TO') : words.indexOf('ROLE');
  const named = at === -1 ? undefined : words[at + 1];
  return { kind: 'other', role: named === undefined ? null : readIdentifier(named), sql };
}

const valueWords: ReadonlyMap<string, number> = new Map([
  ['CONNECTION', 3],
  ['PASSWORD', 2],
  ['VALID', 3],
]);

function readAttributes(words: readonly string[]): string[] {
  const attributes: string[] = [];
  for (let at = 0; at < words.length;) {
    const count = valueWords.get(words[at] ?? '') ?? 1;
    attributes.push(words.slice(at, at + count).join(' '));
    at += count;
  }
  return attributes;
}

function readIdentifier(token: string): string {
  return token.startsWith('"') ? token.slice(1, -1).replaceAll('""', '"') : token;
}

// Amazon, Neon, Google, Azure, Supabase: made by the service, with rights that only the service can give.
const serviceRole =
  /^(?:pg_|rds(?:_|admin$|repladmin$|topmgr$)|neon_|cloud_admin$|zenith_|cloudsql|alloydb|azure|supabase_)/;

/** Whether a role is a hosted service's own, or the server's. Pure. */
export function isServiceRole(name: string): boolean {
  return serviceRole.test(name);
}

// A new role has none of them, and naming them at all is refused to an ordinary role before 16.
const absentAttributes = new Set([
  'NOSUPERUSER',
  'NOREPLICATION',
  'NOBYPASSRLS',
  'NOCREATEROLE',
  'NOCREATEDB',
  'NOLOGIN',
]);

type Replayed = {
  readonly made: string[];
  readonly there: string[];
  readonly leftOut: string[];
  readonly problems: Problem[];
};

/** One replay, in one transaction that the caller began. */
class RoleReplay {
  readonly #target: Session;
  readonly #existing: ReadonlySet<string>;
  readonly #result: Replayed = { made: [], there: [], leftOut: [], problems: [] };

  constructor(target: Session, existing: ReadonlySet<string>) {
    this.#target = target;
    this.#existing = existing;
  }

  async replay(statements: readonly RoleStatement[]): Promise<Replayed> {
    for (const statement of statements) await this.#one(statement);
    return this.#result;
  }

  async #one(statement: RoleStatement): Promise<void> {
    const { made, there, leftOut } = this.#result;
    const { role } = statement;
    if (statement.kind === 'membership') return this.#grant(statement);
    if (role === null) return this.#refusable('roles', statement.kind === 'other' ? statement.sql : '');
    if (statement.kind === 'create') {
      if (isServiceRole(role)) leftOut.push(role);
      else if (this.#existing.has(role)) there.push(role);
      else {
        const sql = `CREATE ROLE ${quoteIdentifier(role)}`;
        const refused = await attemptStatement(this.#target, sql);
        if (refused === null) made.push(role);
        else this.#problem(role, refused, sql);
      }
      return;
    }
    // 1, 2, or refused above: then the rest of it would be refused for want of the role.
    if (!made.includes(role)) return;
    if (statement.kind === 'attributes') await this.#alter(role, statement.attributes);
    else await this.#refusable(`role ${role}`, statement.sql);
  }

  async #alter(role: string, all: readonly string[]): Promise<void> {
    const attributes = all.filter((attribute) => !absentAttributes.has(attribute));
    if (attributes.length === 0) return;
    const alter = (some: readonly string[]) => `ALTER ROLE ${quoteIdentifier(role)} WITH ${some.join(' ')}`;
    if ((await attemptStatement(this.#target, alter(attributes))) === null) return;
    for (const attribute of attributes) {
      const refused = await attemptStatement(this.#target, alter([attribute]));
      if (refused === null) continue;
      const secret = attribute.startsWith('PASSWORD');
      if (secret) this.#problem(role, 'its password could not be set: set a new one', null);
      else this.#problem(role, refused, alter([attribute]));
    }
  }

  async #grant(statement: Extract<RoleStatement, { kind: 'membership' }>): Promise<void> {
    const { role, member } = statement;
    if (!this.#known(member)) return;
    if (!this.#known(role)) {
      // One of the server's own, which a newer one has; of any other it was told why it is not there.
      if (role.startsWith('pg_')) {
        this.#problem(
          member,
          `it is a member of ${role} on the source, which the target does not have`,
          null,
        );
      }
      return;
    }
    const { serverVersion: version } = this.#target;
    const plan = planMembership(statement, { version, memberInherits: await this.#inherits(member) });
    if (plan.lost !== null) this.#problem(member, plan.lost, null);
    let refused: string | null = null;
    for (const sql of plan.statements) {
      refused = await attemptStatement(this.#target, sql);
      if (refused === null) return;
    }
    if (refused !== null) this.#problem(member, refused, plan.statements.at(-1) ?? null);
  }

  async #inherits(role: string): Promise<boolean> {
    const [row] = await this.#target.query('select rolinherit from pg_catalog.pg_roles where rolname = $1', [
      role,
    ]);
    return row?.['rolinherit'] === 't';
  }

  /** `pg_monitor` and its like are on every server; a service's own are left out. */
  #known(name: string): boolean {
    if (isServiceRole(name) && !name.startsWith('pg_')) return false;
    return this.#existing.has(name) || this.#result.made.includes(name);
  }

  async #refusable(object: string, sql: string): Promise<void> {
    const refused = await attemptStatement(this.#target, sql);
    if (refused !== null) this.#result.problems.push({ object, message: refused, sql: `${sql};` });
  }

  #problem(role: string, message: string, sql: string | null): void {
    this.#result.problems.push({ object: `role ${role}`, message, sql: sql === null ? null : `${sql};` });
  }
}
