/**
 * What a run left in the schema `walferry` of the target.
 */
import type { Log } from '../log.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from '../postgres/connect.js';
import { forgetGenerations } from '../postgres/generation.js';
import { deletePosition } from '../postgres/position-row.js';
import { forgetDoneTasks } from '../postgres/task-table.js';

const schemaExists = `select 1 from pg_catalog.pg_namespace where nspname = 'walferry'`;

const recordsLeft = `
  select (exists (select from walferry.position) or exists (select from walferry.task))::text as left`;

const guardExists = `select pg_catalog.to_regclass('walferry.guard')::text as found`;
const guardLeft = 'select from walferry.guard limit 1';

/** Removes the stream's rows, and the schema with the last of them. */
export async function dropTargetRecords(session: Session, key: StreamKey, log: Log): Promise<void> {
  if ((await session.query(schemaExists)).length === 0) return;
  await deletePosition(session, key);
  await forgetDoneTasks(session, key);
  await forgetGenerations(session, key);
  const [row] = await session.query(recordsLeft);
  if (row?.['left'] === 'true') return;
  const [guard] = await session.query(guardExists);
  // Of another stream: what it has switched off is recorded nowhere else.
  if ((guard?.['found'] ?? null) !== null && (await session.query(guardLeft)).length > 0) return;
  await session.query('drop schema if exists walferry cascade');
  log.info('Removed schema walferry and its objects from the target');
}
