/** The command tree: what is built, and what is known from pgcopydb (or planned) and refused by name. */
import type { Command } from './command.js';
import { command as check } from './commands/check.js';
import { command as clone } from './commands/clone.js';
import { command as compareData } from './commands/compare-data.js';
import { command as compareSchema } from './commands/compare-schema.js';
import { command as copyBlobs } from './commands/copy-blobs.js';
import { command as copyConstraints } from './commands/copy-constraints.js';
import { command as copyData } from './commands/copy-data.js';
import { command as copyExtensions } from './commands/copy-extensions.js';
import { command as copyIndexes } from './commands/copy-indexes.js';
import { command as copyRoles } from './commands/copy-roles.js';
import { command as copySchema } from './commands/copy-schema.js';
import { command as copySequences } from './commands/copy-sequences.js';
import { command as copyTableData } from './commands/copy-table-data.js';
import { command as cutover } from './commands/cutover.js';
import { command as dumpRoles } from './commands/dump-roles.js';
import { command as dumpSchema } from './commands/dump-schema.js';
import { command as restoreParseList } from './commands/restore-parse-list.js';
import { command as restorePostData } from './commands/restore-post-data.js';
import { command as restorePreData } from './commands/restore-pre-data.js';
import { command as restoreRoles } from './commands/restore-roles.js';
import { command as restoreSchema } from './commands/restore-schema.js';
import { command as follow } from './commands/follow.js';
import { command as listCollations } from './commands/list-collations.js';
import { command as listDatabases } from './commands/list-databases.js';
import { command as listDepends } from './commands/list-depends.js';
import { command as listExtensions } from './commands/list-extensions.js';
import { command as listIndexes } from './commands/list-indexes.js';
import { command as listProgress } from './commands/list-progress.js';
import { command as listSchema } from './commands/list-schema.js';
import { command as listSequences } from './commands/list-sequences.js';
import { command as listTableParts } from './commands/list-table-parts.js';
import { command as listTables } from './commands/list-tables.js';
import { command as monitor } from './commands/monitor.js';
import { command as ping } from './commands/ping.js';
import { command as snapshot } from './commands/snapshot.js';
import { command as streamApply } from './commands/stream-apply.js';
import { command as streamCatchup } from './commands/stream-catchup.js';
import { command as streamCleanup } from './commands/stream-cleanup.js';
import { command as streamPrefetch } from './commands/stream-prefetch.js';
import { command as streamPrune } from './commands/stream-prune.js';
import { command as streamReceive } from './commands/stream-receive.js';
import { command as streamReplay } from './commands/stream-replay.js';
import { command as sentinelGet } from './commands/stream-sentinel-get.js';
import { command as sentinelSetApply } from './commands/stream-sentinel-set-apply.js';
import { command as sentinelSetEndpos } from './commands/stream-sentinel-set-endpos.js';
import { command as sentinelSetPrefetch } from './commands/stream-sentinel-set-prefetch.js';
import { command as sentinelSetStartpos } from './commands/stream-sentinel-set-startpos.js';
import { command as sentinelSetup } from './commands/stream-sentinel-setup.js';
import { command as streamSetup } from './commands/stream-setup.js';
import { command as streamTransform } from './commands/stream-transform.js';
import { command as version } from './commands/version.js';
import type { Place } from './dispatch.js';
import type { Group } from './option.js';

/** Commands that can be called, in the order of help. */
export const commands: readonly Command[] = [
  check,
  clone,
  follow,
  cutover,
  snapshot,
  compareSchema,
  compareData,
  copyRoles,
  copySchema,
  copyData,
  copyTableData,
  copyBlobs,
  copyExtensions,
  copySequences,
  copyIndexes,
  copyConstraints,
  dumpSchema,
  dumpRoles,
  restoreSchema,
  restorePreData,
  restorePostData,
  restoreRoles,
  restoreParseList,
  listTables,
  listTableParts,
  listSequences,
  listIndexes,
  listDepends,
  listSchema,
  listDatabases,
  listExtensions,
  listCollations,
  listProgress,
  streamSetup,
  streamCleanup,
  streamReceive,
  streamPrefetch,
  streamCatchup,
  streamReplay,
  streamApply,
  streamTransform,
  streamPrune,
  sentinelSetup,
  sentinelGet,
  sentinelSetStartpos,
  sentinelSetEndpos,
  sentinelSetApply,
  sentinelSetPrefetch,
  monitor,
  ping,
  version,
];

/** Commands that are known and refused with exit 20, by the option parser that they will have. */
const planned: Readonly<Partial<Record<Group, readonly string[]>>> = {};

/** Paths of the commands that are not built yet. */
export const notBuiltPaths: readonly string[] = Object.values(planned).flat();

/** What groups of commands are about. */
export const groupSummaries: Readonly<Record<string, string>> = {
  compare: 'compare source and target',
  copy: 'copy one kind of objects',
  dump: 'dump schema or roles of the source to the work directory',
  restore: 'restore schema or roles on the target from the work directory',
  list: 'list objects of the source',
  stream: 'receive and apply changes in single steps',
  'stream sentinel': 'look at and set the positions of a stream',
  'stream sentinel set': 'set a position of a stream',
};

/** Every path of the tree, for dispatch. `help` is dispatched by run.ts. */
export const places: readonly Place[] = [
  ...commands.flatMap(({ path, aliases, group }) =>
    [path, ...(aliases ?? [])].map((name) => ({ path: name, group })),
  ),
  ...Object.entries(planned).flatMap(([group, paths]) =>
    paths.map((path) => ({ path, group: group as Group })),
  ),
];

/** The command of a path or an alias. */
export function commandAt(path: string): Command | null {
  return (
    commands.find((command) => command.path === path || command.aliases?.includes(path) === true) ?? null
  );
}
