/**
 * One reading of the source, from the position row on: messages → verdict → sets → statements → groups. It ends by
 * returning, or by throwing; then nothing of it is used any more but what was committed and its lessons.
 *
 * The hot path is synchronous: `#take` returns a promise only where something must be waited for.
 */
import pg from 'pg';
import { Failure } from '../failure.js';
import type { Change, Truncate } from '../model/change.js';
import { formatLsn, laterLsn, type Lsn } from '../model/lsn.js';
import type { MessageSource } from '../model/message-source.js';
import type { Begin, ChangeMessage, Commit, StreamMessage } from '../model/message.js';
import type { Relation } from '../model/relation.js';
import type { StreamKey } from '../model/stream-key.js';
import type { WireSession } from '../postgres/wire-session.js';
import { ChangeSets, OneByOne, type ChangeGatherer } from './change-sets.js';
import type { CopiedLater } from './copied-later.js';
import { culpritFailure, isGuardError, isPassing, transactionLabel } from './culprit.js';
import { GroupPipeline, endsGroup, groupBounds, type GroupState } from './group.js';
import type { RelationPlan } from './relation-plan.js';
import type { RelationPlans } from './relation-plans.js';
import type { Run } from './run.js';
import { runStatement } from './statement.js';
import type { StopClock } from './stop-clock.js';
import type { TableName } from './target-table.js';
import type { TouchLog } from './touches.js';
import { reachesEnd, relationVerdict, verdictAtBegin, verdictHolds } from './verdict.js';

/** What one reading tells the next. */
export type Lessons = {
  /**
   * Until this transaction is committed every transaction is a group, every change a statement. Its end is known once its
   * COMMIT is sent: a reading that begins there or behind is past it, though no reply has said so.
   */
  readonly carefulThrough: { readonly xid: bigint; readonly endLsn: Lsn | null } | null;
  /** By xid: the ends of transactions that were not known where they begin. */
  readonly known: ReadonlyMap<bigint, Lsn>;
  /** By xid: how often the transaction begins in the source without coming to its end. */
  readonly voided: ReadonlyMap<bigint, number>;
};

export const freshLessons: Lessons = {
  carefulThrough: null,
  known: new Map(),
  voided: new Map(),
};

/** What is still to be kept to by a reading that begins at `position`. */
function withoutPast(lessons: Lessons, position: Lsn): Lessons {
  const end = lessons.carefulThrough?.endLsn ?? null;
  return end === null || position < end ? lessons : { ...lessons, carefulThrough: null };
}

/** Not a failure: what was sent must be taken back, and the source read again with what was learned. */
export class ReadAgain extends Error {}

/** Not a failure: something fires on these tables of the target, and must be switched off before they are changed. */
export class GuardFirst extends Error {
  readonly tables: readonly TableName[];

  constructor(tables: readonly TableName[]) {
    super();
    this.tables = tables;
  }
}

export type ReadingOptions = {
  readonly session: WireSession;
  readonly source: MessageSource;
  /** Where the position row stands. */
  readonly position: Lsn;
  readonly key: StreamKey;
  readonly plans: RelationPlans;
  readonly lessons: Lessons;
  /** The tables on which nothing fires any more; null where what fires is to fire. */
  readonly guarded: ReadonlySet<string> | null;
  /** Nothing goes together, as in a careful reading; but groups are what they are. */
  readonly strict: boolean;
  readonly endpos: () => Lsn;
  readonly clock: StopClock;
  readonly onApplied: (applied: Lsn) => void;
  readonly touches: TouchLog | null;
  /** The tables that were copied from a later snapshot; null where there are none. */
  readonly copiedLater: CopiedLater | null;
  /** Whether somebody waits for the position row to move, while there is nothing to apply. */
  readonly awaited: () => boolean;
};

/** The transaction that the messages are in, and what is done with it. */
type OpenTransaction = {
  readonly xid: bigint;
  readonly commitLsn: Lsn | null;
  readonly doing: 'skip' | 'apply';
};

/** While idle: how often the end position is asked for. */
const idlePollMs = 100;
/**
 * While idle: how often the position row is moved behind keepalives. Soon, where somebody waits for it or a WAL segment
 * lies between: other databases of the server write it, and whoever reads the sentinel would take it for our lag.
 */
const idleMoveMs = 10_000;
const soonMoveMs = 200;
const farBytes = 16n * 1024n * 1024n;

/** While looking for the change at fault: statements sent before their replies are waited for. */
const carefulUnit = 100;

export class Reading {
  readonly pipeline: GroupPipeline;
  readonly #options: ReadingOptions;
  readonly #ended = new AbortController();
  readonly #gatherer: ChangeGatherer;
  readonly #careful: boolean;
  #lessons: Lessons;
  #transaction: OpenTransaction | null = null;
  /** Everything ending here or before was seen; at a transaction's edge the position row may be moved here. */
  #seen: Lsn;
  /** Since when the next group is gathered; null while it is empty. Then what the gatherer had taken by that time. */
  #groupSince: number | null = null;
  #groupFrom = { changes: 0, bytes: 0 };
  /** What the gatherer had taken when it was last asked for all of it. */
  #flushedChanges = 0;
  /** The last transaction that was applied; for what is still gathered at its end. */
  #xid = 0n;
  /** A transaction of this reading was new to the target. */
  #beyond = false;
  #reachedEnd = false;
  readonly #startedAt = Date.now();
  #movedAt = this.#startedAt;
  readonly #begun = new Map<bigint, number>();
  #unitStatements = 0;
  /** Null once every transaction that a later snapshot saw was seen. */
  #copiedLater: CopiedLater | null;
  /** Something happened since the idle loop last looked. */
  #woken = false;
  /** The messages that are being taken. */
  #batch: readonly StreamMessage[] = [];
  #resume: (() => void) | null = null;

  constructor(options: ReadingOptions) {
    this.#options = options;
    this.#lessons = withoutPast(options.lessons, options.position);
    this.#careful = this.#lessons.carefulThrough !== null;
    this.#gatherer = this.#careful || options.strict ? new OneByOne() : new ChangeSets();
    this.#seen = options.position;
    this.#copiedLater = options.copiedLater;
    this.#forgetCopied();
    this.pipeline = new GroupPipeline(options.session, options.key, options.position, {
      careful: this.#careful,
      onCommitted: options.onApplied,
      touches: options.touches,
    });
  }

  get ageMs(): number {
    return Date.now() - this.#startedAt;
  }

  get lessons(): Lessons {
    return this.#lessons;
  }

  async run(): Promise<'endpos' | 'end'> {
    const wake = () => this.#wake();
    this.pipeline.onAnswer = wake;
    this.#options.session.onTrouble = wake;
    this.#options.clock.onStopping = wake;
    try {
      return await this.#read();
    } finally {
      // A wait for the next batch that nobody is interested in any more.
      this.#ended.abort(new Failure('stopped', 'the reading has ended'));
      this.#options.session.onTrouble = null;
      this.#options.clock.onStopping = null;
    }
  }

  async #read(): Promise<'endpos' | 'end'> {
    const signal = AbortSignal.any([this.#ended.signal, this.#options.clock.sourceSignal]);
    for (;;) {
      const next = this.#options.source.next(signal);
      // Nobody waits for it when the reading ends first.
      next.catch(() => {});
      const edge = await this.#idleUntil(next);
      if (edge === 'endpos') return await this.#finish('endpos');
      const batch = await next;
      if (batch === null) return await this.#endOfSource();
      this.#batch = batch;
      for (const message of batch) {
        const wait = this.#take(message);
        if (wait !== null) await wait;
        if (this.#reachedEnd) return await this.#finish('endpos');
        if (this.#transaction === null && this.#options.clock.stopping) await this.#stop();
      }
      this.pipeline.throwIfFailed();
    }
  }

  /** Waits for a batch. Meanwhile ends groups, asks for the end position, and looks whether all is well. */
  async #idleUntil(next: Promise<unknown>): Promise<'batch' | 'endpos'> {
    let arrived = false;
    const arrive = () => {
      arrived = true;
      this.#wake();
    };
    next.then(arrive, arrive);
    // One turn of the event loop, so that a batch that is there is taken before anything else is done.
    await new Promise((resolve) => setImmediate(resolve));
    for (;;) {
      this.#woken = false;
      this.pipeline.throwIfFailed();
      if (arrived) return 'batch';
      // Level with the source: what there is goes to the target now, which works while we wait.
      if (this.#careful || this.#sendsWhenLevel()) await this.#flushSets();
      if (this.#transaction === null) {
        if (reachesEnd(this.#seen, this.#options.endpos())) return 'endpos';
        if (this.#options.clock.stopping) await this.#stop();
        await this.#endGroup();
      }
      this.#options.session.flush();
      await this.#pause();
    }
  }

  /**
   * Of a transaction that is open only what is much, or old: nothing of it shows before its end, and what happens to a
   * row twice is done once.
   */
  #sendsWhenLevel(): boolean {
    const state = this.#groupState(this.#options.source.level);
    if (!endsGroup(state)) return false;
    const gathered = this.#gatherer.changesTaken - this.#flushedChanges;
    return (
      this.#transaction === null || gathered >= groupBounds.minChanges || state.ageMs >= groupBounds.maxAgeMs
    );
  }

  /** Until something happens; not for long, since nobody tells when the end position is set. */
  async #pause(): Promise<void> {
    if (this.#woken) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#groupSince === null ? idlePollMs : groupBounds.levelAgeMs);
      this.#resume = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#resume = null;
  }

  #wake(): void {
    this.#woken = true;
    this.#resume?.();
  }

  #take(message: StreamMessage): Promise<void> | null {
    switch (message.kind) {
      case 'change':
        return this.#change(message);
      case 'begin':
        this.#begin(message);
        return null;
      case 'commit':
        return this.#commit(message);
      case 'relation':
        this.#options.plans.describe(message.relation);
        return null;
      case 'keepalive':
        // Inside of a transaction it proves nothing about that one; its commit will.
        if (this.#transaction !== null) return null;
        this.#seen = laterLsn(this.#seen, message.lsn);
        this.#reachedEnd = reachesEnd(this.#seen, this.#options.endpos());
        return null;
      case 'endpos':
        // The position row stays where it is: this is what somebody asked for, not the end of a record, and a slot
        // that is told such a position may skip the transaction whose commit record it falls into.
        if (!reachesEnd(message.lsn, this.#options.endpos())) return null;
        // A transaction that is open ends behind it, and does not come to its end here.
        if (this.#transaction !== null) this.#void(this.#transaction);
        this.#reachedEnd = true;
        return null;
      case 'connected':
        if (this.#transaction !== null) this.#void(this.#transaction);
        return null;
      case 'rollback':
        if (this.#transaction?.xid === message.xid) this.#void(this.#transaction);
        return null;
      case 'message':
        // Logical messages are for others; the transaction that carries one counts all the same.
        break;
    }
    return null;
  }

  #begin({ xid, commitLsn }: Begin): void {
    if (this.#transaction !== null) {
      throw new Failure(
        'message-unreadable',
        `transaction ${xid} begins inside of ${transactionLabel(this.#transaction)}`,
      );
    }
    const attempt = (this.#begun.get(xid) ?? 0) + 1;
    // Only transactions that were void once need to be counted.
    if (this.#lessons.voided.has(xid) || attempt > 1) this.#begun.set(xid, attempt);
    const endLsn = this.#lessons.known.get(xid) ?? null;
    const endpos = this.#options.endpos();
    const place = { applied: this.#seen, beyond: this.#beyond, endpos };
    const verdict = verdictAtBegin({ commitLsn, endLsn }, place);
    if (verdict === 'stop') {
      this.#reachedEnd = true;
      return;
    }
    const isVoid = attempt <= (this.#lessons.voided.get(xid) ?? 0);
    this.#transaction = { xid, commitLsn, doing: isVoid ? 'skip' : verdict };
    if (this.#transaction.doing === 'apply') this.#xid = xid;
  }

  #change(message: ChangeMessage): Promise<void> | null {
    const transaction = this.#transaction;
    if (transaction === null || transaction.xid !== message.xid) {
      throw new Failure(
        'message-unreadable',
        `a change of transaction ${message.xid} stands outside of it, at ${formatLsn(message.lsn)}`,
      );
    }
    if (transaction.doing === 'skip') return null;
    const { change } = message;
    if (change.kind === 'truncate') return this.#truncate(change, transaction);
    if (this.#isCopied(message.xid, change.relation)) return null;
    const plan = this.#options.plans.get(change.relation);
    if (plan === undefined) return this.#planFirst(message, change.relation);
    return this.#addChange(plan, change);
  }

  /** Whether the copy of the table holds what the transaction did to it. */
  #isCopied(xid: bigint, relation: TableName): boolean {
    const copied = this.#copiedLater;
    return copied !== null && relationVerdict(xid, copied.seenBy(relation)) === 'skip';
  }

  #addChange(plan: RelationPlan, change: Exclude<Change, Truncate>): Promise<void> | null {
    this.#groupSince ??= Date.now();
    const runs = this.#gatherer.add(plan, change);
    return runs.length === 0 ? null : this.#sendAll(runs);
  }

  async #planFirst(message: ChangeMessage, relation: Relation): Promise<void> {
    await this.#fetchPlan(relation);
    await this.#change(message);
  }

  async #fetchPlan(relation: Relation): Promise<RelationPlan> {
    // A query ends the unit under way: what is wrong with that is asked before, with the changes it is about.
    if (this.#careful && this.pipeline.open !== null) await this.#checkUnit();
    const { plans, session, guarded } = this.#options;
    // Those that will be needed next are planned in the same round trip.
    for (const message of this.#batch) if (message.kind === 'relation') plans.describe(message.relation);
    try {
      const plan = await plans.fetch(session, relation);
      const tables = guarded === null ? [] : plans.unguarded(guarded);
      if (tables.length > 0) throw new GuardFirst(tables);
      return plan;
    } catch (error) {
      if (error instanceof GuardFirst) throw error;
      // Refused because the transaction has failed before: that failure is the one to tell.
      this.pipeline.throwIfFailed();
      if (error instanceof Failure && error.code === 'relation-missing' && this.#transaction !== null) {
        const message = `${error.message} (needed by ${transactionLabel(this.#transaction)})`;
        throw new Failure(error.code, message, { cause: error });
      }
      throw error;
    }
  }

  async #truncate(change: Truncate, { xid }: OpenTransaction): Promise<void> {
    const plans: RelationPlan[] = [];
    for (const relation of change.relations) {
      if (this.#isCopied(xid, relation)) continue;
      plans.push(this.#options.plans.get(relation) ?? (await this.#fetchPlan(relation)));
    }
    this.#groupSince ??= Date.now();
    await this.#flushSets();
    if (plans.length > 0) await this.#send({ kind: 'truncate', plans, change });
  }

  /** Whoever committed behind the last snapshot is in none of them. */
  #forgetCopied(): void {
    if (this.#copiedLater !== null && this.#seen >= this.#copiedLater.through) this.#copiedLater = null;
  }

  #commit({ xid, endLsn }: Commit): Promise<void> | null {
    const transaction = this.#transaction;
    if (transaction === null || transaction.xid !== xid) {
      throw new Failure('message-unreadable', `the commit of transaction ${xid} stands outside of it`);
    }
    if (!verdictHolds(transaction.doing, endLsn, this.#seen, this.#options.endpos())) {
      const voided = new Map(this.#lessons.voided);
      voided.delete(xid);
      const known = new Map(this.#lessons.known).set(xid, endLsn);
      this.#lessons = { ...this.#lessons, known, voided };
      throw new ReadAgain();
    }
    this.#transaction = null;
    if (transaction.doing === 'apply') {
      this.#beyond = true;
      this.#seen = endLsn;
      if (this.#copiedLater !== null) this.#forgetCopied();
    }
    this.#reachedEnd = reachesEnd(this.#seen, this.#options.endpos());
    if (this.#careful) return this.#commitCarefully(transaction, endLsn);
    return endsGroup(this.#groupState(false)) ? this.#endFullGroup() : null;
  }

  async #endFullGroup(): Promise<void> {
    await this.#flushSets();
    await this.pipeline.untilInFlight(groupBounds.maxInFlight - 1);
    this.#end();
  }

  /** In a careful reading every transaction is committed, and waited for, before the next. */
  async #commitCarefully(transaction: OpenTransaction, endLsn: Lsn): Promise<void> {
    const { xid } = transaction;
    const isLast = xid === this.#lessons.carefulThrough?.xid;
    await this.#flushSets();
    if (this.pipeline.open !== null) {
      await this.#check(transaction);
      this.#end();
      if (isLast) this.#lessons = { ...this.#lessons, carefulThrough: { xid, endLsn } };
      try {
        await this.pipeline.untilInFlight(0);
      } catch (error) {
        throw this.#culprit(error, null, transaction);
      }
    }
    if (isLast) {
      this.#lessons = { ...this.#lessons, carefulThrough: null };
      throw new ReadAgain();
    }
  }

  #groupState(level: boolean): GroupState {
    const { changesTaken, bytesTaken } = this.#gatherer;
    return {
      open: this.#groupSince !== null,
      changes: changesTaken - this.#groupFrom.changes,
      bytes: bytesTaken - this.#groupFrom.bytes,
      ageMs: this.#groupSince === null ? 0 : Date.now() - this.#groupSince,
      inFlight: this.pipeline.inFlight,
      level,
    };
  }

  /** At a transaction's edge, with nothing more to read for now. */
  async #endGroup(): Promise<void> {
    const state = this.#groupState(this.#options.source.level);
    if (state.inFlight >= groupBounds.maxInFlight) return;
    if (state.open) {
      if (!endsGroup(state)) return;
      await this.#flushSets();
    } else if (
      this.#seen === this.pipeline.sentTo ||
      state.inFlight > 0 ||
      Date.now() - this.#movedAt < this.#moveEveryMs()
    ) {
      return;
    }
    this.#end();
  }

  #moveEveryMs(): number {
    const isFar = this.#seen - this.pipeline.sentTo >= farBytes;
    return isFar || this.#options.awaited() ? soonMoveMs : idleMoveMs;
  }

  /** Ends the group, everything of which was sent, at the transaction's edge. */
  #end(): void {
    const { changesTaken: changes, bytesTaken: bytes } = this.#gatherer;
    this.#groupSince = null;
    this.#groupFrom = { changes, bytes };
    this.#movedAt = Date.now();
    this.pipeline.end(this.#seen);
  }

  async #flushSets(): Promise<void> {
    this.#flushedChanges = this.#gatherer.changesTaken;
    if (!this.#gatherer.empty) await this.#sendAll(this.#gatherer.flush());
  }

  async #sendAll(runs: readonly Run[]): Promise<void> {
    for (const run of runs) {
      const wait = this.#send(run);
      if (wait !== null) await wait;
    }
  }

  /** Sends a run; the promise is there only where the socket or a careful reading asks to wait. */
  #send(run: Run): Promise<void> | null {
    this.pipeline.send(run, runStatement(run), this.#xid);
    this.#unitStatements += 1;
    if (this.#careful && this.#unitStatements >= carefulUnit) return this.#checkUnit();
    return this.#options.session.congested ? this.#drained() : null;
  }

  async #drained(): Promise<void> {
    await this.#options.session.drained();
    this.pipeline.throwIfFailed();
  }

  async #checkUnit(): Promise<void> {
    if (this.#transaction !== null) await this.#check(this.#transaction);
  }

  async #check(transaction: OpenTransaction): Promise<void> {
    this.#unitStatements = 0;
    const wrong = await this.pipeline.check();
    if (wrong !== null) throw this.#culprit(wrong.error, wrong.run, transaction);
  }

  /** The Failure of the change at fault; errors that say nothing about it stay as they are. */
  #culprit(error: unknown, run: Run | null, transaction: OpenTransaction): unknown {
    if (!(error instanceof pg.DatabaseError) || isGuardError(error) || isPassing(error)) return error;
    return culpritFailure(error, run, transaction);
  }

  /** The transaction will not come to its end here; it may begin again behind this. */
  #void({ xid, doing }: OpenTransaction): void {
    this.#transaction = null;
    const attempt = this.#begun.get(xid) ?? 1;
    this.#begun.set(xid, attempt);
    if (doing === 'skip') return;
    const voided = new Map(this.#lessons.voided);
    voided.set(xid, Math.max(attempt, voided.get(xid) ?? 0));
    this.#lessons = { ...this.#lessons, voided };
    throw new ReadAgain();
  }

  /** At a transaction's edge: everything before it is kept. */
  async #stop(): Promise<void> {
    await this.#complete();
    this.#options.clock.throwIfStopping();
  }

  /** The source has ended: a transaction without its end is not applied. */
  async #endOfSource(): Promise<'end'> {
    if (this.#transaction !== null && this.#transaction.doing === 'apply') this.#void(this.#transaction);
    await this.#complete();
    return 'end';
  }

  async #finish(reason: 'endpos'): Promise<'endpos'> {
    await this.#complete();
    return reason;
  }

  /** At a transaction's edge: commits everything, the position behind keepalives included, and waits for the replies. */
  async #complete(): Promise<void> {
    await this.#flushSets();
    if (this.pipeline.open !== null || this.#seen !== this.pipeline.sentTo) this.#end();
    await this.pipeline.untilInFlight(0);
  }
}
