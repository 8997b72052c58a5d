/**
 * Sequences: read from the live source, not from the snapshot (their values move outside of transactions, and a
 * stream does not carry them), and set on the target. Two queries for each few hundred sequences.
 */
import { Failure } from '../failure.js';
import { loadFilter } from '../catalog/filter-record.js';
import { addTiming } from '../catalog/timings.js';
import type { Catalog } from '../catalog/database.js';
import { keptSequencesOf, type Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteLiteral, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { sqlState } from '../postgres/sqlstate.js';
import { cutOnAbort } from '../postgres/cut-session.js';
import { openSource } from './sessions.js';
import { listLabels } from './requirements.js';
import { lendTarget, type SpareTarget } from './spare-target.js';
import { stepLabels } from './summary.js';

export type SequenceOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly catalog: Catalog;
  /** How many of its steps every sequence is set ahead of the source; none unless told. */
  readonly headroom?: number | undefined;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
  readonly spare?: SpareTarget | undefined;
  /** A session on the source that is open already; without, one of its own is opened. */
  readonly session?: Session | undefined;
  /** Which are set; those that the work directory's filter keeps, unless told. */
  readonly keeps?: Keeps | undefined;
};

export type SequenceValue = {
  readonly schema: string;
  readonly name: string;
  readonly lastValue: string;
  readonly isCalled: string;
};

const sequencesQuery = `
  select n.nspname as schema, c.relname as name,
    (pg_catalog.has_sequence_privilege(c.oid, 'select')
      and pg_catalog.has_schema_privilege(n.oid, 'usage'))::text as readable
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'S' and c.relpersistence <> 't'
    -- A standby has nothing of what is unlogged.
    and not (c.relpersistence = 'u' and pg_catalog.pg_is_in_recovery())
    and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'walferry')
    and not exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  order by 1, 2`;

type SequenceName = { readonly schema: string; readonly name: string };

/** The sequences that will have to be read, and that our role may not read: `grant select on all tables` leaves them out. */
export async function fetchUnreadableSequences(source: Session, keeps: Keeps): Promise<SequenceName[]> {
  const rows = await source.query(sequencesQuery, [], 'could not list the sequences');
  return rows
    .filter((row) => row['readable'] === 'false')
    .map((row) => ({ schema: row['schema'] ?? '', name: row['name'] ?? '' }))
    .filter(keeps);
}

/** Asked before anything is made: they are read last. Throws `source-rights`. */
export async function expectReadableSequences(source: Session, keeps: Keeps, role: string): Promise<void> {
  const unreadable = await fetchUnreadableSequences(source, keeps);
  const [first] = unreadable;
  if (first === undefined) return;
  const [labels, to] = [unreadable.map(relationLabel), quoteIdentifier(role)];
  throw new Failure('source-rights', `source: our role may not read the sequences ${listLabels(labels)}`, {
    remedy: `grant usage on schema ${quoteIdentifier(first.schema)} to ${to}; grant select on all sequences in schema ${quoteIdentifier(first.schema)} to ${to}; or for everything: grant pg_read_all_data to ${to};`,
  });
}

const atOnce = 500;

/**
 * Sets every sequence on the target to where it stands on the source now. May be run again at any time.
 * Throws what the servers refuse: `source-rights` when the role may not read a sequence.
 */
export async function setSequences(
  options: SequenceOptions,
): Promise<{ readonly count: number; readonly values: readonly SequenceValue[] }> {
  const began = performance.now();
  const values = await fetchSourceValues(options);
  await using target = await lendTarget(options);
  // Somebody's `alter sequence` in a transaction that stays open would be waited for without an end.
  using _cut = cutOnAbort(target.session, options.signal);
  const set = await setValues(target.session, values, options.headroom ?? 0);
  const missing = values.filter((one) => !set.has(quoteQualified(one.schema, one.name)));
  for (const one of missing) {
    options.log.warn(
      `sequence ${relationLabel(one)} is not on the target: it was made after the schema was copied`,
    );
  }
  addTiming(options.catalog, {
    step: stepLabels.sequences,
    connection: 'both',
    durationMs: performance.now() - began,
    bytes: 0,
    concurrency: 1,
  });
  return { count: set.size, values };
}

/** Sets them again, where any has moved on the source since; says how many had. */
export async function setMovedSequences(
  options: SequenceOptions,
  before: readonly SequenceValue[],
): Promise<number> {
  const known = new Set(before.map((value) => JSON.stringify(value)));
  const moved = (await fetchSourceValues(options)).filter((value) => !known.has(JSON.stringify(value)));
  if (moved.length > 0) await setSequences(options);
  return moved.length;
}

async function fetchSourceValues(options: SequenceOptions): Promise<SequenceValue[]> {
  const scope = loadFilter(options.catalog)?.scope ?? null;
  const keeps = options.keeps ?? (scope === null ? () => true : keptSequencesOf(scope));
  if (options.session !== undefined) return await fetchValues(options.session, keeps);
  await using source = await openSource(options.source, 'sequences', options);
  return await fetchValues(source, keeps);
}

// A sequence may be dropped between the list and its turn.
const triesWhenDropped = 3;

async function fetchValues(source: Session, keeps: Keeps): Promise<SequenceValue[]> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await fetchValuesOnce(source, keeps);
    } catch (error) {
      if (sqlState(error) !== '42P01' || tries === triesWhenDropped) throw error;
    }
  }
}

async function fetchValuesOnce(source: Session, keeps: Keeps): Promise<SequenceValue[]> {
  const sequences = (await source.query(sequencesQuery)).filter((row) =>
    keeps({ schema: row['schema'] ?? '', name: row['name'] ?? '' }),
  );
  const values: SequenceValue[] = [];
  for (let from = 0; from < sequences.length; from += atOnce) {
    const some = sequences.slice(from, from + atOnce);
    const selects = some.map(({ schema, name }, position) => {
      const qualified = quoteQualified(schema ?? '', name ?? '');
      return `select ${position} as position, last_value, is_called from ${qualified}`;
    });
    const rows = await source.query(selects.join(' union all '), [], 'could not read the sequences');
    for (const row of rows) {
      const sequence = some[Number(row['position'])];
      values.push({
        schema: sequence?.['schema'] ?? '',
        name: sequence?.['name'] ?? '',
        lastValue: row['last_value'] ?? '',
        isCalled: row['is_called'] ?? '',
      });
    }
  }
  return values;
}

/**
 * The sequences that were there to be set. With headroom, each stands so many of its increments further on, but not
 * beyond its end; a cycling one has no room ahead that is safe, and stands where the source's does.
 */
async function setValues(
  target: Session,
  values: readonly SequenceValue[],
  headroom: number,
): Promise<Set<string>> {
  const set = new Set<string>();
  for (let from = 0; from < values.length; from += atOnce) {
    const some = values.slice(from, from + atOnce);
    const list = some.map(
      (one, position) =>
        `(${position}, ${quoteLiteral(quoteQualified(one.schema, one.name))}, ${one.lastValue}::bigint, '${one.isCalled}'::boolean)`,
    );
    const rows = await target.query(
      `select v.position, pg_catalog.setval(c.oid::regclass, case when $1::numeric = 0 or s.seqcycle then v.last_value else
           least(greatest(v.last_value + s.seqincrement * $1::numeric, s.seqmin), s.seqmax)::bigint end,
         v.is_called)
       from (values ${list.join(', ')}) v(position, name, last_value, is_called)
       join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(v.name) and c.relkind = 'S'
       join pg_catalog.pg_sequence s on s.seqrelid = c.oid`,
      [String(headroom)],
      'could not set the sequences',
    );
    for (const row of rows) {
      const one = some[Number(row['position'])];
      if (one !== undefined) set.add(quoteQualified(one.schema, one.name));
    }
  }
  return set;
}
