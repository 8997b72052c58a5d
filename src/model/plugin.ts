/**
 * The contract between the slot's output plugin and the rest: bytes in, messages out.
 */
import type { Lsn } from './lsn.js';
import type { PluginMessage } from './message.js';
import type { SourceTables } from './source-table.js';

export type PluginName = 'pgoutput' | 'wal2json' | 'test_decoding';

export const pluginNames: readonly PluginName[] = ['pgoutput', 'wal2json', 'test_decoding'];

/** What a stream is made with unless told: every server has it, and it carries everything. */
export const defaultPlugin: PluginName = 'pgoutput';

/** What a plugin may need to know to ask the server for its stream, and to read it. */
export type StreamRequest = {
  /** server_version_num of the source, for example 150020. */
  readonly serverVersion: number;
  readonly publications: readonly string[];
  /** The source's tables, read for this connection; null where the plugin describes them itself. */
  readonly tables: SourceTables | null;
  /** Of the plugin's `newerOptions` those that the server's plugin knows. */
  readonly knownOptions: ReadonlySet<string>;
};

/** A name and its value, unquoted. */
export type NamedValue = readonly [name: string, value: string];

/** Decodes the payloads of one connection. It remembers the relations it was told of; a reconnect needs a new one. */
export interface Decoder {
  /**
   * The message in one XLogData payload; several where this payload showed that what was held back is complete; null
   * when the payload says nothing that concerns us (a type description, an origin, a table that is not followed).
   * `walStart` is the position in the XLogData header. Throws a Failure: `message-unreadable` on anything it does not
   * understand to the last byte, `plugin-limit` on what the plugin cannot tell exactly.
   *
   * `tablesStale`: the payload was not taken. It is given again after `describe` has told of the source's tables anew.
   */
  decode(
    payload: Buffer,
    walStart: Lsn,
  ): PluginMessage | readonly PluginMessage[] | typeof tablesStale | null;
  /** As `decode`, of the payload that lies in `bytes` from `start` to `end`: for a decoder that reads in place. */
  decodeWithin?(
    bytes: Buffer,
    start: number,
    end: number,
    walStart: Lsn,
  ): PluginMessage | readonly PluginMessage[] | typeof tablesStale | null;
  /** The source's tables as they are by now; asked for by `tablesStale`. */
  describe?(tables: SourceTables): void;
  /** Something the server said between two payloads (NoticeResponse), in its place in the stream. */
  notice?(text: string): void;
}

/** A change of a table that the last reading of the source's catalog may not have seen as it is. */
export const tablesStale = Symbol('the tables must be read again');

export interface Plugin {
  readonly name: PluginName;
  /**
   * Whether its stream tells what a table is. Otherwise the source's catalog is read for every connection, the list of
   * followed tables is ours to keep, and no publication is needed.
   */
  readonly describesTables: boolean;
  /** Options that only newer versions of the plugin know: whether the server's does is tried on the slot. */
  readonly newerOptions: readonly NamedValue[];
  /** Options of START_REPLICATION, in order. Throws `source-setup` when the server cannot do what was asked for. */
  options(request: StreamRequest): readonly NamedValue[];
  /** Settings that the connection needs beyond those of every session. */
  settings(request: StreamRequest): readonly NamedValue[];
  createDecoder(request: StreamRequest): Decoder;
}
