/**
 * One run of `clone`, with or without --follow, from an empty work directory or from wherever the last run stopped.
 *
 *   slot → copy (while the slot is received) → drain up to the end position → sequences → finalize
 *
 * Each step is recorded in the catalog when it is done, and its effect was durable before that: a step that is not
 * recorded is done again, and every one of them finds out by itself what of it is there already.
 *
 * What only some runs need (the stream, the port, --restart) is loaded when it is needed: loading is the longest part
 * of a start.
 */
import { rm } from 'node:fs/promises';
import { closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import { loadCutoverHold } from '../catalog/cutover.js';
import { loadFilter, saveFilter } from '../catalog/filter-record.js';
import { takeLocks } from '../catalog/lock.js';
import { requireSentinel, setApply } from '../catalog/sentinel.js';
import {
  endPhase,
  loadSetup,
  phaseDone,
  phaseStarted,
  reopenEnd,
  saveSetup,
  startPhase,
} from '../catalog/setup.js';
import { loadStream, type StreamRecord } from '../catalog/stream.js';
import { decideRun, directoryState, type RunRequest } from '../catalog/work-directory.js';
import { cloneDatabase, finalizeTarget, setSequences } from '../clone/clone.js';
import type { CloneJobs, CloneProgress, CopyChoices, RestoreChoices, TargetWork } from '../clone/options.js';
import { SpareTarget } from '../clone/spare-target.js';
import { loadCloneSummary, type CloneSummary } from '../clone/summary.js';
import { failpoint } from '../failpoint.js';
import type { FilterFile } from '../filter/parse.js';
import type { ControlChoices, ControlPlan } from '../control/server.js';
import type { Log } from '../log.js';
import type { StreamKey } from '../model/stream-key.js';
import { locateClientTools } from '../postgres/client-tools.js';
import { connect, type Session } from '../postgres/connect.js';
import { describeConninfo, type Conninfo } from '../postgres/connection-string.js';
import { expectTwoDatabases } from '../postgres/same-database.js';
import type { IndexFacts } from '../postgres/schema.js';
import { exportSnapshot } from '../postgres/snapshot.js';
import { fetchSystemIdentifier } from '../postgres/system-identifier.js';
import { ensureTargetSchema } from '../postgres/target-schema.js';
import { fetchDoneTasks } from '../postgres/task-table.js';
import { chooseFilters, expectSameFilters, isRemembered, rememberScope } from './filter-scope.js';
import { RunReporter, type ReportChoices } from './run-reporter.js';
import { announceCopied, announceEnd, announceSteps, type NextCommands } from './announce.js';
import { recordSetup, restoreChoices, wantedSetup, withRun } from './clone-settings.js';
import { expectOfSlot, heldElsewhere, openCopySnapshot, type CopySnapshot } from './copy-snapshot.js';
import {
  endUnlessTakenBack,
  sayTakenBack,
  takenBack,
  untilOpened,
  warnWhenMovedLate,
  watchForTakingBack,
} from './cutover-back.js';
import { takeEndposOption } from './endpos-option.js';
import { chooseHeldSnapshot } from './snapshot-file.js';
import type { FollowProgress, StreamTuning } from './stream-run.js';
import type { StreamChoices, StreamSetup, StreamSetupOptions } from './stream-setup.js';

/** What a preflight is told of the run, as it is right before it makes anything. */
export type PreflightRequest = Pick<
  CloneRunOptions,
  'source' | 'target' | 'filters' | 'dropIfExists' | 'log'
> & {
  /** The stream was set up before, or a setup of it was begun: slot and publications may be there. */
  readonly ownStream: boolean;
};

/** Looks for what would end the run later. Throws it. */
export type Preflight = (request: PreflightRequest) => Promise<void>;

export type CloneRunOptions = RestoreChoices & {
  readonly version: string;
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly directory: string;
  /** Where the transform files lie. */
  readonly journalDirectory: string;
  readonly request: RunRequest;
  /** With --resume and without a stream: go on with another snapshot where the one of the beginning is gone. */
  readonly notConsistent?: boolean | undefined;
  /** The command line that goes on with this run, for messages. */
  readonly resumeLine: string;
  /** Those that come next, for messages. */
  readonly next: NextCommands;
  readonly jobs: CloneJobs;
  /** What is copied and followed; null: all, or what an earlier run in this directory was told. */
  readonly filters: FilterFile | null;
  readonly copy?: CopyChoices | undefined;
  readonly dropIfExists: boolean;
  readonly skipVacuum: boolean;
  readonly failFast: boolean;
  /** A snapshot that somebody else holds; null: the one of `snapshot` in this directory, or our own. */
  readonly snapshot: string | null;
  /** The stream's name, which also names the rows on the target of a clone without a stream. */
  readonly origin: string;
  /** Null: clone only. */
  readonly follow: {
    readonly choices: StreamChoices;
    readonly tuning: StreamTuning;
  } | null;
  /** Where the sentinel commands may ask, and whoever looks on; null: nowhere. */
  readonly control: ControlChoices | null;
  /** What whoever looks on is told besides; null: only how far the run is. */
  readonly report: ReportChoices | null;
  /** Asked before anything is made on either side; without it only connections and client programs are looked at. */
  readonly preflight?: Preflight | undefined;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onClone?: ((progress: CloneProgress) => void) | undefined;
  readonly onFollow?: ((progress: FollowProgress) => void) | undefined;
};

/** What a run did; null when there was nothing left to do. */
export type CloneRunResult = {
  readonly summary: CloneSummary;
  /** The source's indexes, where the copy was made by this run. */
  readonly indexes: readonly IndexFacts[] | null;
};

/** Runs to the end: with --follow, until the end position is reached and the target is complete. */
export async function runClone(given: CloneRunOptions): Promise<CloneRunResult | null> {
  const { directory, log, follow, control } = given;
  const plan = control === null ? null : await (await import('../control/server.js')).planControl(control);
  const locks = takeLocks(directory, follow === null ? ['clone'] : ['clone', 'receive', 'apply']);
  try {
    const options = given.request.restart ? await restart(given) : given;
    const catalog = openCatalog(directory);
    try {
      if (loadStream(catalog) !== null && loadFilter(catalog) !== null) {
        expectSameFilters(catalog, options.filters);
      }
      const filters = chooseFilters(catalog, options.filters);
      const setup = wantedSetup({ ...options, filters });
      const state = directoryState(catalog, setup);
      const decision = decideRun(state, options.request, directory, options.resumeLine);
      if (decision === 'nothing-to-do') {
        log.info(`the run in ${directory} is complete: nothing to do`);
        warnWhenMovedLate(catalog, log);
        return null;
      }
      const begun = state.kind === 'unused' ? null : loadSetup(catalog);
      recordSetup(catalog, begun ?? withRun(setup), options.jobs);
      if (filters !== null && !isRemembered(catalog, filters)) {
        saveFilter(catalog, { file: filters.file, rules: filters.rules, scope: null });
      }
      // Without a stream there is nothing to be set: whoever listens only shows.
      const early = follow === null || plan?.fromStart === true ? plan : null;
      await using _control = await openControl(early, options);
      const reporter = new RunReporter({ ...options, role: 'clone' });
      const run = new CloneRun({ ...options, filters }, catalog, reporter, decision === 'go-on');
      const late = early === null ? plan : null;
      return await reporter.during(async () => {
        const summary = follow === null ? await run.clone() : await run.cloneAndFollow(follow, late);
        return { summary, indexes: run.indexes };
      });
    } finally {
      closeCatalog(catalog);
    }
  } finally {
    locks.release();
  }
}

/** Drops the earlier run. Gives the options of the new one, which drops tables only where they are the earlier one's. */
async function restart(options: CloneRunOptions): Promise<CloneRunOptions> {
  const { dropEarlierRun } = await import('./restart.js');
  const into = (ownTarget: boolean) => ({ ...options, dropIfExists: options.dropIfExists || ownTarget });
  const { ownTarget } = await dropEarlierRun({
    ...options,
    choices: options.follow?.choices ?? null,
    expectUsable: (own) => expectUsable(into(own.ownTarget), own.ownStream),
  });
  return into(ownTarget);
}

/** The port of a run that has one; the block's end closes it. */
async function openControl(
  plan: ControlPlan | null,
  { directory, journalDirectory, source, log }: CloneRunOptions,
): Promise<AsyncDisposable | null> {
  if (plan === null) return null;
  const control = await import('./control.js');
  return await control.openControl({ plan, directory, journalDirectory, source, log });
}

/** What cannot work is refused while the directory and both servers are as they were. */
async function expectUsable(options: CloneRunOptions, ownStream: boolean): Promise<void> {
  const { source, target, filters, dropIfExists, preflight, log, signal } = options;
  if (preflight !== undefined) {
    return await preflight({ source, target, filters, dropIfExists, log, ownStream });
  }
  const open = { applicationName: 'walferry setup', log, signal } as const;
  await using from = await connect(source, { side: 'source', ...open });
  await locateClientTools({ serverVersion: from.serverVersion });
  await using to = await connect(target, { side: 'target', ...open });
  await expectTwoDatabases(from, to);
}

/** What a copy needs besides the stream's key and a snapshot. */
type CopyWanted = {
  readonly publications: readonly string[];
  /** Of the snapshot, where it is later than the stream's. */
  readonly generation?: number | undefined;
  readonly anew: boolean;
  readonly signal: AbortSignal;
  /** Whether the copy is to brake, as the slot needs it. */
  readonly braked?: () => boolean;
};

/** The steps of one run over one open catalog. */
class CloneRun {
  readonly #options: CloneRunOptions;
  readonly #catalog: Catalog;
  readonly #reporter: RunReporter;
  readonly #resume: boolean;
  /** For what follows the last change; opened ahead while a cutover is waited for. */
  readonly #spare = new SpareTarget();
  #indexes: readonly IndexFacts[] | null = null;

  constructor(options: CloneRunOptions, catalog: Catalog, reporter: RunReporter, resume: boolean) {
    this.#options = options;
    this.#catalog = catalog;
    this.#reporter = reporter;
    this.#resume = resume;
  }

  /** The source's indexes; null before the copy has looked, and where it is not this run that makes it. */
  get indexes(): readonly IndexFacts[] | null {
    return this.#indexes;
  }

  /** Without a stream: one snapshot must hold for all tables, and the target is complete with the copy. */
  async clone(): Promise<CloneSummary> {
    const { source, origin, log, signal } = this.#options;
    await this.#expectUsable();
    await using holder = await connect(source, {
      side: 'source',
      applicationName: 'walferry snapshot',
      log,
      signal,
    });
    const key: StreamKey = {
      stream: origin,
      systemIdentifier: await fetchSystemIdentifier(holder),
      database: source.database,
    };
    const anew = this.#resume && this.#heldSnapshot() === null && !(await this.#holdsRows(key));
    const snapshot = await this.#cloneSnapshot(holder, anew);
    const summary = await this.#copy(key, snapshot, { publications: [], anew, signal }).catch(
      async (error: unknown) => {
        // Asked of a target that may be what failed: what is not known is said to be there.
        const lost =
          this.#heldSnapshot() === null &&
          phaseStarted(this.#catalog, 'copy') &&
          (await this.#holdsRows(key).catch(() => true));
        if (lost) this.#sayOnlyRestart();
        throw error;
      },
    );
    endPhase(this.#catalog, 'finalize');
    return summary;
  }

  async cloneAndFollow(
    follow: NonNullable<CloneRunOptions['follow']>,
    plan: ControlPlan | null,
  ): Promise<CloneSummary> {
    const catalog = this.#catalog;
    await using _spare = this.#spare;
    let { choices } = follow;
    if (phaseDone(catalog, 'drain')) {
      if (loadCutoverHold(catalog) === null) takeEndposOption(catalog, choices.endpos, this.#options.log);
      // It may have been moved since the run that reached it was killed.
      if (takenBack(catalog)) this.#reopenEnd();
    }
    for (;;) {
      if (!phaseDone(catalog, 'drain')) await this.#followToEnd({ ...follow, choices }, plan);
      const summary = await this.#completeTarget();
      if (summary !== null) return summary;
      this.#reopenEnd();
      // It counted for the beginning: what was set since is not to be taken back by it.
      choices = { ...choices, endpos: null };
    }
  }

  /** Whoever has taken back a cutover has seen to that; but for an end position that was set by hand nobody has. */
  #reopenEnd(): void {
    this.#options.log.info(sayTakenBack(this.#catalog));
    reopenEnd(this.#catalog);
  }

  /** The copy where it is not done, and the stream up to the end position. */
  async #followToEnd(
    follow: NonNullable<CloneRunOptions['follow']>,
    plan: ControlPlan | null,
  ): Promise<void> {
    const { source, target, journalDirectory, filters, log, signal } = this.#options;
    const catalog = this.#catalog;
    const { undoSetup } = await import('./stream-setup.js');
    if (!phaseDone(catalog, 'copy')) {
      expectOfSlot(this.#options.snapshot, loadStream(catalog)?.snapshot ?? null);
    }
    await this.#expectUsable();
    const wanted = { source, target, catalog, choices: follow.choices, filters, log, signal };
    const setup = await this.#setUp(wanted);
    try {
      await this.#expectScope();
      await using _control = await openControl(plan, this.#options);
      await this.#copyAndStream(setup, follow.tuning);
    } catch (error) {
      if (setup.created !== null && !phaseDone(catalog, 'copy')) {
        if (!phaseStarted(catalog, 'copy')) {
          await undoSetup(wanted, setup);
          await rm(journalDirectory, { recursive: true, force: true });
        }
      }
      throw error;
    } finally {
      await setup.created?.close();
    }
    failpoint('follow.drained');
    endUnlessTakenBack(catalog, 'drain');
  }

  /**
   * Sequences, and all that waits for the last row. Null when a cutover that had reached this far was taken back, or the
   * end position moved: what is on the target by then stays, and is kept from firing while the stream goes on.
   */
  async #completeTarget(): Promise<CloneSummary | null> {
    const { source, jobs, log, signal } = this.#options;
    const catalog = this.#catalog;
    const { requireStream } = await import('./stream-run.js');
    const { key, ownPublications } = requireStream(catalog);
    using watched = watchForTakingBack(catalog);
    try {
      const until = AbortSignal.any([signal, watched.signal]);
      const work = { ...this.#targetWork(key, ownPublications, until), spare: this.#spare };
      // A cutover that is at work sets them itself, and says so before it opens the target.
      if (!phaseDone(catalog, 'sequences') && loadCutoverHold(catalog)?.state !== 'finalizing') {
        this.#reporter.enter({ kind: 'sequences' });
        log.info('setting the sequences');
        await setSequences({ ...work, source });
        failpoint('follow.sequences-set');
        endUnlessTakenBack(catalog, 'sequences');
      }
      this.#reporter.enter({ kind: 'finalize' });
      log.info('adding foreign keys, triggers, rules and what else waits for the last row');
      const onWritable = async () => {
        if (endUnlessTakenBack(catalog, 'writable')) await untilOpened(catalog, log, work.signal);
      };
      const { problems } = await finalizeTarget({ ...work, onWritable });
      // Those that are not of the plan, since somebody has added them on the target.
      const { validateGuarded } = await import('../apply/guard-restore.js');
      await validateGuarded(work);
      if (!endUnlessTakenBack(catalog, 'finalize')) return null;
      warnWhenMovedLate(catalog, log);
      announceEnd(log, this.#options.next);
      return loadCloneSummary(catalog, jobs, problems);
    } catch (error) {
      if ((watched.signal.aborted || takenBack(catalog)) && !signal.aborted) return null;
      throw error;
    }
  }

  async #expectUsable(): Promise<void> {
    if (phaseStarted(this.#catalog, 'copy')) return;
    const ownStream = phaseStarted(this.#catalog, 'slot') || loadStream(this.#catalog) !== null;
    await expectUsable(this.#options, ownStream);
  }

  /** Whether the target holds rows of this run, or of another one. */
  async #holdsRows(key: StreamKey): Promise<boolean> {
    await using session = await connect(this.#options.target, {
      side: 'target',
      applicationName: 'walferry setup',
      log: this.#options.log,
      retryForMs: 0,
    });
    await ensureTargetSchema(session);
    const done = await fetchDoneTasks(session, key);
    return [...done.keys()].some((name) => /^(?:copy|large object|extension) /.test(name));
  }

  /** The snapshot of a copy that did not end is ours, and goes with this process: whoever resumes would be refused. */
  #sayOnlyRestart(): void {
    this.#options.log.warn(
      'the copy is not complete, and its snapshot ends with this process: start it again with --restart, or ' +
        'with --resume --not-consistent have the tables that are left copied as they are then',
    );
  }

  /** A stream that was set up without the filters carries everything: what is left out must be known to be dropped. */
  async #expectScope(): Promise<void> {
    const { source, filters, log, signal } = this.#options;
    if (filters === null || loadFilter(this.#catalog)?.scope !== null) return;
    await using session = await connect(source, {
      side: 'source',
      applicationName: 'walferry setup',
      log,
      signal,
    });
    await rememberScope(session, this.#catalog, filters, log);
  }

  /** Receives from the start, so that the slot holds back little WAL; applies once the copy is there. */
  async #copyAndStream({ stream, created }: StreamSetup, tuning: StreamTuning): Promise<void> {
    const { source, target, directory, journalDirectory, log, signal, onFollow } = this.#options;
    const catalog = this.#catalog;
    const { openStreamRun } = await import('./stream-run.js');
    const { receiveAndApply } = await import('./receive-and-apply.js');
    const run = await openStreamRun({
      source,
      target,
      directory,
      journalDirectory,
      stream,
      tuning,
      log,
      signal,
      onProgress: onFollow,
      ofClone: true,
      appliesAtOnce: phaseDone(catalog, 'copy'),
      spare: this.#spare,
      onApplying: () => this.#reporter.enter({ kind: 'apply' }),
    });
    this.#reporter.follow(run.report);
    this.#reporter.copyBraked(run.slotInDanger);
    try {
      await receiveAndApply(run, signal, async (stop) => {
        if (!phaseDone(catalog, 'copy')) {
          await using held =
            created === null ? await this.#copySnapshot(stream) : heldElsewhere(created.snapshot);
          const { key, ownPublications: publications } = stream;
          await this.#copy(key, held.snapshot, {
            publications,
            generation: held.generation,
            anew: false,
            signal: stop,
            braked: run.slotInDanger,
          });
          await created?.close();
        }
        setApply(catalog, true);
        run.watch.refresh();
      });
    } finally {
      this.#reporter.follow(null);
      this.#reporter.copyBraked(() => false);
      await run.close();
    }
  }

  /** The copy, recorded as begun right before anything of it is on the target, and as done when all of it is. */
  async #copy(
    key: StreamKey,
    snapshot: string,
    { publications, generation, anew, signal, braked = () => false }: CopyWanted,
  ): Promise<CloneSummary> {
    const { source, target, filters, jobs, dropIfExists, follow, next, log } = this.#options;
    const began = performance.now();
    log.info(`[SOURCE] Copying database from ${describeConninfo(source)}`);
    log.info(`[TARGET] Copying database into ${describeConninfo(target)}`);
    const run = loadSetup(this.#catalog)?.settings['run'];
    const summary = await cloneDatabase({
      ...this.#targetWork(key, publications, signal),
      source,
      snapshot,
      follow: follow !== null,
      filters,
      // Also of a clone between `stream setup` and `prefetch`, which knows of no stream otherwise.
      published: loadStream(this.#catalog)?.parts,
      ...this.#options.copy,
      dropIfExists,
      resume: this.#resume,
      generation,
      notConsistent: anew || this.#options.notConsistent === true,
      run: typeof run === 'string' ? run : undefined,
      onBegin: () => startPhase(this.#catalog, 'copy'),
      onSchema: ({ indexes }) => (this.#indexes = indexes),
      braked,
      onProgress: announceSteps(log, jobs, this.#copying(braked)),
    });
    endPhase(this.#catalog, 'copy');
    if (follow !== null) announceCopied(log, summary, (performance.now() - began) / 1000, next);
    return summary;
  }

  /** Tells how far the copy is, and once that it is braked. */
  #copying(braked: () => boolean): (progress: CloneProgress) => void {
    const { onClone, log } = this.#options;
    let wasBraked = false;
    return this.#reporter.copying((progress) => {
      if (braked() !== wasBraked) {
        wasBraked = !wasBraked;
        log.warn(
          wasBraked
            ? 'the copy brakes: one table at a time, until the replication slot has room again'
            : 'the copy goes on with all its jobs',
        );
      }
      onClone?.(progress);
    });
  }

  #targetWork(
    key: StreamKey,
    publications: readonly string[],
    signal: AbortSignal,
  ): TargetWork & { readonly signal: AbortSignal } {
    const { target, directory, jobs, failFast, skipVacuum, log } = this.#options;
    return {
      ...restoreChoices(this.#options),
      target,
      key,
      catalog: this.#catalog,
      directory,
      jobs,
      failFast,
      skipVacuum,
      leaveOut: { publications },
      log,
      signal,
    };
  }

  /**
   * The stream. One whose snapshot is gone before anything was copied is made anew: as if it had not been set up.
   */
  async #setUp(wanted: StreamSetupOptions): Promise<StreamSetup> {
    const { cleanupStream, expectSameStream, setupStream } = await import('./stream-setup.js');
    const recorded = phaseStarted(this.#catalog, 'copy') ? null : loadStream(this.#catalog);
    if (recorded !== null && this.#heldSnapshot() !== recorded.snapshot) {
      const { log, journalDirectory } = this.#options;
      // Before anything is taken away.
      await expectSameStream(wanted, recorded);
      log.info('nothing was copied yet, and the snapshot of the slot is gone: the stream is set up anew');
      await rm(journalDirectory, { recursive: true, force: true });
      await cleanupStream({ ...wanted, keepEndpos: true });
    }
    return await setupStream(wanted);
  }

  /** What a copy that was begun goes on with. */
  async #copySnapshot({ key, publications, snapshot }: StreamRecord): Promise<CopySnapshot> {
    const { source, target, directory, log, signal } = this.#options;
    return await openCopySnapshot({
      source,
      target,
      directory,
      key,
      publications,
      named: this.#options.snapshot,
      held: this.#heldSnapshot(),
      ofSlot: snapshot,
      endpos: requireSentinel(this.#catalog).endpos,
      log,
      signal,
    });
  }

  /** A snapshot that another process holds for this run. */
  #heldSnapshot(): string | null {
    const { directory, snapshot, notConsistent } = this.#options;
    return chooseHeldSnapshot(directory, snapshot, notConsistent === true);
  }

  /**
   * A clone without a stream that is resumed cannot go on with a new snapshot: its tables would be of two times. So
   * the one it began with is recorded, and tried again; it is there when another process holds it. Only where no rows
   * were copied (`anew`) another one does as well.
   */
  async #cloneSnapshot(holder: Session, anew: boolean): Promise<string> {
    const { directory, log } = this.#options;
    const held = this.#heldSnapshot();
    if (held !== null) return held;
    const recorded = loadSetup(this.#catalog)?.settings['snapshot'];
    const consistent = this.#options.notConsistent !== true && !anew;
    if (this.#resume && typeof recorded === 'string' && consistent) return recorded;
    if (anew) log.info('no rows were copied yet: all of them are copied from a new snapshot');
    else if (this.#resume && !consistent) {
      log.warn('--not-consistent: tables that are left are copied as they are now, later than the others');
    } else if (this.#resume) log.info(`the earlier run in ${directory} had no snapshot yet`);
    const snapshot = await exportSnapshot(holder);
    const setup = loadSetup(this.#catalog) ?? wantedSetup(this.#options);
    saveSetup(this.#catalog, { ...setup, settings: { ...setup.settings, snapshot } });
    log.info(`Exported snapshot "${snapshot}" from the source database`);
    return snapshot;
  }
}
