/**
 * `compare schema`: what the databases are made of, read from the catalogs of both sides in a few queries each
 * (schema-objects.ts) and compared here (schema-difference.ts).
 */
import { resolveOnSource } from '../clone/filtered-schema.js';
import type { FilterFile } from '../filter/parse.js';
import { silentLog, type Log } from '../log.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { countObjects, diffObjects, newerExtensions, type SchemaComparison } from './schema-difference.js';
import type { ObjectScope, SchemaObject } from './schema-objects.js';
import { fetchSchemaObjects } from './schema-reading.js';

export type CompareSchemaOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  /** The filter that the copy was made with: what it leaves out is looked at on neither side. */
  readonly filter?: FilterFile | null;
  /** Everything but owners and privileges unless told. */
  readonly scope?: Partial<ObjectScope>;
  /** What is compared of the objects of a side, where that is not all of them (schema-following.ts). */
  readonly as?: (objects: readonly SchemaObject[]) => readonly SchemaObject[];
  readonly log?: Log;
  readonly signal?: AbortSignal;
};

const defaultScope: ObjectScope = { comments: true, owners: false, acls: false, sequenceValues: true };

const beginSql = 'begin isolation level repeatable read, read only';

/** Compares the schemas. Differences are returned, not thrown: `schemasDiffer` makes a failure of them. */
export async function compareSchema(options: CompareSchemaOptions): Promise<SchemaComparison> {
  const { filter = null, log = silentLog, as = (objects) => objects, signal } = options;
  const scope = { ...defaultScope, ...options.scope };
  const open = (side: 'source' | 'target') =>
    connect(options[side], { side, applicationName: 'walferry compare', log, signal });
  await using source = await open('source');
  await using target = await open('target');
  const abort = () => void Promise.allSettled([source.close(), target.close()]);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const read = async (session: Session) => {
      await session.query(beginSql);
      return await fetchSchemaObjects(session, scope);
    };
    const [onSource, onTarget] = await Promise.all([read(source), read(target)]);
    const [wanted, found] = (
      filter === null ? [onSource, onTarget] : await inScope(source, filter, log, [onSource, onTarget])
    ).map(as) as [readonly SchemaObject[], readonly SchemaObject[]];
    const [row] = await source.query('select pg_catalog.current_database() as database');
    const major = ({ serverVersion }: Session) => Math.floor(serverVersion / 10_000);
    const majors = { source: major(source), target: major(target) };
    const newer = newerExtensions(wanted, found, majors);
    if (newer.length > 0) log.info(`extensions as PostgreSQL ${majors.target} has them: ${newer.join(', ')}`);
    return {
      database: row?.['database'] ?? '',
      counts: countObjects(wanted, found),
      differences: diffObjects(wanted, found, majors),
    };
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/**
 * What the filter leaves out of the source, by its objects; on the target those of the same names, and what is in
 * schemas that are left out whole.
 */
async function inScope(
  source: Session,
  file: FilterFile,
  log: Log,
  [onSource, onTarget]: readonly [readonly SchemaObject[], readonly SchemaObject[]],
): Promise<[SchemaObject[], SchemaObject[]]> {
  const filter = await resolveOnSource(source, file, log);
  const isOut = ({ classOid, oid }: SchemaObject) => filter.leavesOut(classOid, oid);
  const name = ({ kind, identity }: SchemaObject) => `${kind} ${identity}`;
  const out = new Set(onSource.filter(isOut).map(name));
  const schemas = new Set(
    onSource.flatMap((object) => (object.kind === 'schema' && isOut(object) ? [object.schema] : [])),
  );
  return [
    onSource.filter((object) => !isOut(object)),
    onTarget.filter(
      (object) => !out.has(name(object)) && !(object.schema !== null && schemas.has(object.schema)),
    ),
  ];
}
