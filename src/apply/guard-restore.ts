/**
 * Puts back what was switched off on a target (target-guards.ts): several objects a transaction together with their
 * records, so that it may be interrupted and repeated; one object a transaction where that fails.
 */
import { throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';
import { arrayLiteral, quoteLiteral } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { streamKeyParameters } from '../postgres/position-row.js';
import {
  lockTimeoutMs,
  openSession,
  recordInto,
  tableExists,
  untilStopped,
  withLocks,
  type Guarded,
  type GuardOptions,
} from './guard-records.js';

/**
 * In the order in which they are put back. A key that has to be added in full reads its table: the others are not to wait
 * for that.
 */
const kinds: readonly (readonly Guarded['kind'][])[] = [['identity', 'rule', 'trigger'], ['foreign-key']];

const enableWord: Readonly<Record<string, string>> = { O: '', A: 'always ', R: 'replica ' };

const recordsQuery = `
  select kind, relation, name, state, comment from walferry.guard
  where stream = $1 and system_identifier = $2 and database = $3`;

/** What is known of a record's table now. */
type Place = {
  readonly found: boolean;
  readonly partitioned: boolean;
  /** Whether a constraint of the record's name is there. */
  readonly keyThere: boolean;
};

const placesQuery = `
  select (c.oid is not null)::text as found, (c.relkind = 'p')::text as partitioned,
    exists (select from pg_catalog.pg_constraint k
             where k.conrelid = c.oid and pg_catalog.quote_ident(k.conname) = r.name)::text as key_there
  from unnest($1::text[], $2::text[]) with ordinality r (relation, name, at)
  left join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(r.relation)
  order by r.at`;

async function fetchPlaces(session: Session, records: readonly Guarded[]): Promise<Place[]> {
  const columns = [records.map(({ relation }) => relation), records.map(({ name }) => name)];
  const rows = await session.query(placesQuery, columns.map(arrayLiteral));
  return rows.map((row) => ({
    found: row['found'] === 'true',
    partitioned: row['partitioned'] === 'true',
    keyThere: row['key_there'] === 'true',
  }));
}

/** As many are put back in one transaction: each alone waits for several answers. */
const recordsTogether = 100;

/**
 * Puts back what was switched off for this stream. Does nothing where nothing is. Foreign keys are left to be validated
 * where that can be done later (`validateGuarded`).
 */
export async function restoreGuarded(options: GuardOptions): Promise<void> {
  const stream = streamKeyParameters(options.key);
  await withRecords(options, kinds.flat(), async (session, records) => {
    const shares = kinds.flatMap((some) => inShares(records.filter(({ kind }) => some.includes(kind))));
    for (const some of shares) {
      // Where it fails (a lock that was not to be had), one after the other says which, and waits for it.
      const together = some.length > 1 && (await putBackTogether(session, some, stream));
      for (const record of together ? [] : some) {
        throwIfStopped(options.signal);
        await withLocks(session, options.log, options.signal, async () => {
          const [place] = await fetchPlaces(session, [record]);
          if (place?.found !== true) sayGone(record, options.log);
          const what = `could not put back ${labelOf(record)}`;
          for (const statement of putBackStatements(record, place, { session, stream })) {
            await session.query(statement, [], what);
          }
        });
      }
      for (const record of some) options.log.info(`put back ${labelOf(record)}`);
    }
  });
}

function inShares(records: readonly Guarded[]): Guarded[][] {
  const count = Math.ceil(records.length / recordsTogether);
  return Array.from({ length: count }, (_, at) =>
    records.slice(at * recordsTogether, (at + 1) * recordsTogether),
  );
}

/** Validates the foreign keys that `restoreGuarded` has added NOT VALID. Throws what a row that breaks one says. */
export async function validateGuarded(options: GuardOptions): Promise<void> {
  const stream = streamKeyParameters(options.key);
  await withRecords(options, ['validation'], async (session, records) => {
    for (const record of records) {
      throwIfStopped(options.signal);
      const { relation, name } = record;
      await withLocks(session, options.log, options.signal, async () => {
        const [place] = await fetchPlaces(session, [record]);
        // One that somebody has dropped meanwhile has nothing to be validated.
        if (place?.keyThere === true) {
          await session.query(
            `alter table ${relation} validate constraint ${name}`,
            [],
            `could not validate foreign key ${name} of ${relation}`,
          );
        }
        await session.query(forgetStatement(record, stream));
      });
      options.log.info(`validated foreign key ${name} of ${relation}`);
    }
  });
}

/** The records of these kinds, in the kinds' order, and a session; `work` is not called where there are none. */
async function withRecords(
  options: GuardOptions,
  wanted: readonly Guarded['kind'][],
  work: (session: Session, records: readonly Guarded[]) => Promise<void>,
): Promise<void> {
  if (options.session === undefined) {
    await using session = await openSession(options);
    return await withRecords({ ...options, session }, wanted, work);
  }
  const { session, key, signal } = options;
  await untilStopped(session, signal, async () => {
    const [exists] = await session.query(tableExists);
    if ((exists?.['guard'] ?? null) === null) return;
    const records = (await session.query(recordsQuery, streamKeyParameters(key))) as unknown as Guarded[];
    const chosen = wanted.flatMap((kind) => records.filter((one) => one.kind === kind));
    if (chosen.length > 0) await work(session, chosen);
  });
}

function labelOf({ kind, relation, name }: Guarded): string {
  return `${kind} ${name} of ${relation}`;
}

function sayGone(record: Guarded, log: Log): void {
  log.warn(`${labelOf(record)} is not put back: the target has no table ${record.relation} any more`);
}

/** All in one transaction, with their records; false when that fails, and nothing was done. */
async function putBackTogether(
  session: Session,
  records: readonly Guarded[],
  stream: readonly string[],
): Promise<boolean> {
  const places = await fetchPlaces(session, records);
  // Those whose table is gone are told one by one.
  if (places.some(({ found }) => !found)) return false;
  const statements = records.flatMap((record, at) =>
    putBackStatements(record, places[at], { session, stream }),
  );
  try {
    await session.run(
      ['begin', `set local lock_timeout to ${lockTimeoutMs}`, ...statements, 'commit'].join(';\n'),
    );
    return true;
  } catch {
    await session.query('rollback');
    return false;
  }
}

function forgetStatement({ kind, relation, name }: Guarded, stream: readonly string[]): string {
  const [first, system, database, ...rest] = [...stream, kind, relation, name].map(quoteLiteral);
  return `delete from walferry.guard
    where stream = ${first} and system_identifier = ${system} and database = ${database}
      and (kind, relation, name) = (${rest.join(', ')})`;
}

/** What puts it back, and takes its record away. */
function putBackStatements(
  record: Guarded,
  place: Place | undefined,
  { session, stream }: { readonly session: Session; readonly stream: readonly string[] },
): string[] {
  const { kind, relation, name, state } = record;
  const forget = forgetStatement(record, stream);
  if (place?.found !== true) return [forget];
  switch (kind) {
    case 'trigger':
      return [`alter table only ${relation} enable ${enableWord[state] ?? ''}trigger ${name}`, forget];
    case 'rule':
      return [`alter table ${relation} enable ${enableWord[state] ?? ''}rule ${name}`, forget];
    case 'identity':
      return [`alter table ${relation} alter column ${name} set generated always`, forget];
    case 'foreign-key':
      // Somebody may have added it again.
      return [...(place.keyThere ? [] : addKeyStatements(record, place, { session, stream })), forget];
    case 'validation':
      throw new Error('a validation is not put back');
  }
  return kind satisfies never;
}

/** NOT VALID is refused for partitioned tables before 18. */
function addKeyStatements(
  { relation, name, state, comment }: Guarded,
  { partitioned }: Place,
  { session, stream }: { readonly session: Session; readonly stream: readonly string[] },
): string[] {
  const later = !state.endsWith(' NOT VALID') && (!partitioned || session.serverVersion >= 180000);
  const validation = [...stream, 'validation', relation, name, ''].map(quoteLiteral);
  return [
    `alter table ${relation} add constraint ${name} ${later ? `${state} not valid` : state}`,
    ...(comment === null ? [] : [`comment on constraint ${name} on ${relation} is ${quoteLiteral(comment)}`]),
    ...(later ? [`${recordInto} values (${validation.join(', ')}, null) on conflict do nothing`] : []),
  ];
}
