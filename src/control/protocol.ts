/**
 * What a run's remote control and its clients say to each other: HTTP/1.1, JSON bodies, version in the path.
 *
 *   GET  /v1/sentinel   → the sentinel, and which source the stream is of
 *   GET  /v1/status, /v1/details   → how the run stands; more of what is only shown is in monitor/pages.ts
 *   POST /v1/sentinel   { "endpos": "X/Y" } | { "startpos": "X/Y" } | { "apply": true }   → the same
 *   POST /v1/mark       {}   → the end position is where the source of the run is now; the same as of the sentinel
 *   POST /v1/prune      { "dryRun": true }   → what went, or would go
 *
 * Anything that went wrong is answered with `{ "error": { code, message, remedy } }`. The token travels as
 * `authorization: Bearer …`; what needs it is in server.ts.
 */
import { Failure, failurePolicies, type FailureCode } from '../failure.js';
import { formatLsn, parseLsn, type Lsn } from '../model/lsn.js';
import type { Sentinel } from '../model/progress.js';

/** Where a run listens unless told. The port is the peer's. */
export const defaultControlHost = '127.0.0.1';
export const defaultControlPort = 5442;

export const sentinelPath = '/v1/sentinel';
/** How the run stands (monitor/status.ts); one of the pages of pages.ts. */
export const statusPath = '/v1/status';
export const detailsPath = '/v1/details';
export const markPath = '/v1/mark';
export const prunePath = '/v1/prune';

/** A request is a few dozen bytes; whoever sends more is not one of ours. */
export const maxBodyBytes = 4096;

/** Where a control is, as both sides are told. */
export type ControlAddress = { readonly host: string; readonly port: number };

/** `host:port`, an IPv6 address in brackets. */
export function controlLabel({ host, port }: ControlAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The sentinel as a run tells it. The source is told so that no other server's position is set as the end. */
export type ControlStatus = {
  readonly sentinel: Sentinel;
  readonly systemIdentifier: string | null;
  readonly database: string | null;
};

/** One thing to be set. */
export type SentinelChange =
  | { readonly endpos: Lsn }
  | { readonly startpos: Lsn }
  | { readonly apply: boolean };

export type PruneResult = { readonly files: string[]; readonly bytes: number; readonly applied: Lsn };

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unreadable(what: string): Failure {
  return new Failure('control-refused', `the remote control cannot read this: ${what}`);
}

/** A JSON object; throws `control-refused`. */
export function readFields(text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unreadable('not JSON');
  }
  if (!isFields(value)) throw unreadable('not a JSON object');
  return value;
}

function lsnField(fields: Fields, name: string): Lsn {
  const value = fields[name];
  const lsn = typeof value === 'string' ? parseLsn(value) : null;
  if (lsn === null) throw unreadable(`"${name}" is not an LSN`);
  return lsn;
}

function booleanField(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value !== 'boolean') throw unreadable(`"${name}" is not true or false`);
  return value;
}

/** Exactly one change: two in one request would leave open what holds when one of them fails. */
export function readChange(fields: Fields): SentinelChange {
  const [name = '', ...more] = Object.keys(fields);
  if (more.length > 0) throw unreadable('more than one thing to set');
  switch (name) {
    case 'endpos':
      return { endpos: lsnField(fields, name) };
    case 'startpos':
      return { startpos: lsnField(fields, name) };
    case 'apply':
      return { apply: booleanField(fields, name) };
    default:
      throw unreadable('nothing that can be set');
  }
}

export function changeFields(change: SentinelChange): Fields {
  if ('endpos' in change) return { endpos: formatLsn(change.endpos) };
  if ('startpos' in change) return { startpos: formatLsn(change.startpos) };
  return { apply: change.apply };
}

/** Nothing is expected, and nothing else is taken. */
export function readNothing(fields: Fields): void {
  if (Object.keys(fields).length > 0) throw unreadable('nothing is expected in it');
}

export function readDryRun(fields: Fields): boolean {
  if (Object.keys(fields).length !== 1) throw unreadable('"dryRun" is expected, and nothing else');
  return booleanField(fields, 'dryRun');
}

export function statusFields({ sentinel, systemIdentifier, database }: ControlStatus): Fields {
  return {
    startpos: formatLsn(sentinel.startpos),
    endpos: formatLsn(sentinel.endpos),
    apply: sentinel.apply,
    write_lsn: formatLsn(sentinel.writeLsn),
    flush_lsn: formatLsn(sentinel.flushLsn),
    transform_lsn: formatLsn(sentinel.transformLsn),
    replay_lsn: formatLsn(sentinel.replayLsn),
    system_identifier: systemIdentifier,
    database,
  };
}

export function readStatus(fields: Fields): ControlStatus {
  const text = (name: string) => {
    const value = fields[name];
    return typeof value === 'string' ? value : null;
  };
  return {
    sentinel: {
      startpos: lsnField(fields, 'startpos'),
      endpos: lsnField(fields, 'endpos'),
      apply: booleanField(fields, 'apply'),
      writeLsn: lsnField(fields, 'write_lsn'),
      flushLsn: lsnField(fields, 'flush_lsn'),
      transformLsn: lsnField(fields, 'transform_lsn'),
      replayLsn: lsnField(fields, 'replay_lsn'),
    },
    systemIdentifier: text('system_identifier'),
    database: text('database'),
  };
}

export function pruneFields({ files, bytes, applied }: PruneResult): Fields {
  return { files, bytes, applied: formatLsn(applied) };
}

export function readPruned(fields: Fields): PruneResult {
  const { files, bytes } = fields;
  if (!Array.isArray(files) || typeof bytes !== 'number') throw unreadable('no list of files');
  return {
    files: (files as readonly unknown[]).filter((file) => typeof file === 'string'),
    bytes,
    applied: lsnField(fields, 'applied'),
  };
}

export function failureFields({ code, message, remedy }: Failure): Fields {
  return { error: { code, message, remedy } };
}

/** The Failure that a run answered with; `control-refused` where it says nothing that is known. */
export function readFailure(fields: Fields, status: number): Failure {
  const { error } = fields;
  if (!isFields(error)) return new Failure('control-refused', `the remote control answered ${status}`);
  const { code, message, remedy } = error;
  const known = typeof code === 'string' && Object.hasOwn(failurePolicies, code);
  return new Failure(
    known ? (code as FailureCode) : 'control-refused',
    typeof message === 'string' ? message : `the remote control answered ${status}`,
    typeof remedy === 'string' && remedy !== '' ? { remedy } : {},
  );
}
