/**
 * `walferry snapshot`: holds a snapshot of the source until it is stopped, so that other commands, and the ones that go
 * on after a crash, can copy from it. With a stream, it is the snapshot of the slot that is made here.
 */
import { closeCatalog, openCatalog } from '../catalog/database.js';
import { takeLocks } from '../catalog/lock.js';
import { loadStream } from '../catalog/stream.js';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { exportSnapshot } from '../postgres/snapshot.js';
import { removeSnapshotFile, saveSnapshotFile } from './snapshot-file.js';
import { setupStream, type StreamChoices } from './stream-setup.js';

export type SnapshotRunOptions = {
  readonly source: Conninfo;
  readonly directory: string;
  /** Null: a snapshot without a slot. */
  readonly follow: StreamChoices | null;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Told once the snapshot can be imported. */
  readonly onSnapshot: (snapshot: string) => Promise<void>;
};

type HeldSnapshot = AsyncDisposable & { readonly snapshot: string; readonly lost: Promise<Failure> };

/** Returns when the signal is set. Throws `snapshot-lost` when the server ends the session that holds it. */
export async function holdSnapshot(options: SnapshotRunOptions): Promise<void> {
  const { directory, signal, onSnapshot } = options;
  const lock = takeLocks(directory, ['snapshot']);
  try {
    await using held =
      options.follow === null ? await holdExported(options) : await holdSlot(options, options.follow);
    saveSnapshotFile(directory, held.snapshot);
    try {
      await onSnapshot(held.snapshot);
      const lost = await Promise.race([held.lost, stopped(signal)]);
      if (lost !== null) throw lost;
    } finally {
      removeSnapshotFile(directory);
    }
  } finally {
    lock.release();
  }
}

function stopped(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}

async function holdExported({ source, log, signal }: SnapshotRunOptions): Promise<HeldSnapshot> {
  const session = await connect(source, {
    side: 'source',
    applicationName: 'walferry snapshot',
    log,
    signal,
  });
  const snapshot = await exportSnapshot(session);
  const lost = new Promise<Failure>((resolve) => {
    const tell = () =>
      resolve(new Failure('snapshot-lost', 'the source ended the session that held the snapshot'));
    session.client.once('end', tell);
    session.client.once('error', tell);
  });
  return { snapshot, lost, [Symbol.asyncDispose]: () => session.close() };
}

async function holdSlot(options: SnapshotRunOptions, choices: StreamChoices): Promise<HeldSnapshot> {
  const { source, directory, log, signal } = options;
  const catalog = openCatalog(directory);
  try {
    if (loadStream(catalog) !== null) {
      throw new Failure(
        'work-directory-used',
        `a stream was set up in ${directory} already, and a slot's snapshot is made only once`,
        {
          remedy: 'Take it down with `walferry stream cleanup`, or use another --dir and --slot-name.',
        },
      );
    }
    const { created } = await setupStream({ source, target: null, catalog, choices, log, signal });
    if (created === null) throw new Failure('internal', 'the stream was made without a slot');
    return created;
  } finally {
    closeCatalog(catalog);
  }
}
