/**
 * What TimescaleDB and Citus ask of a restore (https://docs.timescale.com/self-hosted/latest/migration,
 * https://docs.citusdata.com/en/stable/develop/api_udf.html). Written after their documentation: neither can be
 * installed where walferry is tested, and docs/clone.md says so.
 */
import { quoteLiteral } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { ExtensionFacts } from './extensions.js';
import type { Problem } from './options.js';
import { attemptAlone } from './problems.js';

/** Extensions that must be on the target before anything else is restored. */
export const firstExtensions: ReadonlySet<string> = new Set(['timescaledb']);

export function hasExtension(extensions: readonly ExtensionFacts[], name: string): boolean {
  return extensions.some((one) => one.name === name);
}

/** A distributed table of the source. */
export type CitusTable = {
  readonly name: string;
  readonly type: 'distributed' | 'reference';
  readonly column: string | null;
  readonly colocation: number;
  readonly shards: number;
};

const citusQuery = `
  select table_name::text as name, citus_table_type as type, distribution_column as column,
    colocation_id as colocation, shard_count as shards
  from citus_tables where citus_table_type in ('distributed', 'reference')
  order by table_name::text`;

/** The distributed and reference tables; none where Citus is not installed. */
export async function fetchCitusTables(
  source: Session,
  extensions: readonly ExtensionFacts[],
): Promise<CitusTable[]> {
  const citus = extensions.find((one) => one.name === 'citus');
  if (citus === undefined) return [];
  // Our sessions have no search path, so that the names come with their schemas.
  const rows = await source.query(citusQuery);
  return rows.map((row) => ({
    name: row['name'] ?? '',
    type: row['type'] === 'reference' ? 'reference' : 'distributed',
    column: row['column'] ?? null,
    colocation: Number(row['colocation']),
    shards: Number(row['shards']),
  }));
}

/** The calls that distribute the empty tables of the target: the first of each group, the others by it. Pure. */
export function citusStatements(tables: readonly CitusTable[]): string[] {
  const statements: string[] = [];
  const leaders = new Map<number, string>();
  const literal = (text: string) => quoteLiteral(text).trim();
  for (const { name, type, column, colocation, shards } of tables) {
    if (type === 'reference' || column === null) continue;
    const leader = leaders.get(colocation);
    const call = `create_distributed_table(${literal(name)}, ${literal(column)}`;
    if (leader === undefined) {
      leaders.set(colocation, name);
      statements.push(`select ${call}, shard_count := ${shards}, colocate_with := 'none');`);
    } else {
      statements.push(`select ${call}, colocate_with := ${literal(leader)});`);
    }
  }
  for (const { name, type } of tables) {
    if (type === 'reference') statements.push(`select create_reference_table(${literal(name)});`);
  }
  return statements;
}

/** Distributes the tables, before their rows come. */
export async function distributeTables(target: Session, tables: readonly CitusTable[]): Promise<Problem[]> {
  return attemptAll(target, 'distributed tables', citusStatements(tables));
}

/** Around the restore of a database with TimescaleDB: its triggers and jobs rest in between. */
export async function pauseTimescale(
  target: Session,
  extensions: readonly ExtensionFacts[],
): Promise<Problem[]> {
  return timescale(target, extensions, 'timescaledb_pre_restore');
}

export async function resumeTimescale(
  target: Session,
  extensions: readonly ExtensionFacts[],
): Promise<Problem[]> {
  return timescale(target, extensions, 'timescaledb_post_restore');
}

async function timescale(
  target: Session,
  extensions: readonly ExtensionFacts[],
  call: string,
): Promise<Problem[]> {
  const extension = extensions.find((one) => one.name === 'timescaledb');
  if (extension === undefined) return [];
  return attemptAll(target, 'TimescaleDB', [`select "${extension.schema.replaceAll('"', '""')}".${call}();`]);
}

async function attemptAll(
  target: Session,
  object: string,
  statements: readonly string[],
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const sql of statements) {
    const message = await attemptAlone(target, sql);
    if (message !== null) problems.push({ object, message, sql });
  }
  return problems;
}
