/**
 * The settings of a library call: the options of the command of the same name, as data. They are read by the parser
 * that reads the command line (cli/settings.ts), so that both refuse the same things in the same words, all at once.
 *
 *   clone --table-jobs 8 --follow    =    { tableJobs: 8, follow: true }
 *
 * A setting that is left out has the option's variable (WALFERRY_…, PGCOPYDB_…) or its default.
 */
import type { VerifyMode } from '../cutover/choices.js';
import type { Lsn } from '../model/lsn.js';
import type { PluginName } from '../model/plugin.js';

/** The two servers and the place where a run is kept. */
export type SidesSettings = {
  /** The server to copy from: a URI or a keyword/value string. */
  readonly source?: string;
  /** The server to copy to. */
  readonly target?: string;
  /** The work directory; the command line's own unless told. One directory holds one run. */
  readonly dir?: string;
};

/** How a stream is followed. */
export type StreamSettings = {
  readonly plugin?: PluginName;
  readonly wal2jsonNumericAsString?: boolean;
  readonly slotName?: string;
  /** The stream's name: it names the position row on the target. */
  readonly origin?: string;
  /** A publication made by somebody else. */
  readonly publication?: string;
  /** The end position, as `X/Y` or as a number; it can also be set while the stream runs. */
  readonly endpos?: Lsn | string;
  /** What has to have happened to a change before the source may forget it; `durable` unless told. */
  readonly ack?: 'durable' | 'applied';
  /** Bytes (or a text such as `10 GB`) of transform files at which the slot is not read on; 0: no limit. */
  readonly maxJournalSize?: number | string;
  /** Seconds without a commit after which the source gets a message of ours, so that the lag is known; 0: never. */
  readonly heartbeat?: number;
  /** Where the run listens for the sentinel commands. */
  readonly host?: string;
  readonly port?: number;
  /** Listen from the beginning of the run, with the monitor page: true, or `host:port`. */
  readonly monitor?: boolean | string;
};

/** What is copied, and going on with an earlier run. */
type RunSettings = {
  /** A filter file. */
  readonly filters?: string;
  /** Go on with what the work directory has begun. */
  readonly resume?: boolean;
  /** Drop what an earlier run left, and begin anew. */
  readonly restart?: boolean;
  /** A snapshot that somebody else holds. */
  readonly snapshot?: string;
};

export type CloneSettings = SidesSettings &
  RunSettings &
  StreamSettings & {
    /** Also apply the changes, from the same snapshot on, until the end position. */
    readonly follow?: boolean;
    readonly tableJobs?: number;
    readonly indexJobs?: number;
    readonly restoreJobs?: number;
    readonly largeObjectsJobs?: number;
    /** Bytes, or a text such as `10 GB`. */
    readonly splitTablesLargerThan?: number | string;
    readonly splitMaxParts?: number;
    readonly skipSplitByCtid?: boolean;
    readonly estimateTableSizes?: boolean;
    readonly useCopyBinary?: boolean;
    readonly dropIfExists?: boolean;
    readonly noOwner?: boolean;
    readonly noAcl?: boolean;
    readonly noComments?: boolean;
    readonly noTablespaces?: boolean;
    readonly skipLargeObjects?: boolean;
    readonly roles?: boolean;
    readonly noRolePasswords?: boolean;
    /** A JSON file with versions of extensions. */
    readonly requirements?: string;
    readonly skipExtensions?: boolean;
    readonly skipExtComments?: boolean;
    readonly skipCollations?: boolean;
    readonly skipDbProperties?: boolean;
    readonly skipVacuum?: boolean;
    readonly failFast?: boolean;
    /** Begin without asking first for what would end the run later. */
    readonly skipCheck?: boolean;
    /** With `resume`: go on with another snapshot where the one of the beginning is gone. */
    readonly notConsistent?: boolean;
  };

/** Whose sentinel is meant: that of a work directory, or of the run that listens on `host` and `port`. */
export type SentinelSettings = Pick<SidesSettings, 'dir'> & Pick<StreamSettings, 'host' | 'port'>;

export type FollowSettings = SidesSettings & RunSettings & StreamSettings;

export type CompareSettings = SidesSettings & {
  /** Tables compared at the same time, hence sessions on each side. */
  readonly tableJobs?: number;
  /** Where tables differ, name the rows that differ by their keys. */
  readonly rows?: boolean;
  /** Of the schema: leave out comments, and where sequences stand; compare owners, and privileges. */
  readonly noComments?: boolean;
  readonly noSequenceValues?: boolean;
  readonly owners?: boolean;
  readonly privileges?: boolean;
};

export type CutoverSettings = SidesSettings & {
  readonly tableJobs?: number;
  /** How writes on the source are stopped; `read-only` unless told. */
  readonly freeze?: 'read-only' | 'revoke' | 'none';
  readonly verify?: VerifyMode;
  /** Seconds that the source may be frozen; then everything is undone. */
  readonly maxPause?: number;
  /** How far the target may be behind at the start: bytes of WAL, or a text such as `16 MB`. */
  readonly maxLag?: number | string;
  readonly sequenceHeadroom?: number;
  /** Open a target that lacks what the source has, and that no clone completes. */
  readonly acceptMissing?: boolean;
  readonly copyAgain?: boolean;
  /** Shell commands at the seams. */
  readonly beforeFreeze?: string;
  readonly after?: string;
  readonly onUndo?: string;
  /** Seconds that each of them may take. */
  readonly hookTimeout?: number;
  /** Go on with a cutover that was interrupted, or undo it. */
  readonly resume?: boolean;
  readonly abort?: boolean;
};

/** A value as the command line would have it; null for a flag that is simply set. */
export type SettingValue = string | number | bigint | boolean;

/** `tableJobs` → `table-jobs`. */
export function optionName(setting: string): string {
  return setting.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
