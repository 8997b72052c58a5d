/**
 * What a clone is told, and what it tells back. Its three parts can run in one process or days apart:
 * `cloneDatabase`, `setSequences`, `finalizeTarget`.
 */
import type { Catalog } from '../catalog/database.js';
import type { FilterFile } from '../filter/parse.js';
import type { Log } from '../log.js';
import type { PublishedPart } from '../model/published-part.js';
import type { CopyStep } from '../model/run-phase.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { SourceSchema } from '../postgres/schema.js';
import type { SplitOptions } from '../postgres/table-splits.js';
import type { ExtensionRequirement } from './extensions.js';
import type { SpareTarget } from './spare-target.js';

/** How objects are restored: pgcopydb's options of the same names. */
export type RestoreChoices = {
  readonly noOwner: boolean;
  readonly noAcl: boolean;
  readonly noComments: boolean;
  readonly noTablespaces: boolean;
} & ObjectChoices;

/** What is copied besides tables: all of it unless told, but for roles. */
export type ObjectChoices = {
  readonly skipLargeObjects?: boolean | undefined;
  readonly skipExtensions?: boolean | undefined;
  readonly skipExtensionComments?: boolean | undefined;
  readonly skipCollations?: boolean | undefined;
  readonly skipDatabaseProperties?: boolean | undefined;
  /** At most so many of the table workers copy large objects at a time. */
  readonly largeObjectJobs?: number | undefined;
  /** The server's roles, with their passwords or without. */
  readonly roles?: { readonly passwords: boolean } | null | undefined;
  /** Versions of extensions. */
  readonly requirements?: readonly ExtensionRequirement[] | null | undefined;
};

/** How rows are copied; as it is best unless told. */
export type CopyChoices = {
  /** Large tables in parts; null: every table whole. */
  readonly split?: SplitOptions | null | undefined;
  /** Sizes from the source's statistics in place of its files. */
  readonly estimateTableSizes?: boolean | undefined;
  /** Binary format also for types of which only the user knows that they are the same on both sides. */
  readonly useCopyBinary?: boolean | undefined;
};

/** Begins the name of the task, in the target's task table, that tells whose the others are. */
export const runTask = 'run ';

export type CloneJobs = {
  readonly table: number;
  readonly index: number;
  readonly restore: number;
  /** pg_restore programs for what comes before the rows; `restore` unless told. */
  readonly preData?: number | undefined;
};

/** What all parts need. */
export type TargetWork = RestoreChoices & {
  readonly target: Conninfo;
  readonly key: StreamKey;
  readonly catalog: Catalog;
  /** The work directory; files of ours are in `schema/` below it. */
  readonly directory: string;
  readonly jobs: CloneJobs;
  /** Stop at the first failure; otherwise everything else is finished first. */
  readonly failFast: boolean;
  /** Neither VACUUM nor ANALYZE. */
  readonly skipVacuum: boolean;
  /** Objects of the source that are the run's own. */
  readonly leaveOut: { readonly publications: readonly string[] };
  /** A session that steps share; without, each opens its own. */
  readonly spare?: SpareTarget | undefined;
  /**
   * Told by `finalizeTarget` once an application may write, and waited for: what is left then keeps nobody from
   * writing, but reads the tables.
   */
  readonly onWritable?: (() => Promise<void>) | undefined;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
};

export type CloneOptions = TargetWork &
  CopyChoices & {
    readonly source: Conninfo;
    /** The snapshot to import, held by somebody else until `cloneDatabase` returns. */
    readonly snapshot: string;
    /** Changes will be applied afterwards: finalize and sequences are left for later, identities stay writable. */
    readonly follow: boolean;
    /** What of the source is copied; all of it without. */
    readonly filters?: FilterFile | null | undefined;
    /** Of which tables the publication that is followed carries a part: no more of them is copied. */
    readonly published?: readonly PublishedPart[] | undefined;
    /** Drop the source's tables on the target first. */
    readonly dropIfExists: boolean;
    /** Go on with what this work directory has begun. */
    readonly resume: boolean;
    /**
     * With `resume` and `follow`: the generation of `snapshot` (generation.ts), which is later than the one that the copy
     * began with. The tables that are left are copied from it.
     */
    readonly generation?: number | undefined;
    /** With `resume`: tables that are left are copied from this snapshot, even when others were from another one. */
    readonly notConsistent?: boolean | undefined;
    /** Identifies the run: a target that another run has filled since is not taken for this one's. */
    readonly run?: string | undefined;
    /** Called before anything is made on the target; until then a run that fails has left nothing there. */
    readonly onBegin?: (() => void) | undefined;
    /** Told what is copied, once it is known. */
    readonly onSchema?: ((schema: SourceSchema) => void) | undefined;
    /** True while something more urgent needs the servers: then one piece is copied at a time (brake.ts). */
    readonly braked?: (() => boolean) | undefined;
    readonly onProgress?: ((progress: CloneProgress) => void) | undefined;
  };

/** Where a clone stands. */
export type CloneProgress = {
  readonly step: CopyStep;
  readonly tables: { readonly total: number; readonly done: number };
  readonly indexes: { readonly total: number; readonly done: number };
  /** `total` is the tables' size on the source's disk, `done` what was copied as text: alike, not equal. */
  readonly bytes: { readonly total: number; readonly done: number };
  /** Bytes copied per second since the copy began. */
  readonly bytesPerSecond: number;
};

/** Something that the role may not do on the target, or that the target lacks; the rest was done. */
export type Problem = {
  readonly object: string;
  readonly message: string;
  /** What to run as somebody who may; null where there is no such statement. */
  readonly sql: string | null;
};
