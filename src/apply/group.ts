/**
 * Groups: whole consecutive source transactions as one transaction on the target, several of them in flight.
 *
 * A group's statements are sent as they come: begin, constraints deferred, the guard, the rows. What decides is when it
 * ends: then the position row is moved, COMMIT follows, and the next group begins behind it without waiting for the
 * reply. *Applied* is what COMMIT replies say, nothing else.
 */
import { failpoint } from '../failpoint.js';
import { Failure } from '../failure.js';
import { formatLsn, type Lsn } from '../model/lsn.js';
import type { StreamKey } from '../model/stream-key.js';
import { guardStatement, moveStatement, streamKeyParameters } from '../postgres/position-row.js';
import type { UnitReply, WireSession } from '../postgres/wire-session.js';
import type { Run } from './run.js';
import type { Copy, Statement } from './statement.js';
import type { TouchLog } from './touches.js';

export type GroupBounds = {
  /** With nothing in flight, so that the target has something to do. */
  readonly minChanges: number;
  /** While the target is busy. */
  readonly maxChanges: number;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  /** Level with the source, while a COMMIT is on its way: how long its reply is waited for. */
  readonly levelAgeMs: number;
  /** Groups whose COMMIT was sent and not answered. */
  readonly maxInFlight: number;
};

/**
 * The size of a group follows the backlog. While the target is idle a small group is sent at once; while it is busy the
 * next one grows, and what happens to the same row in it happens once on the target. Three groups in flight hide a
 * round trip, and their bytes are the window.
 */
export const groupBounds: GroupBounds = {
  minChanges: 500,
  maxChanges: 20_000,
  maxBytes: 4 * 1024 * 1024,
  maxAgeMs: 250,
  levelAgeMs: 5,
  maxInFlight: 3,
};

export type GroupState = {
  /** Whether it has begun. */
  readonly open: boolean;
  /** Changes of the source, however few rows they come to. */
  readonly changes: number;
  readonly bytes: number;
  readonly ageMs: number;
  readonly inFlight: number;
  /** Whether the source has nothing more at the moment. */
  readonly level: boolean;
};

/**
 * Whether a group ends at this transaction's end.
 *
 * 1. The target is idle: at once when the source has no more for now, or when there is enough to do.
 * 2. The source has no more, and a COMMIT is on its way: what comes until its reply goes together, but a far target is
 *    not waited for.
 * 3. The target is busy: when it is large or old enough.
 */
export function endsGroup(state: GroupState, bounds: GroupBounds = groupBounds): boolean {
  if (!state.open) return false;
  if (state.inFlight === 0 && (state.level || state.changes >= bounds.minChanges)) return true;
  if (state.level && state.ageMs >= bounds.levelAgeMs) return true;
  return (
    state.changes >= bounds.maxChanges || state.bytes >= bounds.maxBytes || state.ageMs >= bounds.maxAgeMs
  );
}

/** A group on its way. */
export type Group = {
  /** Where the position row must stand. */
  readonly from: Lsn;
  /** The last transaction that has rows in it; null for a group that only moves the position. */
  lastXid: bigint | null;
  /** What was asserted of tables, and holds until the end of the transaction. */
  readonly checked: Set<string>;
};

const beginStatement = 'begin isolation level read committed read write';
// Deferrable constraints are checked where the source checked them: at the end.
const deferStatement = 'set constraints all deferred';
// Without a key an index that happens to be there may be far worse than reading the table.
const scanStatement = 'set local enable_seqscan = on';
const noScanStatement = 'set local enable_seqscan = off';

const commitTag = 'COMMIT';

export class GroupPipeline {
  readonly #session: WireSession;
  readonly #key: readonly string[];
  readonly #onCommitted: (applied: Lsn) => void;
  /** Keeps, for each statement of the unit under way, the run it came from. */
  readonly #careful: boolean;
  readonly #touches: TouchLog | null;
  /** Groups whose COMMIT was sent, oldest first, with where they end. */
  readonly #inFlight: { readonly group: Group; readonly to: Lsn }[] = [];
  #group: Group | null = null;
  /** Where the next group begins. */
  #sentTo: Lsn;
  #applied: Lsn;
  #unitRuns: (Run | null)[] = [];
  /** The COPY of the open group that was begun and not ended; its check is to follow. */
  #copy: (Pick<Copy, 'check' | 'once'> & { readonly sql: string }) | null = null;
  #trouble: Failure | null = null;
  #waiting: (() => void) | null = null;
  /** Called after each answer: for a loop that waits for something else. */
  onAnswer: (() => void) | null = null;

  constructor(
    session: WireSession,
    key: StreamKey,
    applied: Lsn,
    options: {
      readonly careful: boolean;
      readonly onCommitted: (applied: Lsn) => void;
      readonly touches: TouchLog | null;
    },
  ) {
    this.#session = session;
    this.#key = streamKeyParameters(key);
    this.#applied = applied;
    this.#sentTo = applied;
    this.#careful = options.careful;
    this.#onCommitted = options.onCommitted;
    this.#touches = options.touches;
  }

  /** Committed on the target, as its replies said. */
  get applied(): Lsn {
    return this.#applied;
  }

  /** Where the position row stands once everything that was sent is committed. */
  get sentTo(): Lsn {
    return this.#sentTo;
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  /** Ends of the groups whose COMMIT was sent and not answered: each may have been committed. */
  get unanswered(): readonly Lsn[] {
    return this.#inFlight.map(({ to }) => to);
  }

  /** The group that has no COMMIT yet. */
  get open(): Group | null {
    return this.#group;
  }

  /** The group that an error is about: the server takes them in order. */
  get failing(): Group | null {
    return this.#inFlight[0]?.group ?? this.#group;
  }

  /** Throws what went wrong with anything that was sent. */
  throwIfFailed(): void {
    if (this.#session.broken !== null) throw this.#session.broken;
    if (this.#session.failed !== null) throw this.#session.failed;
    // Last, since a transaction that failed is answered like this, and its error is the one to tell.
    if (this.#trouble !== null) throw this.#trouble;
  }

  /** Sends one run of a transaction as part of the open group. */
  send(run: Run, statement: Statement, xid: bigint): void {
    const group = this.#begin();
    group.lastXid = xid;
    this.#touches?.add(run);
    if (statement.copy !== undefined) return this.#sendCopy(run, statement.sql, statement.copy);
    if (statement.scan) this.#send(scanStatement);
    this.#endCopy();
    this.#session.send(statement);
    if (this.#careful) this.#unitRuns.push(run);
    if (statement.scan) this.#send(noScanStatement);
  }

  /** Ends the open group, or makes one that only moves the position. */
  end(to: Lsn): void {
    const group = this.#begin();
    this.#touches?.end(to);
    this.#session.flush();
    failpoint('apply.group-sent');
    this.#send(moveStatement, [...this.#key, formatLsn(group.from), formatLsn(to)]);
    this.#send('commit');
    this.#group = null;
    this.#unitRuns = [];
    this.#sentTo = to;
    this.#inFlight.push({ group, to });
    const reply = this.#session.sync();
    failpoint('apply.commit-sent');
    reply.then(
      (answer) => this.#answered(answer, to),
      () => this.#wake(),
    );
  }

  /** Resolves when at most `count` groups are in flight. Throws as `throwIfFailed`. */
  async untilInFlight(count: number): Promise<void> {
    this.throwIfFailed();
    while (this.#inFlight.length > count) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
      this.throwIfFailed();
    }
  }

  /**
   * Waits for everything sent so far, without ending the group: while looking for the change at fault. Returns the
   * server's error with the run it is about, null where it is about a statement of ours.
   */
  async check(): Promise<{ error: NonNullable<UnitReply['error']>; run: Run | null } | null> {
    this.#endCopy();
    const runs = this.#unitRuns;
    this.#unitRuns = [];
    const { error, executed } = await this.#session.sync();
    return error === null ? null : { error, run: runs[executed] ?? null };
  }

  #begin(): Group {
    if (this.#group !== null) return this.#group;
    this.#send(beginStatement);
    this.#send(deferStatement);
    this.#send(guardStatement, [...this.#key, formatLsn(this.#sentTo)]);
    this.#group = { from: this.#sentTo, lastXid: null, checked: new Set() };
    return this.#group;
  }

  /** What is copied next goes on in the same COPY, where that has the same text. */
  #sendCopy(run: Run, sql: string, copy: Copy): void {
    if (this.#copy?.sql !== sql) {
      this.#endCopy();
      this.#copy = { sql, check: copy.check, once: copy.once };
      if (this.#careful) this.#unitRuns.push(run);
    }
    this.#session.sendCopy(sql, copy.data);
  }

  #endCopy(): void {
    if (this.#copy === null || this.#group === null) return;
    const { check, once } = this.#copy;
    this.#copy = null;
    const { checked } = this.#group;
    if (!once || !checked.has(check)) this.#send(check);
    checked.add(check);
  }

  #send(sql: string, parameters: readonly string[] = []): void {
    this.#endCopy();
    this.#session.send({ sql, parameters });
    if (this.#careful) this.#unitRuns.push(null);
  }

  #answered({ error, tag }: UnitReply, to: Lsn): void {
    if (error === null && this.#trouble === null) {
      if (tag === commitTag) {
        failpoint('apply.committed');
        this.#inFlight.shift();
        this.#applied = to;
        this.#onCommitted(to);
        failpoint('apply.recorded');
      } else {
        // A COMMIT of a failed transaction succeeds with the tag ROLLBACK.
        this.#trouble = new Failure('target-statement', `target: COMMIT was answered with ${tag}`);
      }
    }
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.();
    this.onAnswer?.();
  }
}
