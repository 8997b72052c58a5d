/**
 * Foreign keys whose old rows are checked after the switch: new rows are checked from the opening on, so that nobody has
 * to wait for it. The run that follows does it, and ends then; a `follow` that has ended before is replaced here.
 */
import { validateGuarded } from '../apply/guard-restore.js';
import { isLocked, takeLocks } from '../catalog/lock.js';
import type { StreamRecord } from '../catalog/stream.js';
import { asFailure } from '../failure.js';
import type { Log } from '../log.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';

export type ValidationOptions = {
  /** A session on the source. */
  readonly session: Session;
  readonly target: Conninfo;
  readonly directory: string;
  readonly stream: StreamRecord;
  readonly run: 'clone' | 'follow';
  readonly log: Log;
  readonly signal: AbortSignal;
};

const notValidQuery = `
  select pg_catalog.quote_ident(k.conname) || ' of ' || pg_catalog.quote_ident(n.nspname) || '.' ||
         pg_catalog.quote_ident(c.relname) as label
    from pg_catalog.pg_constraint k
    join pg_catalog.pg_class c on c.oid = k.conrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where k.contype = 'f' and not k.convalidated and k.conparentid = 0
   order by 1`;

/** Foreign keys of the target that are NOT VALID and not so on the source: `name of schema.table`. */
async function fetchUnvalidated({ session, target, log, signal }: ValidationOptions): Promise<string[]> {
  await using other = await connect(target, {
    side: 'target',
    applicationName: 'walferry cutover',
    log,
    signal,
  });
  const [wanted, there] = await Promise.all([session.query(notValidQuery), other.query(notValidQuery)]);
  const soOnSource = new Set(wanted.map((row) => row['label']));
  return there.flatMap(({ label }) =>
    label === null || label === undefined || soOnSource.has(label) ? [] : [label],
  );
}

/**
 * Says which foreign keys are still to be validated, and validates them where nobody else does. Throws what a row says
 * that breaks one: the switch stands.
 */
export async function validateLater(options: ValidationOptions): Promise<string> {
  const { target, directory, stream, run, log, signal } = options;
  let left: string[];
  try {
    left = await fetchUnvalidated(options);
  } catch (error) {
    log.warn(
      `which foreign keys are still to be validated is not known: ${asFailure(error).message.split('\n')[0]}`,
    );
    return 'not known';
  }
  if (left.length === 0) return 'no foreign key is left to be validated';
  const names = left.join(', ');
  if (isLocked(directory, run === 'clone' ? 'clone' : 'apply')) {
    return `being validated by the run of the first terminal, which ends then: ${names}`;
  }
  if (run === 'clone') {
    const how = 'the run has ended: `walferry clone --follow --resume`, with its options, validates them';
    log.warn(`foreign keys are not validated, since ${how}: ${names}`);
    return `not validated, since ${how}: ${names}`;
  }
  const locks = takeLocks(directory, ['receive', 'apply']);
  try {
    await validateGuarded({ target, key: stream.key, log, signal });
  } finally {
    locks.release();
  }
  return `validated: ${names}`;
}
