/**
 * The contract between the slot's output plugin and the rest: bytes in, messages out.
 */
import type { Lsn } from './lsn.js';
import type { PluginMessage } from './message.js';

export type PluginName = 'pgoutput' | 'wal2json' | 'test_decoding';

export const pluginNames: readonly PluginName[] = ['pgoutput', 'wal2json', 'test_decoding'];

/** What a plugin may need to know to ask the server for its stream. */
export type StreamRequest = {
  /** server_version_num of the source, for example 150020. */
  readonly serverVersion: number;
  readonly publications: readonly string[];
};

/** Decodes the payloads of one connection. It remembers the relations it was told of; a reconnect needs a new one. */
export interface Decoder {
  /**
   * The message in one XLogData payload; null when the payload says nothing that concerns us (a type
   * description, an origin). `walStart` is the position in the XLogData header. Throws a Failure
   * `message-unreadable` on anything it does not understand to the last byte.
   */
  decode(payload: Buffer, walStart: Lsn): PluginMessage | null;
}

export interface Plugin {
  readonly name: PluginName;
  /** Options of START_REPLICATION, in order: name and value, unquoted. */
  options(request: StreamRequest): readonly (readonly [name: string, value: string])[];
  createDecoder(): Decoder;
}
