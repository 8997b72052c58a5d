/**
 * A run's remote control from the other end: one request, one answer, one connection.
 */
import { request } from 'node:http';
import { Failure } from '../failure.js';
import {
  changeFields,
  controlLabel,
  prunePath,
  readFailure,
  readFields,
  readPruned,
  readStatus,
  detailsPath,
  sentinelPath,
  statusPath,
  type ControlAddress,
  type ControlStatus,
  type PruneResult,
  type SentinelChange,
} from './protocol.js';

/** Where to ask, and what to show. */
export type ControlTarget = ControlAddress & {
  /** Null: nothing is shown, which is enough to read on loopback. */
  readonly token: string | null;
};

const answerMs = 10_000;
const maxAnswerBytes = 4 * 1024 * 1024;

/** The sentinel of the run. Throws `control-unreachable` when nobody listens, `control-refused` and what it answers. */
export async function fetchStatus(target: ControlTarget): Promise<ControlStatus> {
  return readStatus(await ask(target, 'GET', sentinelPath, null));
}

/** How the run stands, as the room that shows it reads it. Throws as `fetchStatus`. */
export async function fetchShown(
  target: ControlTarget,
  what: 'status' | 'details',
): Promise<Readonly<Record<string, unknown>>> {
  return await ask(target, 'GET', what === 'status' ? statusPath : detailsPath, null);
}

/** Sets one thing; gives what the sentinel says afterwards. Throws as `fetchStatus`. */
export async function sendChange(target: ControlTarget, change: SentinelChange): Promise<ControlStatus> {
  return readStatus(await ask(target, 'POST', sentinelPath, changeFields(change)));
}

/** Has the applied transform files removed. Throws as `fetchStatus`. */
export async function sendPrune(target: ControlTarget, dryRun: boolean): Promise<PruneResult> {
  return readPruned(await ask(target, 'POST', prunePath, { dryRun }));
}

async function ask(
  target: ControlTarget,
  method: 'GET' | 'POST',
  path: string,
  fields: object | null,
): Promise<Readonly<Record<string, unknown>>> {
  const { status, text } = await exchange(target, method, path, fields);
  let answer: Readonly<Record<string, unknown>>;
  try {
    answer = readFields(text);
  } catch (error) {
    const what = `what listens on ${controlLabel(target)} is not the remote control of a walferry run`;
    throw new Failure('control-refused', what, { cause: error });
  }
  if (status === 200) return answer;
  throw readFailure(answer, status);
}

function exchange(
  target: ControlTarget,
  method: string,
  path: string,
  fields: object | null,
): Promise<{ status: number; text: string }> {
  const body = fields === null ? null : JSON.stringify(fields);
  return new Promise((resolve, reject) => {
    const unreachable = (error: Error) => {
      const what = `nobody listens on ${controlLabel(target)}: ${error.message}`;
      reject(new Failure('control-unreachable', what, { cause: error }));
    };
    const asked = request(
      {
        host: target.host,
        port: target.port,
        method,
        path,
        agent: false,
        signal: AbortSignal.timeout(answerMs),
        headers: {
          // A token that somebody chose may hold what a header cannot.
          ...(target.token === null ? {} : { authorization: `Bearer ${encodeURIComponent(target.token)}` }),
          ...(body === null
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > maxAnswerBytes) asked.destroy(new Error('the answer does not end'));
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
        response.on('error', unreachable);
      },
    );
    asked.on('error', unreachable);
    asked.end(body ?? undefined);
  });
}
