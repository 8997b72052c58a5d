/**
 * Large objects: under the same OIDs, since columns point at them by OID.
 *
 * The snapshot's objects are taken in ranges of consecutive ones. A range's small objects are made in one target
 * transaction, with the row of the task table; each large one has a transaction and a task of its own and streams
 * through in chunks. When all contents are there, comments, privileges and owners follow (an object that belongs to
 * somebody else could not be commented any more).
 *
 *     range ─▶ sizes ─▶ small ones: a few statements
 *                  └──▶ large ones: pieces of their own, for whichever worker is free
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asFailure, Failure, throwIfStopped } from '../failure.js';
import { failpoint } from '../failpoint.js';
import type { Log } from '../log.js';
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from '../postgres/connect.js';
import {
  createLargeObject,
  createLargeObjects,
  fetchExistingLargeObjects,
  fetchLargeObjectProperties,
  fetchLargeObjectRanges,
  fetchLargeObjectSizes,
  fetchUnreadableLargeObjects,
  holdsLargeObjects,
  readLargeObject,
  readLargeObjects,
  tryLargeObjects,
  unlinkLargeObjects,
  writeLargeObject,
} from '../postgres/large-object.js';
import type { LargeObjectProperties, LargeObjectRange, LargeObjectSize } from '../postgres/large-object.js';
import { sqlState } from '../postgres/sqlstate.js';
import { hasNoConnection } from '../postgres/too-many-connections.js';
import { fetchDoneTasks, recordDoneTask } from '../postgres/task-table.js';
import type { Problem, RestoreChoices } from './options.js';
import { attemptStatement, serverSentence } from './problems.js';
import type { HeldSession } from './sessions.js';
import { WorkQueue } from './work-queue.js';

// As many as are opened at once on the source, and locked at once on the target.
const rangeSize = 128;
// Larger ones stream. Smaller ones are read together up to as many bytes: in hexadecimal, twice the memory a worker.
const smallBytes = 256 * 1024;
const togetherBytes = 2 * 1024 * 1024;
const chunkBytes = 1024 * 1024;

/** Before anything is copied: whether our role may read all of them. Throws `source-rights`. */
export async function expectReadableLargeObjects(source: Session): Promise<void> {
  const { count, example } = await fetchUnreadableLargeObjects(source);
  if (count === 0) return;
  const others = count === 1 ? '' : ` and ${count - 1} other large objects`;
  throw new Failure('source-rights', `source: our role may not read large object ${example}${others}`, {
    remedy: 'Grant SELECT on them to the role of --source, or leave them out with --skip-large-objects.',
  });
}

// 42501 refused, 0A000 not supported, 42883 no such function.
const noLargeObjects = new Set(['42501', '0A000', '42883']);

/**
 * Why the target cannot hold large objects, as Neon cannot; null when it can. A server that refuses them is one on
 * which everything else is still worth having.
 */
export async function fetchLargeObjectRefusal(target: Session): Promise<string | null> {
  try {
    await tryLargeObjects(target);
    return null;
  } catch (error) {
    if (!noLargeObjects.has(sqlState(error) ?? '')) throw error;
    return serverSentence(error);
  }
}

/** What is told of a target without large objects. */
export function refusedLargeObjects(refusal: string): Problem {
  return {
    object: 'large objects',
    message: `they are not copied, and columns that hold their OIDs point nowhere: ${refusal}`,
    sql: null,
  };
}

/**
 * Before anything is copied: the target must not have objects of the same OIDs; with `drop` they are removed.
 * Throws `target-not-empty`.
 */
export async function clearLargeObjects(source: Session, target: Session, drop: boolean): Promise<void> {
  if (!(await holdsLargeObjects(target))) return;
  let there = 0;
  let example = '';
  for (const range of await fetchLargeObjectRanges(source, rangeSize)) {
    const onTarget = await fetchExistingLargeObjects(target, range);
    if (onTarget.length === 0) continue;
    const ours = new Set((await fetchLargeObjectProperties(source, range)).map(({ oid }) => oid));
    const same = onTarget.filter((oid) => ours.has(oid));
    if (same.length === 0) continue;
    if (drop) await unlinkLargeObjects(target, same);
    there += same.length;
    example ||= same[0] ?? '';
  }
  if (drop || there === 0) return;
  throw new Failure(
    'target-not-empty',
    `the target has ${there} large objects with OIDs of the source's already, for example ${example}`,
    { remedy: 'Remove them, drop them with --drop-if-exists, or copy none with --skip-large-objects.' },
  );
}

type Piece =
  | { readonly kind: 'range'; readonly range: LargeObjectRange; readonly task: string }
  | { readonly kind: 'single'; readonly object: LargeObjectSize; readonly task: string };

export type LargeObjectOptions = Pick<RestoreChoices, 'noOwner' | 'noAcl' | 'noComments'> & {
  readonly key: StreamKey;
  /** Of the snapshot, when it is later than the one that the run began with: what the target has is not copied again. */
  readonly generation?: number | undefined;
  readonly log: Log;
  readonly onBytes: (bytes: number) => void;
};

/** A worker's pair of sessions: the source's inside of the snapshot, the target's outside of any transaction. */
export type LargeObjectSessions = { readonly source: HeldSession; readonly target: HeldSession };

// A lost connection is tried again: the transaction is gone with it, or committed, which the task table tells.
const attempts = 4;
const pauseMs = 500;

/** The large objects of one run, for any number of workers. */
export class LargeObjectWork {
  readonly #options: LargeObjectOptions;
  readonly #pieces = new WorkQueue<Piece>();
  readonly #ranges: readonly LargeObjectRange[];
  readonly #done: Set<string>;
  #open = 0;
  /** Number and bytes of what this run has copied. */
  readonly copied = { objects: 0, bytes: 0 };

  private constructor(options: LargeObjectOptions, ranges: readonly LargeObjectRange[], done: Set<string>) {
    this.#options = options;
    this.#ranges = ranges;
    this.#done = done;
    for (const range of ranges) {
      // The ranges of another snapshot begin and end elsewhere.
      const ofWhich = options.generation === undefined ? '' : `, generation ${options.generation}`;
      this.#push({ kind: 'range', range, task: `large objects ${range.first} to ${range.last}${ofWhich}` });
    }
    if (ranges.length === 0) this.#pieces.close();
  }

  #push(piece: Piece): void {
    this.#open += 1;
    this.#pieces.push(piece);
  }

  /** Lists what there is to copy, on a session inside of the snapshot, and what the target has of it. */
  static async plan(source: Session, target: Session, options: LargeObjectOptions): Promise<LargeObjectWork> {
    const ranges = await fetchLargeObjectRanges(source, rangeSize);
    const done = await fetchDoneTasks(target, options.key);
    return new LargeObjectWork(options, ranges, new Set(done.keys()));
  }

  /**
   * One worker: takes piece after piece until none is left. Throws what it could not do; when it is dispensable, and there
   * is no connection for it, others do that.
   */
  async work(
    sessions: LargeObjectSessions,
    signal: AbortSignal,
    { dispensable }: { readonly dispensable: boolean },
  ): Promise<void> {
    const stop = () => this.#pieces.close();
    signal.addEventListener('abort', stop);
    try {
      for (let piece = await this.#pieces.next(); piece !== null; piece = await this.#pieces.next()) {
        throwIfStopped(signal);
        try {
          await this.#copyAndRetry(piece, sessions, signal);
        } catch (error) {
          if (dispensable && hasNoConnection(error)) this.#push(piece);
          throw error;
        } finally {
          this.#open -= 1;
          if (this.#open === 0) this.#pieces.close();
        }
      }
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async #copyAndRetry(piece: Piece, sessions: LargeObjectSessions, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        if (attempt > 1) {
          const done = await fetchDoneTasks(await sessions.target.get(), this.#options.key);
          for (const name of done.keys()) this.#done.add(name);
        }
        await this.#copy(piece, await sessions.source.get(), await sessions.target.get());
        return;
      } catch (error) {
        await Promise.all([sessions.source.discard(), sessions.target.discard()]);
        const failure = asFailure(error);
        if (!failure.policy.retry || signal.aborted || attempt === attempts) throw failure;
        this.#options.log.warn(`${failure.message}; copying ${piece.task} again`, { attempt });
        await sleep(pauseMs * 2 ** attempt, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #copy(piece: Piece, source: Session, target: Session): Promise<void> {
    if (piece.kind === 'single') {
      if (!this.#done.has(piece.task)) await this.#copySingle(piece.object, piece.task, source, target);
      return;
    }
    const sizes = await this.#sizesLeft(piece.range, source, target);
    if (!this.#done.has(piece.task)) {
      const small = sizes.filter(({ bytes }) => bytes <= smallBytes);
      await this.#inTransaction(target, piece.task, sum(small), small.length, () =>
        copySmall(small, source, target),
      );
    }
    for (const object of sizes) {
      if (object.bytes <= smallBytes) continue;
      this.#push({ kind: 'single', object, task: `large object ${object.oid}` });
    }
  }

  /** Each object is there whole or not at all, and none of these was there before the run. */
  async #sizesLeft(
    range: LargeObjectRange,
    source: Session,
    target: Session,
  ): Promise<readonly LargeObjectSize[]> {
    const sizes = await fetchLargeObjectSizes(source, range);
    if (this.#options.generation === undefined) return sizes;
    const there = new Set(await fetchExistingLargeObjects(target, range));
    return sizes.filter(({ oid }) => !there.has(oid));
  }

  async #copySingle(
    { oid, bytes }: LargeObjectSize,
    task: string,
    source: Session,
    target: Session,
  ): Promise<void> {
    await this.#inTransaction(target, task, bytes, 1, async () => {
      await createLargeObject(target, oid);
      let next = readLargeObject(source, oid, 0, chunkBytes);
      for (let offset = 0; offset < bytes; offset += chunkBytes) {
        const chunk = await next;
        const after = offset + chunkBytes;
        // The next one is read while this one is written. Both are waited for, whichever fails.
        next = after < bytes ? readLargeObject(source, oid, after, chunkBytes) : Promise.resolve('');
        const [written] = await Promise.allSettled([writeLargeObject(target, oid, offset, chunk), next]);
        if (written.status === 'rejected') throw written.reason;
      }
      await next;
    });
  }

  async #inTransaction(
    target: Session,
    task: string,
    bytes: number,
    objects: number,
    work: () => Promise<void>,
  ): Promise<void> {
    await target.query('begin');
    await work();
    await recordDoneTask(target, this.#options.key, { name: task, bytes, rows: objects });
    await target.query('commit');
    failpoint('clone.large-objects-committed');
    this.#done.add(task);
    this.copied.objects += objects;
    this.copied.bytes += bytes;
    this.#options.onBytes(bytes);
  }

  /** When all contents are there: comments, privileges, owners. May be run again. Returns what was refused. */
  async finish(source: Session, target: Session): Promise<Problem[]> {
    const [row] = await target.query('select current_user as name');
    const refusals = new Map<string, Refusal>();
    for (const range of this.#ranges) {
      const objects = await fetchLargeObjectProperties(source, range);
      const steps = objects.flatMap((one) =>
        propertySteps(one, { ...this.#options, role: row?.['name'] ?? '' }),
      );
      if (steps.length === 0) continue;
      await target.query('begin');
      for (const step of steps) await attemptStep(target, step, refusals);
      await target.query('commit');
    }
    return [...refusals].map(([subject, { message, statements }]) => ({
      object: `${subject} of ${statements.length} large objects`,
      message,
      sql: statements.join('\n'),
    }));
  }
}

type Refusal = { readonly message: string; readonly statements: string[] };

/** What was refused once is refused to every object: it is not tried a million times. */
async function attemptStep(
  target: Session,
  step: PropertyStep,
  refusals: Map<string, Refusal>,
): Promise<void> {
  const known = refusals.get(step.subject);
  if (known !== undefined) {
    known.statements.push(step.sql);
    return;
  }
  const message = await attemptStatement(target, step.sql);
  if (message !== null) refusals.set(step.subject, { message, statements: [step.sql] });
}

async function copySmall(
  objects: readonly LargeObjectSize[],
  source: Session,
  target: Session,
): Promise<void> {
  for (let from = 0; from < objects.length;) {
    let to = from;
    let bytes = 0;
    while (to < objects.length && (to === from || bytes + (objects[to]?.bytes ?? 0) <= togetherBytes)) {
      bytes += objects[to]?.bytes ?? 0;
      to += 1;
    }
    const some = objects.slice(from, to).map(({ oid }) => oid);
    await createLargeObjects(target, await readLargeObjects(source, some));
    from = to;
  }
}

/** A statement about one object, and what it is about: alike for all objects that it would be refused for alike. */
export type PropertyStep = { readonly subject: string; readonly sql: string };

/** The statements that give one object its comment, privileges and owner. Pure. */
export function propertySteps(
  object: LargeObjectProperties,
  choices: Pick<RestoreChoices, 'noOwner' | 'noAcl' | 'noComments'> & { readonly role: string },
): PropertyStep[] {
  const { oid, owner, comment, privileges } = object;
  const steps: PropertyStep[] = [];
  if (comment !== null && !choices.noComments) {
    steps.push({ subject: 'comments', sql: `comment on large object ${oid} is${quoteComment(comment)};` });
  }
  if (privileges !== null && !choices.noAcl) {
    const ownersOwn = privileges.filter((one) => one.grantee === owner).map((one) => one.privilege);
    if (ownersOwn.length < 2) {
      // Ownership brings both; what is left of them goes along when the object changes hands.
      const lost = ['SELECT', 'UPDATE'].filter((one) => !ownersOwn.includes(one)).join(', ');
      const sql = `revoke ${lost} on large object ${oid} from ${quoteIdentifier(choices.role)};`;
      steps.push({ subject: `rights of owner ${owner}`, sql });
    }
    for (const { grantee, privilege, grantable } of privileges) {
      if (grantee === owner) continue;
      const to = grantee === null ? 'public' : quoteIdentifier(grantee);
      const option = grantable ? ' with grant option' : '';
      const sql = `grant ${privilege} on large object ${oid} to ${to}${option};`;
      steps.push({ subject: `rights of ${grantee ?? 'public'}`, sql });
    }
  }
  if (owner !== choices.role && !choices.noOwner) {
    const sql = `alter large object ${oid} owner to ${quoteIdentifier(owner)};`;
    steps.push({ subject: `owner ${owner}`, sql });
  }
  return steps;
}

function quoteComment(text: string): string {
  const literal = quoteLiteral(text);
  return literal.startsWith(' ') ? literal : ` ${literal}`;
}

function sum(objects: readonly LargeObjectSize[]): number {
  return objects.reduce((total, { bytes }) => total + bytes, 0);
}
