/**
 * `walferry cutover`: the switch, beside a run that follows in another process. The two talk through the work
 * directory's catalog alone (catalog/cutover.ts):
 *
 *   cutover                                              the run that follows
 *   ───────                                              ────────────────────
 *   checks, command before                               receives and applies
 *   running: record, freeze, wait until quiet
 *   mark, end position ────────────────────────────────▶ applies up to it, says so, waits
 *   compare, look for late writes
 *   finalizing ────────────────────────────────────────▶ completes the target, says when it takes writes
 *   sequences meanwhile, look for late writes again
 *   open: the point of no return ──────────────────────▶ validates foreign keys, ends
 *   command after, done
 *
 * The comparison stands before the target is completed: what fails up to there leaves the target as the stream left it,
 * and the run goes on without so much as a new connection of its own. Whatever fails before `open` is undone.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { restoreGuarded } from '../apply/guard-restore.js';
import {
  beginCutover,
  loadCutover,
  recordOpen,
  setCutoverEndpos,
  setCutoverState,
  type CutoverRecord,
} from '../catalog/cutover.js';
import { closeCatalog, type Catalog } from '../catalog/database.js';
import { isLocked, takeLocks, type Lock } from '../catalog/lock.js';
import { endPhase, phaseDone } from '../catalog/setup.js';
import type { StreamRecord } from '../catalog/stream.js';
import { requireCatalog } from '../catalog/work-directory.js';
import { isOn } from '../clone/database-properties.js';
import {
  setMovedSequences,
  setSequences,
  type SequenceOptions,
  type SequenceValue,
} from '../clone/sequences.js';
import { SpareTarget } from '../clone/spare-target.js';
import { SessionsAhead } from '../compare/sides.js';
import { asFailure, Failure } from '../failure.js';
import { failpoint } from '../failpoint.js';
import type { Keeps } from '../filter/scope.js';
import { fetchAlteration } from '../follow/altered-publications.js';
import { requireStream } from '../follow/stream-run.js';
import type { Log } from '../log.js';
import { formatLsn } from '../model/lsn.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { emitMark } from '../postgres/logical-message.js';
import { expectReady, isFollowed, judgeChecks, lagBytes, runKind } from './checks.js';
import { copyAgain, fetchUncarried, type UncarriedTable } from './copy-again.js';
import { resolveChoices, type CutoverChoices, type CutoverHooks, type GivenChoices } from './choices.js';
import { decideCutover, expectSameFreeze, type CutoverRequest } from './decisions.js';
import { endStragglers, fetchFreezeFacts, freeze } from './freeze.js';
import { runHook } from './hooks.js';
import { fetchFollowed, fetchLateWrites, lateWritesFailure, type IsFollowed } from './late-writes.js';
import { Pause } from './pause.js';
import { gatherFacts, keptSequences, keptTables, loadCutoverFor, openStreamSource } from './prepare.js';
import { reportOf, writeReport, type CutoverReport } from './report.js';
import { checkSchemas, compareSchemasAtEnd, sayRefused, type SchemaWork } from './schemas.js';
import { Steps } from './steps.js';
import { sayHowToFollow, undoCutover } from './undo.js';
import { validateLater } from './validation.js';
import { prove, verify, type VerifyOptions } from './verify.js';
import { untilApplied, untilDrained, untilQuiet, untilReleased, untilWritable } from './waits.js';

export type CutoverOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly directory: string;
  /** Where its transform files lie. */
  readonly journalDirectory: string;
  readonly request: CutoverRequest;
  readonly choices: GivenChoices;
  readonly hooks: CutoverHooks;
  /** Tables compared at the same time. */
  readonly jobs: number;
  /** What the operator's commands inherit. */
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** Runs, goes on with, or undoes a cutover. The report of one that is complete or undone; null: nothing to do. */
export async function runCutover(options: CutoverOptions): Promise<CutoverReport | null> {
  const { directory, log, request } = options;
  const catalog = requireCatalog(directory);
  try {
    const stream = requireStream(catalog);
    const locks = await takeCutoverLock(directory);
    try {
      const record = loadCutoverFor(request, catalog);
      const decision = decideCutover(record, request);
      if (decision.kind === 'nothing-to-do') {
        log.info(decision.why);
        return record === null ? null : reportOf(record);
      }
      await using run = new Cutover(options, catalog, stream, record);
      if (decision.kind === 'undo') await run.abort();
      else if (decision.kind === 'begin') await run.begin();
      else await run.goOn(decision.from);
      return run.report();
    } finally {
      locks.release();
    }
  } finally {
    closeCatalog(catalog);
  }
}

/** How long a statement may take to end that was cancelled. */
const cancelledWithinMs = 5000;

const lockTries = 5;

/** Whoever looks whether a killed cutover is still there tries its lock for a moment (catalog/cutover.ts). */
async function takeCutoverLock(directory: string): Promise<Lock> {
  for (let tries = 1; ; tries += 1) {
    try {
      return takeLocks(directory, ['cutover']);
    } catch (error) {
      if (asFailure(error).code !== 'work-directory-locked' || tries === lockTries) throw error;
      await sleep(20);
    }
  }
}

class Cutover implements AsyncDisposable {
  readonly #options: CutoverOptions;
  readonly #catalog: Catalog;
  readonly #stream: StreamRecord;
  readonly #choices: CutoverChoices;
  readonly #pause: Pause;
  readonly #steps: Steps;
  /** Opened before the pause, see `#openAhead`. */
  readonly #spare = new SpareTarget();
  #ahead: SessionsAhead | undefined;
  #isFollowed: IsFollowed = () => true;
  #uncarried: readonly UncarriedTable[] = [];
  /** As performance.now() says; null where an earlier process has frozen the source. */
  #frozenAtMs: number | null = null;
  #sequences: readonly SequenceValue[] = [];

  constructor(options: CutoverOptions, catalog: Catalog, stream: StreamRecord, record: CutoverRecord | null) {
    this.#options = options;
    this.#catalog = catalog;
    this.#stream = stream;
    const goesOn = record !== null && record.state !== 'undone';
    this.#choices = resolveChoices(options.choices, goesOn ? record : null);
    this.#steps = new Steps(options.directory, options.log, goesOn ? record.steps : []);
    this.#pause = new Pause(options.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#steps[Symbol.dispose]();
    await this.#spare.close();
    await this.#ahead?.[Symbol.asyncDispose]();
  }

  report(): CutoverReport | null {
    const record = loadCutover(this.#catalog);
    return record === null ? null : reportOf(record);
  }

  async begin(): Promise<void> {
    const { source, log, signal } = this.#options;
    const choices = this.#choices;
    await using session = await openStreamSource(source, this.#stream, { log, signal });
    await this.#expectReady(session, (line) => log.info(line));
    this.#uncarried = await fetchUncarried(session, this.#stream, this.#keeps());
    if (choices.verify === 'touched') {
      await this.#steps.do('prove', () => prove(this.#verifyOptions(signal)));
      // That may have taken hours.
      await this.#expectReady(session, () => {});
    }
    log.info(`writes on the source will be stopped by --freeze ${choices.freeze}`);
    beginCutover(this.#catalog, { ...choices, run: runKind(this.#catalog) });
    await this.#undoneOnFailure(session, () => this.#run('running', session));
  }

  async #expectReady(session: Session, say: (line: string) => void): Promise<void> {
    const { target, journalDirectory, log, signal } = this.#options;
    const how = { journalDirectory, log, signal };
    const gather = () => gatherFacts(session, target, this.#catalog, this.#stream, how);
    let facts = await gather();
    // What other databases of the server write is behind us until the stream's next commit: so here is one.
    if (lagBytes(facts) > this.#choices.maxLagBytes && facts.alive && !facts.standby) {
      await emitMark(session);
      await untilApplied(this.#catalog, facts.sourceLsn, signal);
      // What they have written by now is behind us again: it counts where the source was when it was asked.
      facts = { ...(await gather()), sourceLsn: facts.sourceLsn };
    }
    const schemas = await checkSchemas(this.#schemaWork(signal), { ...this.#choices, run: facts.run });
    const checks = [...judgeChecks(facts, this.#choices), ...schemas];
    for (const { level, text } of checks) if (level !== 'block') say(`check: ${text}`);
    expectReady(checks);
  }

  #verifyOptions(signal: AbortSignal): VerifyOptions {
    const { source, target, directory, jobs, log } = this.#options;
    return {
      mode: this.#choices.verify,
      source,
      target,
      directory,
      key: this.#stream.key,
      jobs,
      keeps: keptTables(this.#catalog),
      ahead: this.#ahead,
      parts: this.#stream.parts,
      uncarried: this.#uncarried,
      copyAgain: this.#choices.copyAgain,
      log,
      signal,
    };
  }

  #schemaWork(signal: AbortSignal): SchemaWork {
    const { source, target, directory, log } = this.#options;
    const { parts, key } = this.#stream;
    return { source, target, directory, keeps: keptTables(this.#catalog), parts, key, log, signal };
  }

  async goOn(from: 'running' | 'finalizing' | 'open'): Promise<void> {
    const { source, log, signal } = this.#options;
    const record = this.#record();
    expectSameFreeze(record, this.#choices.freeze);
    if (from === 'open') {
      await using session = await openStreamSource(source, this.#stream, { log, signal });
      return await this.#afterOpen(session);
    }
    const run = runKind(this.#catalog);
    // Nothing is undone because the run is not there yet: it may be started again.
    const needed = from === 'running' || (run === 'clone' && !phaseDone(this.#catalog, 'writable'));
    const alive =
      from === 'running' ? isFollowed(this.#catalog.directory) : isLocked(this.#catalog.directory, 'clone');
    if (needed && !alive) {
      throw new Failure('cutover-not-ready', 'no run follows in this work directory', {
        remedy:
          'Start it again with --resume in another terminal, then go on here; or undo this cutover with --abort.',
      });
    }
    await using session = await openStreamSource(source, this.#stream, { log, signal });
    await this.#undoneOnFailure(session, () => this.#run(from, session));
  }

  async abort(): Promise<void> {
    await this.#undo(null);
    await this.#onUndo();
    sayHowToFollow(this.#catalog, this.#options.log);
  }

  async #run(from: 'running' | 'finalizing', session: Session): Promise<void> {
    let closing: NodeJS.Timeout | undefined;
    const cancel = () => {
      void session.cancel().catch(() => {});
      // A connection that died without a word answers neither: what waits for it is to be undone too.
      closing = setTimeout(() => void session.close().catch(() => {}), cancelledWithinMs);
    };
    this.#pause.signal.addEventListener('abort', cancel, { once: true });
    try {
      this.#isFollowed = await fetchFollowed(session, this.#keeps());
      this.#uncarried = await fetchUncarried(session, this.#stream, this.#keeps());
      if (from === 'running') {
        await this.#beforeFreeze();
        await this.#openAhead();
        this.#pause.begin(this.#choices.maxPauseMs);
        await this.#freeze(session);
        await this.#drain(session);
        if (this.#choices.copyAgain) await this.#copyAgain(session);
        await this.#verify(session);
        await this.#steps.do('late-writes', () => this.#expectAll(session));
        failpoint('cutover.verified');
        setCutoverState(this.#catalog, 'finalizing');
        failpoint('cutover.finalizing');
      } else {
        this.#pause.begin(this.#choices.maxPauseMs);
        // Somebody may have let the source write since, by hand: what was written is found behind the end position.
        await this.#freeze(session);
      }
      await this.#setSequences(session);
      await this.#complete();
      await this.#steps.do('still-quiet', () => this.#expectStillQuiet(session));
      failpoint('cutover.completed');
      await this.#steps.do('open', () => {
        recordOpen(this.#catalog, Date.now());
        this.#pause.end();
        return Promise.resolve('');
      });
    } finally {
      clearTimeout(closing);
      this.#pause.end();
      this.#pause.signal.removeEventListener('abort', cancel);
    }
    failpoint('cutover.open');
    await this.#afterOpen(session);
  }

  async #beforeFreeze(): Promise<void> {
    const command = this.#options.hooks.beforeFreeze;
    const done = this.#steps.records.some(
      ({ name, ms, detail }) => name === 'before-freeze' && ms !== null && detail === '',
    );
    if (command === null || done) return;
    await this.#steps.do('before-freeze', () => this.#hook('--before-freeze', command, this.#options.signal));
  }

  async #freeze(session: Session): Promise<void> {
    const catalog = this.#catalog;
    const { log } = this.#options;
    const kind = this.#choices.freeze;
    this.#pause.waitingFor = 'writes on the source are being stopped';
    await this.#steps.do('freeze', async () => {
      const facts = await fetchFreezeFacts(session);
      const keeps = this.#keeps();
      const keepsSequence = keptSequences(catalog);
      const earlier = this.#record().freeze;
      const done = await freeze(kind, { session, catalog, facts, keeps, keepsSequence, log }, earlier);
      this.#frozenAtMs = performance.now();
      return done;
    });
    failpoint('cutover.frozen');
    await this.#steps.do('quiet', () => untilQuiet(session, kind, this.#pause));
  }

  async #drain(session: Session): Promise<void> {
    await this.#steps.do('mark', async () => {
      const endpos = await emitMark(session);
      failpoint('cutover.marked');
      setCutoverEndpos(this.#catalog, endpos);
      return formatLsn(endpos);
    });
    failpoint('cutover.endpos-set');
    await this.#steps.do('drain', async () => {
      const endpos = this.#endpos();
      await untilDrained(this.#catalog, endpos, this.#pause);
      return '';
    });
    failpoint('cutover.drained');
  }

  async #copyAgain(session: Session): Promise<void> {
    const { source, target, jobs, log } = this.#options;
    const [tables, { signal }] = [this.#uncarried, this.#pause];
    await this.#steps.do('copy-again', () => {
      this.#pause.waitingFor = 'tables are copied again whose changes the stream does not carry';
      const expectNoLateWrites = () => this.#expectNoLateWrites(session);
      return copyAgain({ source, target, tables, jobs, expectNoLateWrites, log, signal });
    });
    failpoint('cutover.copied-again');
  }

  async #verify(session: Session): Promise<void> {
    this.#pause.waitingFor = 'both sides are compared';
    await this.#steps.do('verify', async () => {
      const { detail, difference } = await verify(this.#verifyOptions(this.#pause.signal));
      if (difference === null) return detail;
      // Somebody who still writes makes the sides differ too, and is another thing to mend.
      await this.#expectAll(session).catch((error: unknown) => {
        if (!this.#pause.signal.aborted) throw error;
      });
      throw difference;
    });
  }

  async #complete(): Promise<void> {
    const { target, directory, log } = this.#options;
    const catalog = this.#catalog;
    const run = runKind(catalog);
    await this.#steps.do('finalize', async () => {
      if ((await untilWritable(catalog, run, this.#pause)) === 'ours') {
        const locks = takeLocks(directory, ['receive', 'apply']);
        try {
          await restoreGuarded({ target, key: this.#stream.key, log, signal: this.#pause.signal });
        } finally {
          locks.release();
        }
      }
      return sayRefused(directory, log);
    });
    failpoint('cutover.finalized');
  }

  #sequenceWork(session: Session): SequenceOptions {
    const { source, target, log } = this.#options;
    const headroom = this.#choices.sequenceHeadroom;
    const { signal } = this.#pause;
    return { source, session, target, spare: this.#spare, catalog: this.#catalog, headroom, log, signal };
  }

  /** While the run completes the target, which leaves them to us. */
  async #setSequences(session: Session): Promise<void> {
    const catalog = this.#catalog;
    this.#pause.waitingFor = 'the sequences are set';
    await this.#steps.do('sequences', async () => {
      const headroom = this.#choices.sequenceHeadroom;
      const { count, values } = await setSequences(this.#sequenceWork(session));
      this.#sequences = values;
      // A run that is started again behind the opening must not set them back.
      endPhase(catalog, 'sequences');
      return `${count} sequences${headroom === 0 ? '' : `, ${headroom} steps ahead`}`;
    });
  }

  /** Logins take several round trips each: what the pause needs is opened before it. */
  async #openAhead(): Promise<void> {
    const { source, target, jobs, log, signal } = this.#options;
    const pairs = this.#choices.verify === 'none' ? 0 : jobs;
    const [ahead] = await Promise.all([
      SessionsAhead.open(pairs, { source, target, log, signal }),
      // What keeps us from it is told when it is needed.
      this.#spare.prepare({ target, log, signal }).catch(() => {}),
    ]);
    this.#ahead = ahead;
  }

  /** Once all is applied: what a publication leaves out from then on lies behind the end position, as late writes do. */
  async #expectAll(session: Session): Promise<string> {
    this.#pause.waitingFor = 'the publications of the stream are looked at';
    const altered = await fetchAlteration(session, this.#stream, this.#keeps());
    if (altered !== null) throw altered;
    return await this.#expectNoLateWrites(session);
  }

  async #expectNoLateWrites(session: Session): Promise<string> {
    this.#pause.waitingFor = 'the slot is asked for late writes';
    const endpos = this.#endpos();
    const { journalDirectory } = this.#options;
    const [stream, isFollowed, { signal }] = [this.#stream, this.#isFollowed, this.#pause];
    const question = { stream, journalDirectory, endpos, isFollowed, signal };
    const failure = lateWritesFailure(await fetchLateWrites(session, question), endpos);
    if (failure !== null) throw failure;
    return 'none';
  }

  /** Whoever the freeze has missed is ended; sequences that were taken from meanwhile are set once more. */
  async #expectStillQuiet(session: Session): Promise<string> {
    if (this.#choices.freeze === 'read-only') {
      this.#pause.waitingFor = 'sessions that have been there since before the freeze are ended';
      await endStragglers(session, this.#frozenAtMs, this.#options.log);
    }
    await untilReleased(session, this.#choices.freeze, this.#isFollowed, this.#pause);
    const none = await this.#expectNoLateWrites(session);
    this.#pause.waitingFor = 'the sequences are read again';
    const moved = await setMovedSequences(this.#sequenceWork(session), this.#sequences);
    return moved === 0 ? none : `none; ${moved} sequences had moved, and were set again`;
  }

  /** The application may write to the target: from here on nothing is undone. */
  async #afterOpen(session: Session): Promise<void> {
    const { hooks, signal, log } = this.#options;
    const command = hooks.after;
    if (command !== null) await this.#steps.do('after', () => this.#hook('--after', command, signal));
    failpoint('cutover.after');
    // Asked before it is `done`: what follows has to know who it is.
    const run = runKind(this.#catalog);
    setCutoverState(this.#catalog, 'done');
    try {
      await this.#steps.do('validate', () =>
        validateLater({ ...this.#options, session, stream: this.#stream, run }),
      );
      await this.#steps.do('schemas', () => compareSchemasAtEnd(this.#schemaWork(signal)));
    } finally {
      writeReport(this.#catalog, this.#options.log);
    }
    const report = this.report();
    log.info(`the write pause was ${report?.pause_ms ?? '?'} ms`);
    if (report?.source_frozen === true) {
      log.info(
        `the source stays frozen (--freeze ${report.freeze}); what would undo that is in ${join(this.#catalog.directory, 'unfreeze.sql')}`,
      );
    }
  }

  /** Undoes everything when `work` fails before the application may write to the target. */
  async #undoneOnFailure(session: Session, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const cause = asFailure(this.#pause.causeOf(error));
      const { state } = this.#record();
      if (state === 'open' || state === 'done') {
        writeReport(this.#catalog, this.#options.log);
        throw cause;
      }
      this.#options.log.error(`cutover: ${cause.message.split('\n')[0]}`);
      try {
        await this.#undo(session);
      } catch (undoing) {
        throw new Failure(
          'cutover-unfinished',
          `${cause.message}\nand the cutover could not be undone: ${asFailure(undoing).message}; the source may be frozen`,
          {
            cause: undoing,
            remedy: `Undo it with \`walferry cutover --abort\`, or by hand with ${join(this.#catalog.directory, 'unfreeze.sql')}.`,
          },
        );
      }
      await this.#onUndo();
      sayHowToFollow(this.#catalog, this.#options.log);
      throw new Failure(
        cause.code,
        `${cause.message}\nThe cutover was undone: ${this.#standingOfSource()}, and the target follows it.`,
        { cause, remedy: cause.remedy },
      );
    }
  }

  #standingOfSource(): string {
    const { freeze } = this.#record();
    const was = freeze?.kind === 'read-only' && isOn(freeze.before);
    return was ? 'the source is read-only, as it was before' : 'the source takes writes as before';
  }

  async #undo(session: Session | null): Promise<void> {
    const { source, log } = this.#options;
    const [catalog, stream, steps] = [this.#catalog, this.#stream, this.#steps];
    await undoCutover({ source, catalog, stream, session, steps, log });
    writeReport(this.#catalog, log);
  }

  async #onUndo(): Promise<void> {
    const { hooks, log } = this.#options;
    if (hooks.onUndo === null) return;
    try {
      await this.#hook('--on-undo', hooks.onUndo, new AbortController().signal);
    } catch (error) {
      log.error(asFailure(error).message);
    }
  }

  async #hook(
    name: '--before-freeze' | '--after' | '--on-undo',
    command: string,
    signal: AbortSignal,
  ): Promise<string> {
    const { hooks, environment, log, directory } = this.#options;
    const { state, endpos } = this.#record();
    await runHook({
      name,
      command,
      timeoutMs: hooks.timeoutMs,
      environment,
      facts: {
        WALFERRY_CUTOVER_STATE: state,
        WALFERRY_CUTOVER_ENDPOS: endpos === null ? '' : formatLsn(endpos),
        WALFERRY_CUTOVER_DIR: directory,
      },
      log,
      signal,
    });
    return '';
  }

  /** The tables that are copied and followed. */
  #keeps(): Keeps {
    return keptTables(this.#catalog) ?? (() => true);
  }

  #record(): CutoverRecord {
    const record = loadCutover(this.#catalog);
    if (record === null) throw new Failure('internal', 'there is no cutover');
    return record;
  }

  #endpos() {
    const { endpos } = this.#record();
    if (endpos === null) throw new Failure('internal', 'the cutover has no end position');
    return endpos;
  }
}
