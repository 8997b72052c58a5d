/** Targets made for the applier, and the applier at work on them. */
import { Failure } from '../../src/failure.js';
import { silentLog } from '../../src/log.js';
import { zeroLsn } from '../../src/model/lsn.js';
import type { StreamMessage } from '../../src/model/message.js';
import type { StreamKey } from '../../src/model/stream-key.js';
import { apply, type ApplyOptions, type ApplyResult } from '../../src/apply/apply.js';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createPosition } from '../../src/postgres/position-row.js';
import { ensureTargetSchema } from '../../src/postgres/target-schema.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { TestJournal, at } from './support.js';

export const key: StreamKey = {
  stream: 'walferry',
  systemIdentifier: '7000000000000000001',
  database: 'shop',
};

/** The start of every stream here. */
export const start = at(100);

/** A target with walferry's schema, a position at `start`, and the given tables; made by the owner. */
export async function preparedTarget(tables: string): Promise<TestDatabase> {
  const database = await createDatabase('target');
  await database.sqlAsOwner(tables);
  await using session = await connect(readConninfo(database.neonUri, {}), {
    side: 'target',
    applicationName: 'walferry test',
  });
  await ensureTargetSchema(session);
  await createPosition(session, key, start);
  return database;
}

export function applying(
  database: TestDatabase,
  journal: TestJournal,
  options: Partial<ApplyOptions> = {},
): Promise<ApplyResult> {
  return apply({
    openSource: journal.open,
    target: readConninfo(database.neonUri, {}),
    key,
    endpos: () => zeroLsn,
    signal: new AbortController().signal,
    log: silentLog,
    onApplied: () => {},
    ...options,
  });
}

/** Applies a closed journal to its end. */
export async function applied(
  database: TestDatabase,
  messages: readonly StreamMessage[],
  options: Partial<ApplyOptions> = {},
): Promise<ApplyResult> {
  return await applying(database, new TestJournal(messages, { closed: true }), options);
}

export async function positionOf(database: TestDatabase): Promise<string> {
  const [row] = await database.sql(`select lsn from walferry.position`);
  return row?.['lsn'] ?? 'none';
}

export async function failure(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('it did not fail');
}
