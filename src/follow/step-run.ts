/**
 * One step of a clone as a command of its own: `dump schema`, `restore …`, `copy …`. They share a work directory with
 * each other and with `clone`, under its lock.
 *
 * What a step may trust of what it finds (DESIGN 3.10): the target's task table, once the step has begun in this very
 * directory. So the beginning of a step that makes or fills tables is recorded before anything is done; one that was
 * begun and not ended asks for --resume, one that has ended does what is left, which is nothing. The other steps look
 * at the target alone, and may be run at any time.
 */
import { closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import { deleteFilter, loadFilter, saveFilter } from '../catalog/filter-record.js';
import { takeLocks } from '../catalog/lock.js';
import {
  endPhase,
  loadSetup,
  phaseDone,
  phaseStarted,
  reopenPhases,
  saveSetup,
  setupDifferences,
  startPhase,
  stepPhases,
  type Setup,
  type StepPhase,
} from '../catalog/setup.js';
import { loadStream } from '../catalog/stream.js';
import { clearWorkDirectory, type RunRequest } from '../catalog/work-directory.js';
import { setSequences } from '../clone/clone.js';
import type {
  CloneJobs,
  CloneOptions,
  CloneProgress,
  CopyChoices,
  Problem,
  RestoreChoices,
  TargetWork,
} from '../clone/options.js';
import { loadProblems } from '../clone/problems.js';
import {
  buildIndexes,
  copyExtensionsOnly,
  copyLargeObjectsOnly,
  copyRowsOnly,
  dumpSource,
  holdsSchema,
  restorePostDataOnly,
  restorePreDataOnly,
} from '../clone/steps.js';
import { Failure } from '../failure.js';
import type { FilterFile } from '../filter/parse.js';
import { filterText, keptSequencesOf, type Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import type { StreamKey } from '../model/stream-key.js';
import { connect } from '../postgres/connect.js';
import { describeConninfo, type Conninfo } from '../postgres/connection-string.js';
import { expectTwoDatabases, oneDatabase } from '../postgres/same-database.js';
import { exportSnapshot } from '../postgres/snapshot.js';
import { fetchSystemIdentifier } from '../postgres/system-identifier.js';
import { restoreChoices } from './clone-settings.js';
import { chooseFilters, isRemembered, resolveNow } from './filter-scope.js';
import { fetchOtherTarget, sayWhatStays } from './other-target.js';
import { RunReporter, type ReportChoices } from './run-reporter.js';
import { chooseHeldSnapshot, loadHeldSnapshot } from './snapshot-file.js';

export type StepName =
  | 'dump schema'
  | 'restore schema'
  | 'restore pre-data'
  | 'restore post-data'
  | 'copy schema'
  | 'copy data'
  | 'copy table-data'
  | 'copy blobs'
  | 'copy extensions'
  | 'copy sequences'
  | 'copy indexes'
  | 'copy constraints';

export type StepOptions = RestoreChoices & {
  readonly step: StepName;
  readonly version: string;
  /** Null where the step can do without: the work directory knows what it needs. */
  readonly source: Conninfo | null;
  readonly target: Conninfo | null;
  readonly directory: string;
  readonly request: RunRequest & {
    /** Go on with another snapshot where the one of the beginning is gone: the tables are then of different times. */
    readonly notConsistent: boolean;
  };
  readonly resumeLine: string;
  readonly jobs: CloneJobs;
  /** Null: all, or what the work directory was begun with. */
  readonly filters: FilterFile | null;
  readonly copy: CopyChoices;
  readonly dropIfExists: boolean;
  readonly skipVacuum: boolean;
  readonly failFast: boolean;
  readonly snapshot: string | null;
  readonly origin: string;
  /** What whoever looks on is told besides; null: only how far the step is. */
  readonly report: ReportChoices | null;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: CloneProgress) => void) | undefined;
};

/** Runs the step to its end. Gives what the role may not do on the target; throws what must not fail. */
export async function runStep(options: StepOptions): Promise<readonly Problem[]> {
  const { directory } = options;
  const locks = takeLocks(directory, ['clone']);
  try {
    let catalog = openCatalog(directory);
    try {
      let ownTarget = true;
      if (options.request.restart && (await isOthers(catalog, options))) {
        options.log.info(`--restart: forgetting what earlier runs left in ${directory}`);
        const { target } = options;
        const other = target === null ? null : await fetchOtherTarget(catalog, { ...options, target });
        if (other !== null && target !== null) sayWhatStays(options.log, directory, other, target);
        ownTarget = other === null;
        closeCatalog(catalog);
        clearWorkDirectory(directory);
        catalog = openCatalog(directory);
      }
      const known = loadProblems(directory).length;
      const reporter = new RunReporter({ ...options, role: 'clone' });
      const onProgress = reporter.copying(options.onProgress);
      const dropIfExists = options.dropIfExists || (options.request.restart && ownTarget);
      await reporter.during(() => new StepRun({ ...options, dropIfExists, onProgress }, catalog).run());
      return loadProblems(directory).slice(known);
    } finally {
      closeCatalog(catalog);
    }
  } finally {
    locks.release();
  }
}

/** Whether the directory belongs to another source or target. One of a stream is never taken over: it has a slot. */
async function isOthers(catalog: Catalog, options: StepOptions): Promise<boolean> {
  const differences = await differencesOf(catalog, options);
  if (differences.length === 0) return false;
  if (loadStream(catalog) === null) return true;
  throw usedByOthers(options.directory, differences, 'Take the stream down with `walferry stream cleanup`.');
}

/** What a directory that holds something was made for and this step is not. */
async function differencesOf(catalog: Catalog, options: StepOptions): Promise<string[]> {
  const recorded = loadSetup(catalog);
  if (recorded === null) return [];
  const begun = [...stepPhases, 'copy' as const].some((name) => phaseStarted(catalog, name));
  if (!begun && !(await holdsSchema(options.directory))) return [];
  return setupDifferences(recorded, wantedSetup(catalog, options, recorded));
}

function wantedSetup(catalog: Catalog, options: StepOptions, recorded: Setup | null): Setup {
  const describe = (conninfo: Conninfo | null) => (conninfo === null ? null : describeConninfo(conninfo));
  const filters = chooseFilters(catalog, options.filters);
  return {
    version: options.version,
    source: describe(options.source) ?? recorded?.source ?? '',
    target: describe(options.target) ?? recorded?.target ?? null,
    settings: { filters: filters === null ? null : filterText(filters.rules) },
  };
}

function usedByOthers(directory: string, differences: readonly string[], remedy: string): Failure {
  return new Failure(
    'work-directory-used',
    `${directory} belongs to another run: ${differences.join('; ')}`,
    {
      remedy,
    },
  );
}

class StepRun {
  readonly #options: StepOptions;
  readonly #catalog: Catalog;

  constructor(options: StepOptions, catalog: Catalog) {
    this.#options = options;
    this.#catalog = catalog;
  }

  async run(): Promise<void> {
    const { directory, step } = this.#options;
    const differences = await differencesOf(this.#catalog, this.#options);
    if (differences.length > 0) {
      throw usedByOthers(
        directory,
        differences,
        'Use the settings of that run, another --dir, or --restart to forget it.',
      );
    }
    const key = await this.#key();
    this.#recordSetup(key);
    switch (step) {
      case 'dump schema':
        return this.#schema(key, true);
      case 'restore schema':
        await this.#preData(key);
        return this.#postData(key);
      case 'restore pre-data':
        return this.#preData(key);
      case 'restore post-data':
        return this.#postData(key);
      case 'copy schema':
        await this.#preData(key);
        return this.#postData(key);
      case 'copy data':
        await this.#rows(key, true);
        return this.#sequences();
      case 'copy table-data':
        return this.#rows(key, false);
      case 'copy blobs':
        return this.#inPhase('large-objects', key, copyLargeObjectsOnly);
      case 'copy extensions':
        return this.#inPhase('extensions', key, copyExtensionsOnly);
      case 'copy sequences':
        return this.#sequences();
      case 'copy indexes':
        await this.#schema(key, false);
        return buildIndexes(this.#work(key), 'indexes and constraints');
      case 'copy constraints':
        await this.#schema(key, false);
        return buildIndexes(this.#work(key), 'constraints');
    }
  }

  /** Whose rows of progress on the target are ours: known from the source, or from an earlier step. */
  async #key(): Promise<StreamKey> {
    const { source, origin, log, signal } = this.#options;
    const stream = loadStream(this.#catalog);
    if (stream !== null) return stream.key;
    const settings = loadSetup(this.#catalog)?.settings ?? {};
    const [systemIdentifier, database] = [settings['system-identifier'], settings['database']];
    if (typeof systemIdentifier === 'string' && typeof database === 'string') {
      return { stream: String(settings['origin'] ?? origin), systemIdentifier, database };
    }
    if (source === null) {
      throw new Failure('usage', `Option --source is mandatory: ${this.#options.directory} does not know it`);
    }
    await using session = await connect(source, {
      side: 'source',
      applicationName: 'walferry step',
      log,
      signal,
    });
    return {
      stream: String(settings['origin'] ?? origin),
      systemIdentifier: await fetchSystemIdentifier(session),
      database: source.database,
    };
  }

  #recordSetup(key: StreamKey): void {
    const { jobs } = this.#options;
    const recorded = loadSetup(this.#catalog);
    const wanted = wantedSetup(this.#catalog, this.#options, recorded);
    saveSetup(this.#catalog, {
      ...wanted,
      settings: {
        ...recorded?.settings,
        ...wanted.settings,
        origin: key.stream,
        'system-identifier': key.systemIdentifier,
        database: key.database,
        'table-jobs': jobs.table,
        'index-jobs': jobs.index,
        'restore-jobs': jobs.restore,
      },
    });
  }

  /**
   * The schema in the work directory: made anew with --restart, by `dump schema` where it is missing, and by other
   * steps where it is missing and a source is given.
   */
  async #schema(key: StreamKey, asked: boolean): Promise<void> {
    const { directory, request, source, filters, log } = this.#options;
    if (!request.restart && (await holdsSchema(directory))) {
      if (asked) log.info(`${directory} holds a dump of the schema already; --restart makes a new one`);
      return;
    }
    // Without a source the step itself says what is missing.
    if (source === null) return;
    const chosen = chooseFilters(this.#catalog, filters);
    if (chosen === null) deleteFilter(this.#catalog);
    else saveFilter(this.#catalog, { file: chosen.file, rules: chosen.rules, scope: null });
    await this.#inSnapshot(this.#namedSnapshot(), async (snapshot) => {
      await dumpSource({
        ...this.#choices(key),
        target: this.#options.target,
        source,
        snapshot,
        follow: false,
        filters: chosen,
        published: loadStream(this.#catalog)?.parts,
        ...this.#options.copy,
        dropIfExists: false,
        resume: false,
        onProgress: this.#options.onProgress,
      });
    });
  }

  /** Whether the phase was begun before, so that its tasks on the target are its own. Throws `work-directory-used`. */
  #isGoingOn(phase: StepPhase): boolean {
    const { request, directory, resumeLine, step } = this.#options;
    const catalog = this.#catalog;
    if (request.restart) return false;
    // A clone has done, or begun, what the step does.
    if (phaseStarted(catalog, 'copy')) return true;
    if (!phaseStarted(catalog, phase)) return false;
    if (phaseDone(catalog, phase) || request.resume) return true;
    throw new Failure('work-directory-used', `${directory} holds a "${step}" that is not complete`, {
      remedy: `Go on with: ${resumeLine}\nor begin it anew with --restart.`,
    });
  }

  async #preData(key: StreamKey): Promise<void> {
    const { dropIfExists, source } = this.#options;
    const resume = this.#isGoingOn('pre-data');
    await this.#schema(key, false);
    await this.#expectTwoDatabases();
    const onBegin = () => {
      if (!resume) reopenPhases(this.#catalog, stepPhases);
      startPhase(this.#catalog, 'pre-data');
    };
    const choices = { resume, dropIfExists, onBegin };
    await restorePreDataOnly(this.#work(key), source, choices);
    endPhase(this.#catalog, 'pre-data');
  }

  async #postData(key: StreamKey): Promise<void> {
    await restorePostDataOnly(this.#work(key));
  }

  async #rows(key: StreamKey, andTheRest: boolean): Promise<void> {
    await this.#inPhase('rows', key, (options) => copyRowsOnly(options, { andTheRest }));
  }

  async #sequences(): Promise<void> {
    const { log, signal } = this.#options;
    const [source, target] = [this.#source(), this.#target()];
    const keeps = await this.#keptSequences(source);
    const { count } = await setSequences({ source, target, catalog: this.#catalog, keeps, log, signal });
    log.info(`set ${count} sequences`);
  }

  /** By the filter that was given here; undefined where the work directory knows it, or there is none. */
  async #keptSequences(source: Conninfo): Promise<Keeps | undefined> {
    const { filters, log, signal } = this.#options;
    const chosen = chooseFilters(this.#catalog, filters);
    const known = chosen !== null && isRemembered(this.#catalog, chosen);
    if (chosen === null || (known && loadFilter(this.#catalog)?.scope !== null)) return undefined;
    await using session = await connect(source, {
      side: 'source',
      applicationName: 'walferry step',
      log,
      signal,
    });
    return keptSequencesOf((await resolveNow(session, chosen, log)).scope());
  }

  /** A step that copies from a snapshot, and remembers which, to go on with the same. */
  async #inPhase(
    phase: StepPhase,
    key: StreamKey,
    copy: (options: CloneOptions) => Promise<void>,
  ): Promise<void> {
    const { request, dropIfExists, directory, log } = this.#options;
    const source = this.#source();
    const named = this.#namedSnapshot();
    const resume = this.#isGoingOn(phase);
    await this.#expectTwoDatabases();
    await this.#schema(key, false);
    const setting = `${phase} snapshot`;
    // One that has ended copied everything: what is left for it to do is not of that time.
    const unfinished = resume && !phaseDone(this.#catalog, phase);
    const begun = unfinished ? loadSetup(this.#catalog)?.settings[setting] : null;
    if (named !== null && typeof begun === 'string' && begun !== named && !request.notConsistent) {
      throw new Failure(
        'work-directory-used',
        `the step in ${directory} began with the snapshot ${begun}, and --snapshot names ${named}: its tables would be of two times`,
        {
          remedy:
            'Name the first one, or go on with --resume --not-consistent, or begin anew with --restart.',
        },
      );
    }
    if (resume && request.notConsistent) log.warn('--not-consistent: tables are copied from different times');
    const wanted = named ?? (typeof begun === 'string' && !request.notConsistent ? begun : null);
    await this.#inSnapshot(wanted, async (used) => {
      const setup = loadSetup(this.#catalog);
      if (setup !== null) {
        saveSetup(this.#catalog, { ...setup, settings: { ...setup.settings, [setting]: used } });
      }
      if (!resume) reopenPhases(this.#catalog, [phase]);
      startPhase(this.#catalog, phase);
      await copy({
        ...this.#work(key),
        source,
        snapshot: used,
        follow: false,
        published: loadStream(this.#catalog)?.parts,
        ...this.#options.copy,
        dropIfExists,
        resume,
        onProgress: this.#options.onProgress,
      });
      endPhase(this.#catalog, phase);
    });
  }

  /** The one of --snapshot, if it may be used in this directory. */
  #namedSnapshot(): string | null {
    const { directory, snapshot, request } = this.#options;
    if (snapshot !== null) chooseHeldSnapshot(directory, snapshot, request.notConsistent);
    return snapshot;
  }

  /** In the snapshot that was asked for, that `walferry snapshot` holds for this directory, or one of our own. */
  async #inSnapshot(wanted: string | null, work: (snapshot: string) => Promise<void>): Promise<void> {
    const { directory, log, signal } = this.#options;
    const held = wanted ?? loadHeldSnapshot(directory);
    if (held !== null) return work(held);
    await using holder = await connect(this.#source(), {
      side: 'source',
      applicationName: 'walferry snapshot',
      log,
      signal,
    });
    const snapshot = await exportSnapshot(holder);
    log.info(`Exported snapshot "${snapshot}" from the source database`);
    return await work(snapshot);
  }

  /** Where both sides are named: what is dropped or emptied on the target must not be the source's. */
  async #expectTwoDatabases(): Promise<void> {
    const { source, target, log, signal } = this.#options;
    if (target === null) return;
    // Without a source there is only what the directory says of it.
    if (source === null) {
      if (loadSetup(this.#catalog)?.source !== describeConninfo(target)) return;
      throw oneDatabase();
    }
    const options = { applicationName: 'walferry step', log, signal } as const;
    await using from = await connect(source, { side: 'source', ...options });
    await using to = await connect(target, { side: 'target', ...options });
    await expectTwoDatabases(from, to);
  }

  #source(): Conninfo {
    if (this.#options.source === null) throw new Failure('usage', 'Option --source is mandatory');
    return this.#options.source;
  }

  #target(): Conninfo {
    if (this.#options.target === null) throw new Failure('usage', 'Option --target is mandatory');
    return this.#options.target;
  }

  #work(key: StreamKey): TargetWork {
    return { ...this.#choices(key), target: this.#target() };
  }

  #choices(key: StreamKey): Omit<TargetWork, 'target'> {
    const { directory, jobs, failFast, skipVacuum, log, signal } = this.#options;
    return {
      ...restoreChoices(this.#options),
      key,
      catalog: this.#catalog,
      directory,
      jobs,
      failFast,
      skipVacuum,
      leaveOut: { publications: loadStream(this.#catalog)?.ownPublications ?? [] },
      log,
      signal,
    };
  }
}
