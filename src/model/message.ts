/**
 * What the stream says, one union from the plugin through the journal to the applier. A plugin yields the first
 * group; the receive loop adds the second from the connection itself.
 *
 * xids are 64 bits (widened on receipt); a plugin yields them as the server sent them, 32 bits.
 * Times are the server's, in microseconds since 2000-01-01 UTC, as on the wire.
 */
import type { Change } from './change.js';
import type { Lsn } from './lsn.js';
import type { Relation } from './relation.js';

/**
 * A transaction starts. `commitLsn` is where its commit record begins, null when the plugin does not know yet.
 * `streamed`: its changes arrive while it is in progress, between those of others, up to its commit or rollback; any
 * other transaction is sent whole.
 */
export type Begin = {
  readonly kind: 'begin';
  readonly xid: bigint;
  readonly commitLsn: Lsn | null;
  readonly commitTime: bigint | null;
  readonly streamed?: true;
};

/**
 * One change of the open transaction. `lsn` is its record's position: rows of one statement may share it. `sub` is there
 * in streamed transactions alone, where a subtransaction made the change: its own xid, by which it may be rolled back.
 */
export type ChangeMessage = {
  readonly kind: 'change';
  readonly xid: bigint;
  readonly sub?: bigint;
  readonly lsn: Lsn;
  readonly change: Change;
};

/** The open transaction commits. It is known by `endLsn`, the end of its commit record. */
export type Commit = {
  readonly kind: 'commit';
  readonly xid: bigint;
  readonly commitLsn: Lsn;
  readonly endLsn: Lsn;
  readonly commitTime: bigint;
};

/** A table is described before its first use on a connection, and again after it changed. */
export type RelationMessage = { readonly kind: 'relation'; readonly relation: Relation };

/** The prefix of the logical messages that walferry emits. */
export const ownPrefix = 'walferry';

/** They are a word long. Another prefix, or more, is somebody else's: nobody applies it, and it may be up to a gigabyte. */
export const longestOwnMessage = 1024;

/** A logical message of ours (pg_logical_emit_message). `xid` is null for one outside of a transaction. */
export type LogicalMessage = {
  readonly kind: 'message';
  readonly xid: bigint | null;
  /** As in a change. */
  readonly sub?: bigint;
  readonly lsn: Lsn;
  readonly prefix: string;
  /** Raw content, base64: it may be any bytes. */
  readonly content: string;
};

/** An unfinished streamed transaction is given up; with `sub`, only what that subtransaction of it has changed. */
export type Rollback = {
  readonly kind: 'rollback';
  readonly xid: bigint;
  readonly sub?: bigint;
  readonly lsn: Lsn;
};

/** What a plugin makes of one payload. */
export type PluginMessage = Begin | ChangeMessage | Commit | RelationMessage | LogicalMessage | Rollback;

/** The source says that every commit ending at or before `lsn` was sent before this. */
export type Keepalive = { readonly kind: 'keepalive'; readonly lsn: Lsn; readonly time: bigint };

/** A new connection to the slot starts here: every transaction unfinished before this line is void. */
export type Connected = { readonly kind: 'connected'; readonly lsn: Lsn };

/** The receiver stopped because this end position was reached: nothing at or before it follows. */
export type EndPosition = { readonly kind: 'endpos'; readonly lsn: Lsn };

/** What the journal carries. */
export type StreamMessage = PluginMessage | Keepalive | Connected | EndPosition;
