/**
 * What a comparison need not look at: a run that was told to leave tables out remembers them in its work directory. That
 * counts for the servers of that run; any others that are compared with the same --dir have nothing to do with it.
 */
import { catalogExists, closeCatalog, openCatalog } from '../catalog/database.js';
import { loadFilter, type FilterRecord } from '../catalog/filter-record.js';
import { isLocked } from '../catalog/lock.js';
import { loadSentinel } from '../catalog/sentinel.js';
import { loadSetup, type Setup } from '../catalog/setup.js';
import { loadStream } from '../catalog/stream.js';
import { asFailure } from '../failure.js';
import type { FilterFile } from '../filter/parse.js';
import { keepsOf, type Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import { zeroLsn } from '../model/lsn.js';
import type { PublishedPart } from '../model/published-part.js';
import type { StreamKey } from '../model/stream-key.js';
import { connect } from '../postgres/connect.js';
import { describeConninfo, type Conninfo } from '../postgres/connection-string.js';
import { holdsPosition } from '../postgres/position-row.js';
import { fetchStreamSource } from '../postgres/stream-source.js';

export type ComparedScope = {
  /** The tables that the run copies; null where it copies all. */
  readonly keeps: Keeps | null;
  /** The filter that it was begun with; null without one. */
  readonly filter: FilterFile | null;
  /** Of which tables its stream carries a part. */
  readonly parts: readonly PublishedPart[];
  /** The stream by which it keeps the target level with the source at this moment; null where it applies nothing. */
  readonly following: StreamKey | null;
  /** Its stream has changes to apply, as far as it knows, and nobody applies them at this moment. */
  readonly interrupted: boolean;
};

/** Which servers are compared, and how they are asked. */
export type ComparedServers = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly log: Log;
  readonly signal: AbortSignal;
};

const everything: ComparedScope = {
  keeps: null,
  filter: null,
  parts: [],
  following: null,
  interrupted: false,
};

/** By the run of this directory; everything where it is a run of other servers. Not for the process of that run itself. */
export async function loadComparedScope(directory: string, servers: ComparedServers): Promise<ComparedScope> {
  if (!catalogExists(directory)) return everything;
  const { filter, setup, stream, applies, interrupted } = loadRun(directory);
  const parts = stream?.parts ?? [];
  const following = applies ? (stream?.key ?? null) : null;
  if (filter === null && parts.length === 0 && following === null && !interrupted) return everything;
  const elsewhere =
    setup === null ? await isStreamElsewhere(stream?.key ?? null, servers) : isOfOthers(setup, servers);
  if (elsewhere) return everything;
  const scope = filter?.scope ?? null;
  return {
    keeps: scope === null ? null : keepsOf(scope),
    filter: filter === null ? null : { file: filter.file, rules: filter.rules, warnings: [] },
    parts,
    following,
    interrupted,
  };
}

function loadRun(directory: string) {
  const catalog = openCatalog(directory, 'status');
  try {
    const filter: FilterRecord | null = loadFilter(catalog);
    const stream = loadStream(catalog);
    const sentinel = loadSentinel(catalog);
    const isBegun = stream !== null && sentinel?.apply === true;
    const isApplied = isLocked(directory, 'apply');
    const interrupted =
      isBegun && !isApplied && (sentinel.endpos === zeroLsn || sentinel.replayLsn < sentinel.endpos);
    return { filter, setup: loadSetup(catalog), stream, applies: isBegun && isApplied, interrupted };
  } finally {
    closeCatalog(catalog);
  }
}

function isOfOthers(setup: Setup, { source, target }: ComparedServers): boolean {
  return (
    setup.source !== describeConninfo(source) ||
    (setup.target !== null && setup.target !== describeConninfo(target))
  );
}

/**
 * `follow` records no addresses. Its stream was made on one database of one server, and has a position on its target. Who
 * may not ask is taken for the user of this directory, who is told what is left out.
 */
async function isStreamElsewhere(key: StreamKey | null, servers: ComparedServers): Promise<boolean> {
  if (key === null) return false;
  const { source, target, log, signal } = servers;
  const applicationName = 'walferry compare';
  try {
    await using onSource = await connect(source, { side: 'source', applicationName, log, signal });
    const found = await fetchStreamSource(onSource, { source, log, signal });
    if (found.systemIdentifier !== key.systemIdentifier || found.database !== key.database) return true;
    await using onTarget = await connect(target, { side: 'target', applicationName, log, signal });
    return !(await holdsPosition(onTarget, key));
  } catch (error) {
    if (asFailure(error).code.endsWith('-rights')) return false;
    throw error;
  }
}
