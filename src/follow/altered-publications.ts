/**
 * A publication that was altered since the stream began. What it left out, if only for a moment, the stream does not tell
 * of: everything that arrives would look complete. So a run ends when it sees that, with its own code, and looks once more
 * before it says that everything up to the end position is on the target.
 */
import type { StreamRecord } from '../catalog/stream.js';
import { Failure } from '../failure.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import { changesOf, lostEntries } from '../model/publication-state.js';
import { arrayLiteral } from '../model/sql.js';
import { relationLabel } from '../model/relation.js';
import { connect, type Session, type TextRow } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { fetchPublicationState } from '../postgres/publication.js';
import { notOfExtension, userSchema } from '../postgres/schema-scope.js';
import { fetchStreamSource } from '../postgres/stream-source.js';
import { fetchChangedParts, isOfOthers, sayChanged } from './stream-tables.js';

/** Permanent tables of users that the publications do not carry. Those of an extension come with the extension. */
const unpublishedQuery = `
  with published as materialized (
    select r.oid from pg_catalog.pg_publication_tables t
      join pg_catalog.pg_namespace n on n.nspname = t.schemaname
      join pg_catalog.pg_class r on r.relnamespace = n.oid and r.relname = t.tablename
     where t.pubname = any ($1::name[])
  )
  select c.oid::text, n.nspname as schema, c.relname as name
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.relkind = 'r' and c.relpersistence = 'p' and c.oid >= 16384
     and ${userSchema}
     and ${notOfExtension}
     and c.oid not in (select oid from published)
     and not (c.relispartition and exists (select from pg_catalog.pg_partition_ancestors(c.oid) a
                                            where a.relid in (select oid from published)))
   order by 2, 3`;

const tablesQuery = `
  select c.oid::text, n.nspname as schema, c.relname as name
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.oid = any ($1::oid[])
   order by 2, 3`;

export type FoundTable = { readonly oid: string; readonly schema: string; readonly name: string };

/** The tables of the source that the stream's publications do not carry. */
export async function fetchUnpublished(session: Session, stream: StreamRecord): Promise<FoundTable[]> {
  return (await session.query(unpublishedQuery, [arrayLiteral(stream.publications)])).map(readTable);
}

/** A row of `oid`, `schema` and `name`. */
export function readTable(row: TextRow): FoundTable {
  return { oid: row['oid'] ?? '', schema: row['schema'] ?? '', name: row['name'] ?? '' };
}

/**
 * What keeps the stream from being whole; null where nothing is known to. `unpublished`, where it was asked for already:
 * then a table that was made anew under the name of one that was followed is found too.
 */
export async function fetchAlteration(
  session: Session,
  stream: StreamRecord,
  keeps: Keeps,
  unpublished: readonly FoundTable[] = [],
): Promise<Failure | null> {
  if (isOfOthers(stream)) {
    const changed = await fetchChangedParts(session, stream, keeps);
    if (changed.length === 0) return null;
    return new Failure('publication-altered', sayChanged(stream, changed), {
      remedy:
        'Have its owner change it back before anything is written there, or start again with --restart.',
    });
  }
  const { made, carried } = stream;
  if (stream.ownPublications.length === 0) return null;
  const was = new Set(carried);
  const lost = new Set(unpublished.map(relationLabel).filter((label) => was.has(label)));
  const changes: string[] = [];
  if (made !== null) {
    const now = await fetchPublicationState(session, stream.ownPublications);
    changes.push(...changesOf(made, now));
    const gone = lostEntries(made, now);
    // One that was dropped is in no publication, and nothing is lost with it.
    const tables = gone.length === 0 ? [] : await session.query(tablesQuery, [`{${gone.join(',')}}`]);
    for (const table of tables.map(readTable)) lost.add(relationLabel(table));
  }
  if (lost.size > 0) {
    changes.push(
      `tables were taken out of the publication of the stream, put in again, or made anew: ${[...lost].join(', ')}`,
    );
  }
  if (changes.length === 0) return null;
  const message = `${changes.join('; ')}: what was written since may be lost to the stream`;
  return new Failure('publication-altered', message);
}

export type AlterationOptions = {
  readonly source: Conninfo;
  readonly stream: StreamRecord;
  /** The tables that are copied and followed. */
  readonly keeps: Keeps;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/**
 * As `fetchAlteration`, of a source that may be another server or database than the stream's, and then has other
 * publications: whoever reads the slot tells of that.
 */
export async function findAlteration(
  session: Session,
  { source, stream, keeps, log, signal }: AlterationOptions,
  unpublished: readonly FoundTable[],
): Promise<Failure | null> {
  const failure = await fetchAlteration(session, stream, keeps, unpublished);
  if (failure === null) return null;
  const here = await fetchStreamSource(session, { source, log, signal });
  const { systemIdentifier, database } = stream.key;
  return here.systemIdentifier === systemIdentifier && here.database === database ? failure : null;
}

/** Asks the source. Throws `publication-altered`, or why it cannot be asked. */
export async function expectUnaltered(options: AlterationOptions): Promise<void> {
  const { source, stream, log, signal } = options;
  if (stream.publications.length === 0) return;
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry look',
    log,
    signal,
  });
  const unpublished = await fetchUnpublished(session, stream);
  const failure = await findAlteration(session, options, unpublished);
  if (failure !== null) throw failure;
}
