/**
 * What an earlier run, or somebody else, has built on the target already. A name tells little: an index of another
 * table may have it, or a view. Of what is planned,
 *   1. nothing has the name                                          it is built
 *   2. it is there: on its table, valid, with its definition         it is left
 *   3. something else has the name                                   refused, with the words for what has it
 *   4. it is printed in other words, and our role may not try        refused, with the right that it takes to find out
 */
import { asFailure, Failure } from '../failure.js';
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { sqlState } from '../postgres/sqlstate.js';
import type { FinishingStep, IndexPlan, TablePlan } from './plan.js';
import { relationWords } from './requirements.js';

/** Case 2, what the target has instead (case 3), or why that is not known (case 4). */
type Standing = 'built' | { readonly instead: string } | Unknown;

/** What is there is not known to be the same, for want of a right. */
type Unknown = { readonly found: string; readonly refusal: string };

type ConstraintPlan = NonNullable<FinishingStep['constraint']>;

/** What the target has of the planned indexes and constraints. */
export class PresentIndexes {
  readonly #indexes: ReadonlyMap<string, Standing>;
  /** By `"schema"."table"."constraint"`. */
  readonly #constraints: ReadonlyMap<string, Standing>;

  constructor(indexes: ReadonlyMap<string, Standing>, constraints: ReadonlyMap<string, Standing>) {
    this.#indexes = indexes;
    this.#constraints = constraints;
  }

  /** Throws `target-setup` in case 3, `target-rights` in case 4. */
  hasIndex(index: IndexPlan): boolean {
    return isBuilt(this.#indexes.get(indexName(index)), `could not build index ${index.label}`);
  }

  /** Throws `target-setup` in case 3, `target-rights` in case 4. */
  hasConstraint(table: TablePlan, { name }: ConstraintPlan): boolean {
    const standing = this.#constraints.get(constraintName(table, name));
    return isBuilt(standing, `could not add constraint ${name} of ${table.label}`);
  }
}

function isBuilt(standing: Standing | undefined, words: string): boolean {
  if (standing === undefined || standing === 'built') return standing === 'built';
  if ('refusal' in standing) {
    throw new Failure(
      'target-rights',
      `${words}: the target has one of this name (${standing.found}), and whether it is the same cannot be found out: ${standing.refusal}`,
      {
        remedy:
          'Grant our role that right (TEMPORARY on the database, mostly), or drop it there; then run the same command with --resume.',
      },
    );
  }
  throw new Failure('target-setup', `${words}: the target has ${standing.instead} of this name`, {
    remedy: 'Drop or rename it on the target, then run the same command with --resume.',
  });
}

function indexName({ schema, name }: IndexPlan): string {
  return quoteQualified(schema, name);
}

function constraintName({ qualified }: TablePlan, name: string): string {
  return `${qualified}.${quoteIdentifier(name)}`;
}

/** Looks up what is there of these tables' indexes and constraints. The session is outside of a transaction. */
export async function fetchPresentIndexes(
  target: Session,
  tables: readonly TablePlan[],
): Promise<PresentIndexes> {
  return new PresentIndexes(await fetchIndexes(target, tables), await fetchConstraints(target, tables));
}

// An index that is not ready or not live is the rest of a CONCURRENTLY that failed.
const indexesQuery = `
  select w.position, c.relkind as kind, n.nspname as schema, t.relname as table,
    i.indisvalid and i.indisready and i.indislive as valid, pg_catalog.pg_get_indexdef(i.indexrelid) as definition
  from pg_catalog.json_array_elements_text($1::json) with ordinality as w(name, position)
  join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(w.name)
  left join pg_catalog.pg_index i on i.indexrelid = c.oid
  left join pg_catalog.pg_class t on t.oid = i.indrelid
  left join pg_catalog.pg_namespace n on n.oid = t.relnamespace`;

async function fetchIndexes(target: Session, tables: readonly TablePlan[]): Promise<Map<string, Standing>> {
  const planned = tables.flatMap((table) => table.indexes.map((index) => ({ table, index })));
  const names = JSON.stringify(planned.map(({ index }) => indexName(index)));
  const standings = new Map<string, Standing>();
  for (const row of await target.query(indexesQuery, [names])) {
    const one = planned[Number(row['position']) - 1];
    if (one === undefined) continue;
    const { index, table } = one;
    const of = { schema: row['schema'] ?? '', name: row['table'] ?? '' };
    const definition = row['definition'] ?? null;
    let standing: Standing = 'built';
    if (definition === null) standing = { instead: relationWords(row['kind'] ?? '') };
    else if (quoteQualified(of.schema, of.name) !== table.qualified)
      standing = { instead: `an index of ${relationLabel(of)}` };
    else if (row['valid'] !== 't') standing = { instead: 'an invalid index' };
    else {
      const same = await isSameIndex(target, table, index.sql, definition);
      if (typeof same === 'string') standing = { found: definition, refusal: same };
      else if (!same) standing = { instead: `another index (${definition})` };
    }
    standings.set(indexName(index), standing);
  }
  return standings;
}

const constraintsQuery = `
  select w.position, pg_catalog.pg_get_constraintdef(k.oid) as definition
  from pg_catalog.json_to_recordset($1::json) as w("position" int, "table" text, name text)
  join pg_catalog.pg_constraint k on k.conrelid = pg_catalog.to_regclass(w.table) and k.conname = w.name`;

async function fetchConstraints(
  target: Session,
  tables: readonly TablePlan[],
): Promise<Map<string, Standing>> {
  const planned = tables.flatMap((table) =>
    table.finishing.flatMap(({ constraint }) => (constraint === null ? [] : [{ table, constraint }])),
  );
  const names = planned.map(({ table, constraint }, position) => ({
    position,
    table: table.qualified,
    name: constraint.name,
  }));
  const standings = new Map<string, Standing>();
  for (const row of await target.query(constraintsQuery, [JSON.stringify(names)])) {
    const one = planned[Number(row['position'])];
    if (one === undefined) continue;
    const { table, constraint } = one;
    const definition = row['definition'] ?? '';
    const isSame = await isSameConstraint(target, table, constraint.definition, definition);
    let standing: Standing = 'built';
    if (typeof isSame === 'string') standing = { found: definition, refusal: isSame };
    else if (!isSame) standing = { instead: `another constraint (${definition})` };
    standings.set(constraintName(table, constraint.name), standing);
  }
  return standings;
}

const identifier = String.raw`(?:"(?:[^"]|"")*"|[^\s".]+)`;
const indexPattern = new RegExp(
  `^CREATE (UNIQUE )?INDEX ${identifier} ON (?:ONLY )?${identifier}\\.${identifier} (USING .*)$`,
  's',
);

/** What pg_get_indexdef says but for the names: whether it is unique, and all from USING on. Null: it is not its text. Pure. */
export function indexBody(definition: string): { readonly unique: boolean; readonly using: string } | null {
  const match = indexPattern.exec(definition);
  const using = match?.[2];
  return using === undefined ? null : { unique: match?.[1] !== undefined, using };
}

const madeIndexQuery = `select pg_catalog.pg_get_indexdef('pg_temp.walferry_trial_index'::pg_catalog.regclass) as made`;

/** Or why it is not known. */
async function isSameIndex(
  target: Session,
  table: TablePlan,
  wanted: string,
  found: string,
): Promise<boolean | string> {
  if (wanted === found) return true;
  const [one, other] = [indexBody(wanted), indexBody(found)];
  if (one === null || other === null || one.unique !== other.unique) return false;
  if (one.using === other.using) return true;
  const make = `create index walferry_trial_index on pg_temp.walferry_trial ${one.using}`;
  const made = await fetchMade(target, table, make, madeIndexQuery);
  return 'refusal' in made ? made.refusal : indexBody(made.made ?? '')?.using === other.using;
}

const madeConstraintQuery = `
  select pg_catalog.pg_get_constraintdef(oid) as made from pg_catalog.pg_constraint
  where conrelid = 'pg_temp.walferry_trial'::pg_catalog.regclass and conname = 'walferry_trial_constraint'`;

/** Or why it is not known. `wanted`: null where the source did not tell it any more. */
async function isSameConstraint(
  target: Session,
  table: TablePlan,
  wanted: string | null,
  found: string,
): Promise<boolean | string> {
  if (wanted === null || wanted === found) return true;
  const make = `alter table pg_temp.walferry_trial add constraint walferry_trial_constraint ${wanted}`;
  const made = await fetchMade(target, table, make, madeConstraintQuery);
  return 'refusal' in made ? made.refusal : made.made === found;
}

/**
 * How the target prints what this statement makes on an empty copy of the table; null when it cannot be made, and the
 * server's words where our role may not try. A definition
 * that was made from the source's words is often printed in others: `a in ('x')` on a varchar column changes each
 * time, and major versions have words of their own.
 */
async function fetchMade(
  target: Session,
  table: TablePlan,
  make: string,
  read: string,
): Promise<{ readonly made: string | null } | { readonly refusal: string }> {
  await target.query('begin');
  try {
    await target.query(`create temporary table walferry_trial (like ${table.qualified}) on commit drop`);
    await target.query(make);
    return { made: (await target.query(read))[0]?.['made'] ?? null };
  } catch (error) {
    if (sqlState(error) === null || target.lost !== null) throw error;
    return sqlState(error) === '42501' ? { refusal: asFailure(error).message } : { made: null };
  } finally {
    if (target.lost === null) await target.query('rollback');
  }
}
