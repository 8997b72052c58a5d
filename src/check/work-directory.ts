/** The work directory: whether a run may begin there, and what room there is for the changes that arrive. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { catalogExists, closeCatalog, openCatalog } from '../catalog/database.js';
import { isLocked } from '../catalog/lock.js';
import { loadSetup, phaseDone, phaseStarted, setupDifferences, type Setup } from '../catalog/setup.js';
import { loadStream } from '../catalog/stream.js';
import { expectSameRun } from '../catalog/work-directory.js';
import { Failure } from '../failure.js';
import { prettySize } from '../model/size.js';
import type { StreamKey } from '../model/stream-key.js';
import { asked, pass, sayDuration, warn, type Finding } from './finding.js';
import type { RunWish } from './options.js';

/** What is to be done with a run that is there. */
export type DirectoryWish = {
  readonly directory: string;
  /** Where the transform files lie. */
  readonly journalDirectory: string;
  readonly resume: boolean;
  readonly restart: boolean;
  /** What the run asks of its directory. */
  readonly setup: Setup;
};

/** What of the run that is meant is there already. */
export type DirectoryLook = {
  readonly finding: Finding;
  readonly own: RunWish['own'];
  /** Of the run that is there, without its password; null where there is none. */
  readonly target: string | null;
};

/** Looks, and makes nothing: neither the directory nor a lock in one that was never used. */
export async function checkDirectory(wish: DirectoryWish): Promise<DirectoryLook> {
  let own: RunWish['own'] = { stream: false, tables: false, recorded: null };
  let target: string | null = null;
  const finding = await asked('room.directory', 'work directory', () => {
    const { directory, resume, restart } = wish;
    const place = nearest(directory);
    if (!statSync(place).isDirectory() || !isWritable(place)) {
      throw new Failure('work-directory-broken', `${directory} cannot be written to`, {
        remedy: 'Name a directory of your own with --dir.',
      });
    }
    if (place !== directory) return `${directory} is made by the run`;
    if (existsSync(join(directory, 'locks')) && isLocked(directory, 'clone')) {
      throw new Failure('work-directory-locked', `another walferry process works in ${directory}`);
    }
    const run = catalogExists(directory) ? loadRun(directory) : noRun;
    target = run.setup?.target ?? null;
    if (run.stream) own = { ...own, stream: true, recorded: run.key && { ...run.key, directory } };
    if (!run.copy)
      return run.stream ? `${directory} holds the stream of this run` : `${directory} is not used yet`;
    if (!restart) expectSameRun(directory, run.setup === null ? [] : setupDifferences(run.setup, wish.setup));
    if (run.complete && !restart) {
      own = { ...own, tables: true };
      return warn(
        'room.directory',
        'work directory',
        `${directory} holds a run that is complete: there would be nothing to do`,
        'For another run use another --dir, or --restart.',
      );
    }
    if (resume && !restart) own = { ...own, tables: true };
    if (resume || restart) return `${directory} holds a run, which ${restart ? 'is dropped' : 'goes on'}`;
    throw new Failure('work-directory-used', `${directory} holds a run that is not complete`, {
      remedy: 'Go on with it with --resume, drop it with --restart, or use another --dir.',
    });
  });
  return { finding, own, target };
}

type Run = {
  readonly stream: boolean;
  readonly key: StreamKey | null;
  readonly copy: boolean;
  readonly complete: boolean;
  readonly setup: Setup | null;
};

const noRun: Run = { stream: false, key: null, copy: false, complete: false, setup: null };

function loadRun(directory: string): Run {
  const catalog = openCatalog(directory, 'status');
  try {
    if (loadSetup(catalog) === null && loadStream(catalog) === null) return noRun;
    return {
      stream: phaseStarted(catalog, 'slot') || loadStream(catalog) !== null,
      key: loadStream(catalog)?.key ?? null,
      copy: phaseStarted(catalog, 'copy'),
      complete: phaseDone(catalog, 'finalize'),
      setup: loadSetup(catalog),
    };
  } finally {
    closeCatalog(catalog);
  }
}

/** The directory, or the first one above it that exists. */
function nearest(directory: string): string {
  return existsSync(directory) || dirname(directory) === directory ? directory : nearest(dirname(directory));
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Free bytes where the directory is or would be; null when the system does not tell. */
export async function fetchFreeBytes(directory: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(nearest(directory));
    return bavail * bsize;
  } catch {
    return null;
  }
}

export type RoomFacts = {
  readonly freeBytes: number | null;
  /** --max-journal-size; null: by the free room, 0: no limit. */
  readonly maxJournalBytes: number | null;
  /** WAL of the source, per second; null where it was not measured. */
  readonly writeBytesPerSecond: number | null;
  /** The longest that the copy is expected to take, in seconds; null where it is not known. */
  readonly copySeconds: number | null;
};

// A change as JSON is about as large as in the WAL, whose full-page images and index records stay out of it.
const comfortSeconds = 3600;
// What a server writes that nobody uses.
const quietBytesPerSecond = 8 * 1024;

/** Whether the changes that arrive during the copy find room. Pure. */
export function judgeJournalRoom(facts: RoomFacts): Finding {
  const id = 'room.journal';
  const title = 'journal';
  const { freeBytes, maxJournalBytes, writeBytesPerSecond, copySeconds } = facts;
  if (freeBytes === null) {
    return warn(id, title, 'the free room of the work directory is not known', 'Set --max-journal-size.');
  }
  const cap =
    maxJournalBytes === null || maxJournalBytes === 0
      ? freeBytes * 0.8
      : Math.min(maxJournalBytes, freeBytes);
  const room = `${prettySize(cap)} for changes`;
  if (writeBytesPerSecond === null || writeBytesPerSecond < quietBytesPerSecond) {
    return pass(id, title, `room of ${room}; the source writes next to nothing now`);
  }
  const seconds = cap / writeBytesPerSecond;
  const rate = `the source writes ${prettySize(writeBytesPerSecond)}/s of WAL now`;
  const needed = Math.max(comfortSeconds, (copySeconds ?? 0) * 2);
  if (seconds >= needed) return pass(id, title, `room of ${room}, about ${sayDuration(seconds)}; ${rate}`);
  return warn(
    id,
    title,
    `room of ${room} is full after about ${sayDuration(seconds)}: ${rate}; from then on the source keeps its WAL until there is room again`,
    'Make room, or put the work directory on a larger disk with --dir.',
  );
}

/** `max_slot_wal_keep_size` against the rate at which the source writes. Pure. */
export function judgeSlotRoom(facts: RoomFacts, keepMegabytes: number | null): Finding {
  const id = 'stream.slot-room';
  const title = 'slot room';
  const setting = 'max_slot_wal_keep_size';
  if (keepMegabytes === null || keepMegabytes < 0) {
    return pass(
      id,
      title,
      `${setting} = -1: a slot is never lost, and a run that is away fills the source's disk`,
    );
  }
  const bytes = keepMegabytes * 1024 * 1024;
  const rate = facts.writeBytesPerSecond ?? 0;
  const seconds = rate < quietBytesPerSecond ? Infinity : bytes / rate;
  const words = `${setting} = ${prettySize(bytes)}`;
  if (seconds >= Math.max(comfortSeconds, facts.copySeconds ?? 0)) {
    const lasting =
      seconds === Infinity
        ? 'the source writes next to nothing now'
        : `about ${sayDuration(seconds)} at ${prettySize(rate)}/s`;
    return pass(id, title, `${words}: ${lasting}`);
  }
  return warn(
    id,
    title,
    `${words}: the slot is lost when the run is away for more than about ${sayDuration(seconds)} (${prettySize(rate)}/s of WAL now)`,
    `alter system set ${setting} = -1; select pg_reload_conf(); -- and watch the source's disk`,
  );
}
