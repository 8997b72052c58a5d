/**
 * The snapshot that a copy with a stream is made from, or gone on with:
 * 1. the slot was made just now: its own;
 * 2. the user names one: only that of the slot, since the stream begins there; any other is refused, also when it is gone;
 * 3. another process holds the one that the copy began with, or none is needed any more: that one;
 * 4. none is left: one of now, a later generation, whose tables are exact all the same (postgres/generation.ts).
 */
import { seenAtTheBeginning } from '../clone/clone.js';
import { copyPhaseTask } from '../clone/prepare-schema.js';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import { formatLsn, readLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { StreamKey } from '../model/stream-key.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { exportGeneration, fetchSeen, recordGeneration } from '../postgres/generation.js';
import { importSnapshot } from '../postgres/snapshot.js';
import { fetchDoneTasks } from '../postgres/task-table.js';
import { fetchRootPublications } from '../postgres/publication.js';

export type CopySnapshotOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly directory: string;
  readonly key: StreamKey;
  readonly publications: readonly string[];
  /** The one that --snapshot names. */
  readonly named: string | null;
  /** One that another process holds for this directory. */
  readonly held: string | null;
  /** The name of the one that was made with the slot. */
  readonly ofSlot: string | null;
  /** The end position; zeroLsn where none is set. */
  readonly endpos: Lsn;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** Held until it is disposed of, where it is ours. */
export type CopySnapshot = AsyncDisposable & {
  readonly snapshot: string;
  /** Undefined for the snapshot that the stream began with. */
  readonly generation: number | undefined;
};

/** A snapshot that somebody else holds. */
export function heldElsewhere(snapshot: string): CopySnapshot {
  return { snapshot, generation: undefined, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** A snapshot that is not the slot's has commits that the stream has too, or lacks some that it does not have. */
export function expectOfSlot(named: string | null, ofSlot: string | null): void {
  if (named === null || named === ofSlot) return;
  throw new Failure(
    'snapshot-lost',
    `the snapshot ${named} is not that of the replication slot, where the changes to be followed begin`,
    {
      remedy:
        'Leave --snapshot out, or hold the snapshot of a slot with `walferry snapshot --follow` and the same --dir.',
    },
  );
}

/** Cases 2 to 4. Throws `snapshot-lost` where a later snapshot cannot be gone on with, and for one that is named and gone. */
export async function openCopySnapshot(options: CopySnapshotOptions): Promise<CopySnapshot> {
  const { named, held, directory } = options;
  const began = await seenAtTheBeginning(directory);
  if (named !== null) {
    if (await isThatSnapshot(options, named, began)) return heldElsewhere(named);
    throw new Failure(
      'snapshot-lost',
      `the snapshot ${named} on the source is gone, or another one is called so now`,
      {
        remedy: 'Leave --snapshot out: the tables that are left are then copied from a later one.',
      },
    );
  }
  if (held !== null && (await isThatSnapshot(options, held, began))) return heldElsewhere(held);
  return await openLater(options, began);
}

/**
 * Whether the snapshot can be imported and is the one that the copy began with: names come round again. Where nothing was
 * read of it yet only the name tells.
 */
async function isThatSnapshot(
  { source, ofSlot, log, signal }: CopySnapshotOptions,
  snapshot: string,
  began: string | null,
): Promise<boolean> {
  if (began === null && snapshot !== ofSlot) return false;
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry setup',
    log,
    signal,
  });
  try {
    await importSnapshot(session, snapshot);
    return began === null || (await fetchSeen(session)) === began;
  } catch (error) {
    if (error instanceof Failure && error.code === 'snapshot-lost') return false;
    throw error;
  }
}

async function openLater(options: CopySnapshotOptions, began: string | null): Promise<CopySnapshot> {
  const { source, target, directory, key, publications, endpos, log, signal } = options;
  await using onTarget = await connect(target, {
    side: 'target',
    applicationName: 'walferry setup',
    log,
    signal,
  });
  // With every row on the target no snapshot is needed any more.
  if ((await fetchDoneTasks(onTarget, key)).has(copyPhaseTask)) return heldElsewhere(options.held ?? '');
  if (began === null) {
    throw new Failure('snapshot-lost', `the snapshot that the copy in ${directory} began with is gone`);
  }
  const holder = await connect(source, { side: 'source', applicationName: 'walferry snapshot', log, signal });
  try {
    const roots = await fetchRootPublications(holder, publications);
    if (roots.length > 0) {
      // Changes come under the name of the root, and do not tell which partition they are of.
      throw new Failure(
        'snapshot-lost',
        `the snapshot that the copy began with is gone, and publication "${roots[0]}" does not tell of a change which partition it is of`,
      );
    }
    const exported = await exportGeneration(holder);
    expectBefore(readLsn(exported.lsn), endpos);
    const generation = await recordGeneration(onTarget, key, exported);
    log.info(
      `the snapshot of the beginning is gone: the tables that are left are copied as they are at ${exported.lsn}, and ` +
        'of the stream they take what comes behind it',
    );
    return { snapshot: exported.snapshot, generation, [Symbol.asyncDispose]: () => holder.close() };
  } catch (error) {
    await holder.close();
    throw error;
  }
}

function expectBefore(lsn: Lsn, endpos: Lsn): void {
  if (endpos === zeroLsn || endpos >= lsn) return;
  throw new Failure(
    'snapshot-lost',
    `the snapshot that the copy began with is gone, and a copy of now, at ${formatLsn(lsn)}, is behind the end position ${formatLsn(endpos)}`,
    {
      remedy:
        'Set a later end position with `walferry stream sentinel set endpos`, or start again with --restart.',
    },
  );
}
