/** A run that is meant, between the two databases of a migration. */
import { readFilters } from '../../src/filter/parse.js';
import type { RunWish, StreamWish } from '../../src/check/options.js';
import { examine } from '../../src/check/examine.js';
import { inOrder, type Finding } from '../../src/check/finding.js';
import { silentLog } from '../../src/log.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { slotOf, uris, type Migration } from '../support/live-migration.js';

export type WishChanges = {
  /** True: as --follow; or how. */
  readonly follow?: boolean | Partial<StreamWish>;
  readonly source?: string;
  readonly target?: string;
  readonly filters?: string;
  readonly environment?: NodeJS.ProcessEnv;
} & Partial<Pick<RunWish, 'dropIfExists' | 'jobs' | 'restore' | 'own'>>;

export function wishOf(migration: Migration, changes: WishChanges = {}): RunWish {
  const { PGCOPYDB_SOURCE_PGURI, PGCOPYDB_TARGET_PGURI } = uris(migration);
  const { follow = false, source, target, filters, environment, ...rest } = changes;
  const slot = slotOf(migration);
  const stream: StreamWish = {
    plugin: 'pgoutput',
    slot,
    publication: null,
    publicationName: slot,
    maxJournalBytes: null,
    ...(follow === true || follow === false ? {} : follow),
  };
  return {
    source: readConninfo(source ?? PGCOPYDB_SOURCE_PGURI, {}),
    target: readConninfo(target ?? PGCOPYDB_TARGET_PGURI, {}),
    filters: filters === undefined ? null : readFilters(filters, 'filters.ini'),
    restore: { noOwner: true, noAcl: true, noComments: false, noTablespaces: false },
    jobs: { table: 4, index: 4, restore: 4 },
    dropIfExists: false,
    stream: follow === false ? null : stream,
    own: { stream: false, tables: false },
    environment: environment ?? process.env,
    log: silentLog,
    signal: new AbortController().signal,
    ...rest,
  };
}

/** What would end the run. */
export async function failing(wish: RunWish): Promise<Finding[]> {
  const { findings } = await examine(wish, 'what blocks');
  return inOrder(findings).filter(({ verdict }) => verdict === 'fail');
}
