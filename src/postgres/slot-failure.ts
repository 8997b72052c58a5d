/**
 * What a source says about slots and streams, as Failures: recognised by SQLSTATE, since its words may be in any
 * language. Everything that has nothing to do with slots goes to `serverFailure`.
 */
import pg from 'pg';
import { Failure } from '../failure.js';
import { serverFailure, serverWords, sqlState } from './sqlstate.js';

/** What was being done when the error came: the same SQLSTATE means different things. */
export type SlotAction = 'create' | 'drop' | 'start' | 'stream';

/** SQL for the administrator; a setting of this kind takes effect with a restart. */
const settingRemedy = (setting: string, value: string) =>
  `As an administrator on the source: alter system set ${setting} = ${value}; then restart the server ` +
  `(on a managed service: set it in the service's console).`;

/** As text for the operator who may not alter the role. */
export function replicationRightRemedy(role: string): string {
  return (
    `As an administrator on the source: alter role "${role.replaceAll('"', '""')}" replication; ` +
    `(on a managed service: grant the role that stands for it, for example rds_replication).`
  );
}

/** Turns an error of a slot's command, or the Failure that a session made of it, into a Failure that says more. */
export function slotFailure(thrown: unknown, action: SlotAction, slot: string): Failure {
  const state = sqlState(thrown);
  const error = thrown instanceof Failure && state !== null ? thrown.cause : thrown;
  const known = state === null ? null : slotFailureOf(state, error, action, slot);
  return (
    known ?? serverFailure(error, 'source', `${actionWords[action]} the replication slot "${slot}" failed`)
  );
}

const actionWords = {
  create: 'creating',
  drop: 'dropping',
  start: 'starting to read from',
  stream: 'reading from',
} as const satisfies Record<SlotAction, string>;

function slotFailureOf(state: string, error: unknown, action: SlotAction, slot: string): Failure | null {
  const words = serverWords(error);
  const cause = { cause: error };
  switch (state) {
    case '42710': // duplicate_object
      return new Failure('slot-exists', `the replication slot "${slot}" exists on the source already`, cause);
    case '42704': // undefined_object
      if (action === 'stream') return publicationMissing(words, error);
      return new Failure('slot-lost', `the replication slot "${slot}" does not exist on the source`, cause);
    case '55006': // object_in_use
      return new Failure(
        'slot-busy',
        `another process reads from the replication slot "${slot}": ${words}`,
        cause,
      );
    case '53400': // configuration_limit_exceeded
      return new Failure('source-setup', `the source has no free replication slot: ${words}`, {
        ...cause,
        remedy: `Drop a slot that is not needed (select * from pg_replication_slots), or: ${settingRemedy('max_replication_slots', '20')}`,
      });
    case '53300': // too_many_connections
      return new Failure('source-setup', `the source takes no further replication connection: ${words}`, {
        ...cause,
        remedy: `Look at pg_stat_replication and pg_stat_activity for connections that are not needed, or: ${settingRemedy('max_wal_senders', '20')}`,
      });
    case '42501': // insufficient_privilege: of the role, or of the plugin's library (newest minor releases)
      return action === 'create' ? pluginNotAllowed(words, error) : null;
    case '58P01': // undefined_file: the plugin's library, or WAL that is gone
      if (action === 'create') {
        return new Failure('source-setup', `the source cannot load the output plugin: ${words}`, {
          ...cause,
          remedy: 'Install the plugin on the source server, or use pgoutput, which every server has.',
        });
      }
      return new Failure(
        'slot-lost',
        `the source has removed WAL that the slot "${slot}" needs: ${words}`,
        cause,
      );
    case '55000': // object_not_in_prerequisite_state
      return notReady(words, error, action, slot);
    case '0A000': // feature_not_supported: made in another database, or a standby that cannot decode
      if (action === 'create') {
        return new Failure('source-setup', `the source cannot make a logical slot: ${words}`, {
          ...cause,
          remedy: 'Use the primary server as --source.',
        });
      }
      return new Failure('slot-lost', `the replication slot "${slot}" cannot be read here: ${words}`, cause);
    default:
      return null;
  }
}

/** The hint names the setting in every language. It is a list: inside one pair of quotes it would block all three. */
function pluginNotAllowed(words: string, error: unknown): Failure | null {
  if (!(error instanceof pg.DatabaseError) || error.hint?.includes('output_plugin_libraries') !== true)
    return null;
  return new Failure('source-setup', `the source does not allow the output plugin: ${words}`, {
    cause: error,
    remedy:
      'Use pgoutput, or as an administrator on the source: alter system set output_plugin_libraries = pgoutput, ' +
      'test_decoding, wal2json; select pg_reload_conf();',
  });
}

/** 55000 covers wal_level and a slot that was invalidated; the setting's name stands in it in every language. */
function notReady(words: string, error: unknown, action: SlotAction, slot: string): Failure {
  if (words.includes('wal_level')) {
    return new Failure('source-setup', `the source is not set up for logical decoding: ${words}`, {
      cause: error,
      remedy: settingRemedy('wal_level', 'logical'),
    });
  }
  if (/max_replication_slots|max_wal_senders/.test(words)) {
    return new Failure('source-setup', `the source is not set up for replication slots: ${words}`, {
      cause: error,
      remedy: settingRemedy('max_replication_slots', '20'),
    });
  }
  if (action === 'create')
    return serverFailure(error, 'source', `creating the replication slot "${slot}" failed`);
  return new Failure('slot-lost', `the replication slot "${slot}" is not usable any more: ${words}`, {
    cause: error,
  });
}

function publicationMissing(words: string, error: unknown): Failure {
  return new Failure('source-setup', `the stream cannot be decoded: ${words}`, {
    cause: error,
    remedy:
      'A publication of this stream was dropped, or was made after the slot. Changes are decoded with the catalog of ' +
      'their time, so making it now does not help: start again with --restart.',
  });
}
