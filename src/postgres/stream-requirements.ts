/**
 * What a source must be for a stream to be made on it: asked by the setup of a stream before it makes anything, and by
 * `check` for whoever wants to know beforehand.
 */
import { Failure } from '../failure.js';
import { defaultPlugin, type PluginName } from '../model/plugin.js';
import type { Session } from './connect.js';
import { fetchSlot } from './slot.js';
import { slotFailure } from './slot-failure.js';
import { sqlState } from './sqlstate.js';

/** Whether the database can be followed at all. Throws `source-setup`. */
export async function expectFollowable(session: Session, plugin: PluginName): Promise<void> {
  const [row] = await session.query(
    `select pg_catalog.current_setting('server_encoding') as encoding, pg_catalog.pg_is_in_recovery()::text as standby`,
  );
  if (row?.['encoding'] === 'SQL_ASCII') {
    throw new Failure(
      'source-setup',
      'the source database is encoded SQL_ASCII: its changes cannot be followed exactly',
      {
        remedy: 'Clone it without --follow, or convert it to an encoding that says what its bytes mean.',
      },
    );
  }
  // pgoutput converts to the client's encoding; the others write the database's own bytes.
  if (plugin !== 'pgoutput' && row?.['encoding'] !== 'UTF8') {
    throw new Failure(
      'source-setup',
      `the source database is encoded ${row?.['encoding']}, and ${plugin} writes its text as it is`,
      { remedy: 'Use --plugin pgoutput, which converts it.' },
    );
  }
  if (row?.['standby'] === 'true') {
    throw new Failure('source-setup', 'the source is a standby: its changes cannot be followed', {
      remedy: 'Give the primary as --source.',
    });
  }
}

/** A slot of this name is somebody else's. Throws `slot-exists`. */
export async function expectNoSlot(session: Session, slot: string): Promise<void> {
  if ((await fetchSlot(session, slot)) === null) return;
  throw new Failure('slot-exists', `a replication slot "${slot}" exists on the source already`);
}

/** Throws `usage` where a publication is named and the plugin reads none. */
export function expectPublicationRead(publication: string | null, plugin: PluginName): void {
  if (publication === null || plugin === 'pgoutput') return;
  throw new Failure('usage', `--publication has no meaning with --plugin ${plugin}, which reads none`);
}

const trialSlot = `walferry_trial_${process.pid}`;

const createTrialSlot = `
  select pg_catalog.pg_create_logical_replication_slot('${trialSlot}', $1, true)`;

/**
 * Whether a slot could be made: the role, wal_level and a free slot. Tried for real, in a transaction that has written:
 * the server looks at all of these, takes the slot, and then refuses with 25001, before it would wait for anybody. What
 * it took is gone with the error. Throws as `createSlot`.
 */
export async function trySlot(session: Session): Promise<void> {
  await session.query('begin');
  try {
    await session.query('select pg_catalog.pg_current_xact_id()');
    await session.query(createTrialSlot, [defaultPlugin]);
  } catch (error) {
    // active_sql_transaction
    if (sqlState(error) !== '25001') throw slotFailure(error, 'create', trialSlot);
  } finally {
    await session.query('rollback').catch(() => []);
  }
}

// 55P03 lock_not_available, 57014 query_canceled: it was loaded, and the slot would have waited.
const loadedStates = new Set(['55P03', '57014']);

/**
 * Whether the server loads the plugin for our role: with a temporary slot, which does not wait for running transactions
 * longer than a moment, and goes at once. Throws as `createSlot`. pgoutput is on every server.
 */
export async function tryPlugin(session: Session, plugin: PluginName): Promise<void> {
  if (plugin === 'pgoutput') return;
  try {
    await session.query(`set lock_timeout to '100ms'; set statement_timeout to '1s'`);
    await session.query(createTrialSlot, [plugin]);
    await session.query(`select pg_catalog.pg_drop_replication_slot('${trialSlot}')`);
  } catch (error) {
    if (!loadedStates.has(sqlState(error) ?? '')) throw slotFailure(error, 'create', trialSlot);
  } finally {
    await session.query(`set lock_timeout to '0'; set statement_timeout to '0'`).catch(() => []);
  }
}
