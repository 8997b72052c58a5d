/**
 * The publications a stream is read through. Two of them, since publishing a table for UPDATE and DELETE that has no
 * replica identity makes the application's own UPDATE fail:
 *   NAME           tables with a replica identity, every operation
 *   NAME_inserts   tables without one, INSERT and TRUNCATE only; made only when there are such tables
 * They must be committed before the slot is created: decoding a change under a catalog that does not know the
 * publication yet fails for ever.
 * https://www.postgresql.org/docs/current/sql-createpublication.html
 */
import { Failure } from '../failure.js';
import type { PublicationState } from '../model/publication-state.js';
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from './connect.js';
import { serverFailure, sqlState } from './sqlstate.js';

/** A table that is copied. Partitioned tables are published through their leaves, which must be in the list. */
export type PublishedTable = { readonly oid: string; readonly schema: string; readonly name: string };

/** What identifies a row in the stream. */
export type TableIdentity =
  | 'full'
  | 'index'
  | 'primary-key'
  /** None: no primary key, a deferrable or invalid one, REPLICA IDENTITY NOTHING, its index dropped. */
  | 'none'
  /** It holds a generated column that the stream does not carry: with FULL on 18, a virtual one. */
  | 'generated';

/** Why a table is in no publication. */
export type LeftOutReason = 'partitioned' | 'unlogged' | 'not-a-table';

/** What the catalog says of a table that is to be published. */
export type PublicationFacts = PublishedTable & {
  readonly identity: TableIdentity;
  /** Whether its updates are refused unless its stored generated columns are published too. */
  readonly generatedNeeded: boolean;
  readonly owned: boolean;
  readonly leftOut: LeftOutReason | null;
};

/** Which table goes where. */
export type PublicationPlan = {
  readonly everything: readonly PublicationFacts[];
  readonly insertsOnly: readonly PublicationFacts[];
  readonly leftOut: readonly PublicationFacts[];
};

export type CreatedPublications = PublicationPlan & {
  /** The names, in the order START_REPLICATION is to be given them. */
  readonly names: readonly string[];
};

/** How many tables go into one statement: 20,000 tables must not become one text of megabytes. */
const tablesPerStatement = 500;

const maxNameBytes = 63;

/** The publication of the tables without a replica identity. */
export function insertsPublicationName(name: string): string {
  return `${name}_inserts`;
}

/** Postgres cuts longer names silently, and then nothing finds them again. */
export function checkPublicationName(name: string): void {
  const bytes = Buffer.byteLength(insertsPublicationName(name));
  if (name === '' || bytes > maxNameBytes || name.includes('\0')) {
    throw new Failure(
      'usage',
      `"${name}" cannot be the name of the publications: with "_inserts" behind it, it may have up to ${maxNameBytes} bytes`,
    );
  }
}

// From 18 on, UPDATE and DELETE ask that the generated columns of a full identity are published; virtual ones cannot be.
const publishesGeneratedFrom = 180_000;

function fullAndGenerated(serverVersion: number, kind: 's' | 'v'): string {
  if (serverVersion < publishesGeneratedFrom) return 'false';
  return `(c.relreplident = 'f' and exists (select from pg_catalog.pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '${kind}'))`;
}

/** Every table's identity, owner and kind, in one query. */
const publicationFacts = (serverVersion: number) => `
  select t.ordinality::text, c.oid::text, n.nspname as schema, c.relname as name,
         pg_catalog.pg_has_role(c.relowner, 'USAGE')::text as owned,
         case when c.relkind = 'p' then 'partitioned'
              when c.relkind <> 'r' then 'not-a-table'
              when c.relpersistence <> 'p' then 'unlogged' end as left_out,
         ${fullAndGenerated(serverVersion, 's')}::text as generated_needed,
         case when ${fullAndGenerated(serverVersion, 'v')} then 'generated'
              when c.relreplident = 'f' then 'full'
              when i.indexrelid is null then 'none'
              when exists (select from pg_catalog.pg_attribute a
                            where a.attrelid = c.oid and a.attnum = any (i.indkey::int2[]) and a.attgenerated <> '')
                then 'generated'
              when c.relreplident = 'i' then 'index'
              else 'primary-key' end as identity
    from pg_catalog.unnest($1::oid[]) with ordinality as t(oid, ordinality)
    join pg_catalog.pg_class c on c.oid = t.oid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_index i
      on i.indrelid = c.oid and i.indisvalid and i.indimmediate
     and (c.relreplident = 'i' and i.indisreplident or c.relreplident = 'd' and i.indisprimary)
   order by t.ordinality`;

/** Asks the catalog about the tables; one that is gone meanwhile is left out of the answer. */
export async function fetchPublicationFacts(
  session: Session,
  tables: readonly PublishedTable[],
): Promise<PublicationFacts[]> {
  const rows = await session.query(publicationFacts(session.serverVersion), [
    `{${tables.map((table) => table.oid).join(',')}}`,
  ]);
  return rows.map((row) => ({
    oid: row['oid'] ?? '',
    schema: row['schema'] ?? '',
    name: row['name'] ?? '',
    identity: row['identity'] as TableIdentity,
    generatedNeeded: row['generated_needed'] === 'true',
    owned: row['owned'] === 'true',
    leftOut: (row['left_out'] ?? null) as LeftOutReason | null,
  }));
}

/** Decides which table goes into which publication. */
export function planPublications(facts: readonly PublicationFacts[]): PublicationPlan {
  const published = facts.filter((table) => table.leftOut === null);
  const identified = (table: PublicationFacts) => table.identity !== 'none' && table.identity !== 'generated';
  return {
    everything: published.filter(identified),
    insertsOnly: published.filter((table) => !identified(table)),
    leftOut: facts.filter((table) => table.leftOut !== null),
  };
}

/** The statements that make the publications of a plan, in order. */
export function publicationStatements(name: string, plan: PublicationPlan): string[] {
  const statements = publishStatements(name, plan.everything, 'insert, update, delete, truncate');
  if (plan.insertsOnly.length === 0) return statements;
  return [
    ...statements,
    ...publishStatements(insertsPublicationName(name), plan.insertsOnly, 'insert, truncate'),
  ];
}

function publishStatements(name: string, tables: readonly PublicationFacts[], operations: string): string[] {
  const publication = quoteIdentifier(name);
  const batches: string[] = [];
  for (let first = 0; first < tables.length; first += tablesPerStatement) {
    const batch = tables.slice(first, first + tablesPerStatement);
    // ONLY: the tables that inherit from it are in the list themselves, or are not to be published.
    batches.push(batch.map((table) => `only ${quoteQualified(table.schema, table.name)}`).join(', '));
  }
  const [head, ...rest] = batches;
  // They are left out when the rows are applied, as the target generates its own.
  const generated = tables.some((table) => table.generatedNeeded)
    ? `, publish_generated_columns = stored`
    : '';
  const options = `with (publish = '${operations}'${generated})`;
  return [
    `create publication ${publication}${head === undefined ? '' : ` for table ${head}`} ${options}`,
    ...rest.map((batch) => `alter publication ${publication} add table ${batch}`),
  ];
}

export type CreatePublicationsOptions = {
  readonly name: string;
  readonly tables: readonly PublishedTable[];
  /** Drops what an earlier, unfinished start of this stream left behind, in the same transaction. */
  readonly replace?: boolean;
};

/**
 * Makes the publications and commits them, on an ordinary session without a transaction. Throws `source-rights` when
 * the role owns not all of the tables or may not create in the database, `source-setup` when the name is taken.
 */
export async function createPublications(
  session: Session,
  options: CreatePublicationsOptions,
): Promise<CreatedPublications> {
  const { name, tables, replace = false } = options;
  checkPublicationName(name);
  const facts = await fetchPublicationFacts(session, tables);
  const plan = planPublications(facts);
  expectOwned([...plan.everything, ...plan.insertsOnly]);
  try {
    await session.query('begin');
    if (replace) await dropPublications(session, name);
    for (const statement of publicationStatements(name, plan)) await session.query(statement);
    await session.query('commit');
  } catch (error) {
    await session.query('rollback').catch(() => {});
    throw creationFailure(error, name, session);
  }
  const names = plan.insertsOnly.length === 0 ? [name] : [name, insertsPublicationName(name)];
  return { ...plan, names };
}

/**
 * Tries to make the publication of this name, without a table, and leaves nothing behind. Throws as `createPublications`
 * does for what is not about a table.
 */
export async function tryPublication(session: Session, name: string): Promise<void> {
  checkPublicationName(name);
  await session.query('begin');
  try {
    await session.query(`create publication ${quoteIdentifier(name)}`);
  } catch (error) {
    throw creationFailure(error, name, session);
  } finally {
    await session.query('rollback').catch(() => []);
  }
}

const publicationExists = `select from pg_catalog.pg_publication where pubname = $1`;

/** Of the tables without a replica identity, where there are such. Throws `source-setup` when its name is taken. */
export async function expectNoInsertsPublication(session: Session, name: string): Promise<void> {
  const taken = await session.query(publicationExists, [insertsPublicationName(name)]);
  if (taken.length > 0) throw nameTaken(name);
}

const byOthers =
  'Let their owner or a superuser make a publication of these tables and give its name with --publication.';

/** Only its owner can publish a table. Throws `source-rights` naming those that our role does not own. */
export function expectOwned(
  tables: readonly { readonly schema: string; readonly name: string; readonly owned: boolean }[],
): void {
  const foreign = tables.filter((table) => !table.owned);
  if (foreign.length === 0) return;
  const shown = foreign.slice(0, 20).map(relationLabel).join(', ');
  const more = foreign.length > 20 ? ` and ${foreign.length - 20} more` : '';
  throw new Failure(
    'source-rights',
    `only its owner can publish a table, and this role does not own ${foreign.length} of them: ${shown}${more}`,
    { remedy: byOthers },
  );
}

function nameTaken(name: string, cause?: unknown): Failure {
  return new Failure(
    'source-setup',
    `a publication named "${name}" or "${insertsPublicationName(name)}" exists`,
    {
      cause,
      remedy:
        'Use it with --publication, choose another slot name, or drop it with `walferry stream cleanup`.',
    },
  );
}

function creationFailure(error: unknown, name: string, session: Session): Failure {
  const { database = '', user = '' } = session.client;
  const state = sqlState(error);
  if (state === '42710') {
    return nameTaken(name, error);
  }
  if (state === '42501') {
    return new Failure('source-rights', `the role may not make the publication "${name}" on the source`, {
      cause: error,
      remedy: `As the owner of the database: grant create on database ${quoteIdentifier(database)} to ${quoteIdentifier(user)}; or: ${byOthers}`,
    });
  }
  return serverFailure(error, 'source', `creating the publication "${name}" failed`);
}

const namedQuery = `
  select pubname from pg_catalog.pg_publication
  where pubname::text in (select pg_catalog.json_array_elements_text($1::json))`;

/**
 * Drops both publications of this name where they exist; says whether one did. Drop the slot first: it cannot be decoded
 * without them.
 */
export async function dropPublications(session: Session, name: string): Promise<boolean> {
  const names = [name, insertsPublicationName(name)];
  try {
    const found = await session.query(namedQuery, [JSON.stringify(names)]);
    // Somebody else may take them down meanwhile.
    await session.query(`drop publication if exists ${names.map(quoteIdentifier).join(', ')}`);
    return found.length > 0;
  } catch (error) {
    throw serverFailure(error, 'source', `dropping the publication "${name}" failed`);
  }
}

const stateQuery = `
  with publications as (
    select p.*, p.xmin as version from pg_catalog.pg_publication p
     where p.pubname::text in (select pg_catalog.json_array_elements_text($1::json))
  )
  select (select pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', p.pubname, 'oid', p.oid::text, 'version', p.version::text, 'owner', p.pubowner::text,
            'publishes', pg_catalog.concat_ws(', ', case when p.pubinsert then 'insert' end,
              case when p.pubupdate then 'update' end, case when p.pubdelete then 'delete' end,
              case when p.pubtruncate then 'truncate' end,
              case when p.pubviaroot then 'partitions under the name of their root' end)) order by p.pubname)
          from publications p)::text as publications,
         (select pg_catalog.json_agg(pg_catalog.json_build_array(r.prrelid::text, r.oid::text))
            from pg_catalog.pg_publication_rel r
           where r.prpubid in (select oid from publications))::text as entries`;

/** What these publications are now; one that is not there is left out. */
export async function fetchPublicationState(
  session: Session,
  names: readonly string[],
): Promise<PublicationState> {
  const [row] = await session.query(stateQuery, [JSON.stringify(names)]);
  return {
    publications: JSON.parse(row?.['publications'] ?? '[]') as PublicationState['publications'],
    entries: JSON.parse(row?.['entries'] ?? '[]') as PublicationState['entries'],
  };
}

const rootsQuery = `
  select pubname as name from pg_catalog.pg_publication
  where pubviaroot and pubname::text in (select pg_catalog.json_array_elements_text($1::json))`;

/** Those of these publications that name a partition's changes by the root of its table. */
export async function fetchRootPublications(
  session: Session,
  names: readonly string[],
): Promise<readonly string[]> {
  const rows = await session.query(rootsQuery, [JSON.stringify(names)]);
  return rows.map((row) => row['name'] ?? '');
}
