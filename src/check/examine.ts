/**
 * The preflight's one shell: opens both sides, fetches facts, hands them to the judges.
 *
 *     both sides are opened ─┬─ source: what a stream needs is tried, then all is read in one read-only transaction
 *                            └─ target: one trial transaction, rolled back
 *     across: objects that the one has and the other lacks
 *     then, unless only what blocks a run is wanted: the write rate, a sample of rows copied into the trial
 *
 * What the run itself asks before it makes anything is asked with the same functions. A side that cannot be reached is a
 * finding; what needs no connection to it is told all the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expectKeysHold, resolveOnSource } from '../clone/filtered-schema.js';
import type { ObjectFilter } from '../filter/decide.js';
import { asFailure, throwIfStopped, type Side } from '../failure.js';
import { readLsn, type Lsn } from '../model/lsn.js';
import { connect, type Session } from '../postgres/connect.js';
import { expectTwoDatabases } from '../postgres/same-database.js';
import { fetchTables } from '../postgres/schema.js';
import { sqlState } from '../postgres/sqlstate.js';
import { fetchRunningTransactions, type WaitedFor } from '../postgres/slot.js';
import {
  checkClientTools,
  judgeClocks,
  judgeFreeConnections,
  judgeServer,
  judgeVersions,
  sessionNeeds,
} from './connections.js';
import { fetchEstimate, type Estimate } from './estimate.js';
import { checkExtensions, fetchKeptExtensions } from './extensions.js';
import { asked, warn, type Finding } from './finding.js';
import { judgeNeonSource, judgeNeonTarget } from './neon.js';
import {
  checkCollations,
  checkRoles,
  checkSuperuserObjects,
  checkTablespaces,
  judgeEncodings,
} from './objects.js';
import type { RunWish, SourceView } from './options.js';
import { fetchServerFacts, type ServerFacts } from './server-facts.js';
import {
  checkColumnOrder,
  checkHalfDetached,
  checkIdentity,
  checkIdentityIndexes,
  checkSourceObjects,
  checkSourceRights,
  judgeSource,
} from './source.js';
import {
  checkRecorded,
  checkStreamTables,
  judgeRunning,
  judgeStreamSettings,
  judgeTableMakers,
  tryStream,
} from './stream.js';
import {
  checkLargeObjects,
  checkOwnSchema,
  checkTaken,
  fetchUsedSchemas,
  inTrial,
  judgeTimeouts,
  judgeWritable,
  tryTargetRights,
} from './target.js';

/** `what blocks`: nothing that only warns, and nothing that takes time. */
export type Depth = 'everything' | 'what blocks';

export type Examined = {
  readonly findings: readonly Finding[];
  /** Null for a side that could not be reached. */
  readonly source: ServerFacts | null;
  readonly target: ServerFacts | null;
  readonly estimate: Estimate | null;
  /** WAL of the source; null where it was not measured. */
  readonly writeBytesPerSecond: number | null;
};

/** Looks at both sides, and changes nothing on either. Throws `stopped`, and mistakes of ours. */
export async function examine(wish: RunWish, depth: Depth): Promise<Examined> {
  return await new Examination(wish, depth === 'everything').run();
}

/** One side, reached. */
type Reached = { readonly session: Session; readonly facts: ServerFacts };

/** The source at one moment. */
type Look = { readonly atMs: number; readonly walLsn: Lsn; readonly running: readonly WaitedFor[] };

const beginReading = 'begin isolation level repeatable read read only';

// The shortest time over which a rate says something.
const rateOverMs = 1000;

class Examination {
  readonly #wish: RunWish;
  /** Whether more is wanted than what blocks. */
  readonly #all: boolean;
  readonly #findings: Finding[] = [];
  #estimate: Estimate | null = null;
  #writeBytesPerSecond: number | null = null;

  constructor(wish: RunWish, all: boolean) {
    this.#wish = wish;
    this.#all = all;
  }

  async run(): Promise<Examined> {
    const reached = await Promise.all([this.#reach('source'), this.#reach('target')]);
    this.#add(...reached.map(({ finding }) => finding));
    const sides = reached.map(({ side }) => side);
    const [source = null, target = null] = sides;
    try {
      this.#add(await checkClientTools(source?.facts.version ?? 0, this.#wish.environment));
      for (const side of sides) if (side !== null) this.#judgeSide(side.facts);
      if (source !== null && target !== null && this.#all) {
        this.#add(
          judgeVersions(source.facts, target.facts),
          judgeClocks([source.facts, target.facts]),
          judgeEncodings(source.facts, target.facts),
        );
      }
      const view = source === null ? null : await this.#source(source, target);
      if (target !== null && (source === null || (await this.#areTwo(source, target)))) {
        await this.#target(target, view);
      }
      return {
        findings: this.#findings,
        source: source?.facts ?? null,
        target: target?.facts ?? null,
        estimate: this.#estimate,
        writeBytesPerSecond: this.#writeBytesPerSecond,
      };
    } finally {
      await Promise.all(sides.flatMap((side) => (side === null ? [] : side.session.close())));
    }
  }

  #add(...findings: readonly (Finding | null)[]): void {
    this.#findings.push(...findings.flatMap((one) => one ?? []));
  }

  async #reach(side: Side): Promise<{ finding: Finding; side: Reached | null }> {
    const { log, signal } = this.#wish;
    const conninfo = this.#wish[side];
    let reached: Reached | null = null;
    const finding = await asked(`connections.${side}`, side, async () => {
      const session = await connect(conninfo, { side, applicationName: 'walferry check', log, signal });
      try {
        const facts = await fetchServerFacts(session, conninfo);
        reached = { session, facts };
        return judgeServer(facts);
      } catch (error) {
        await session.close();
        throw error;
      }
    });
    return { finding, side: reached };
  }

  /** Into its own source nothing may be cloned: what else could be said of such a target would only mislead. */
  async #areTwo(source: Reached, target: Reached): Promise<boolean> {
    const finding = await asked('target.same', 'two databases', async () => {
      await expectTwoDatabases(source.session, target.session);
      return 'source and target are two databases';
    });
    if (finding.verdict === 'fail') this.#add(finding);
    return finding.verdict !== 'fail';
  }

  #judgeSide(facts: ServerFacts): void {
    const { jobs, stream } = this.#wish;
    this.#add(judgeFreeConnections(facts, sessionNeeds(facts.side, jobs, stream !== null)));
    if (this.#all) this.#add(judgeTimeouts(facts));
  }

  /** Null where filters do not fit: then nothing can be said about what is copied. */
  async #source({ session, facts }: Reached, target: Reached | null): Promise<SourceView | null> {
    const { stream, own } = this.#wish;
    if (stream === null) this.#add(...(await checkIdentity(session)));
    else if (!own.stream) this.#add(...(await tryStream(session, this.#wish, stream, facts)));
    else this.#add(...(await checkRecorded(session, this.#wish)));
    const before = stream !== null && this.#all && !facts.inRecovery ? await lookAt(session) : null;
    await session.query(beginReading);
    const view = await this.#view(session);
    if (view !== null) await this.#sourceObjects(view, facts, target);
    if (before !== null) {
      await this.#lookAgain(session, before);
      this.#add(...judgeStreamSettings(facts), ...judgeNeonSource(facts, true));
    }
    return view;
  }

  async #view(session: Session): Promise<SourceView | null> {
    const { filters, log } = this.#wish;
    const tables = await fetchTables(session, { estimateSizes: !this.#all });
    if (filters === null) {
      const all = tables.map((table) => ({ ...table, withRows: true }));
      return { session, tables: all, filter: null, keeps: () => true };
    }
    let filter: ObjectFilter | null = null;
    this.#add(
      await asked('objects.filters', 'filters', async () => {
        const resolved = await resolveOnSource(session, filters, log);
        const kept = { tables: tables.filter(({ oid }) => resolved.decideRelation(oid).schema) };
        await expectKeysHold(session, kept, filters, resolved);
        filter = resolved;
        return `${filters.file} keeps ${kept.tables.length} of ${tables.length} tables`;
      }),
    );
    if (filter !== null) return viewThrough(filter, session, tables);
    // A pattern that the server does not understand has ended the transaction.
    await session.query('rollback');
    await session.query(beginReading);
    return null;
  }

  async #sourceObjects(view: SourceView, facts: ServerFacts, target: Reached | null): Promise<void> {
    const { stream } = this.#wish;
    this.#add(...(await checkSourceRights(view, this.#wish)), ...(await checkIdentityIndexes(view)));
    this.#add(...(await checkHalfDetached(view)), ...(await checkColumnOrder(view)));
    if (stream !== null) this.#add(...(await checkStreamTables(view, stream, this.#wish.own.stream)));
    if (!this.#all) return;
    this.#add(...judgeSource(facts, view.tables, stream !== null));
    await this.#look('source.objects', [view.session], () =>
      checkSourceObjects(view.session, target?.facts.role.superuser ?? null),
    );
    if (stream === null) return;
    await this.#look('stream.table-makers', [view.session], async () =>
      judgeTableMakers((await fetchKeptExtensions(view)).map(({ name }) => name)),
    );
  }

  /** What only warns is no reason to end the check where a server keeps it from us. The sessions are in transactions. */
  async #look(
    id: Finding['id'],
    sessions: readonly Session[],
    work: () => Promise<readonly Finding[]>,
  ): Promise<void> {
    for (const session of sessions) await session.query('savepoint walferry_look');
    try {
      this.#add(...(await work()));
    } catch (error) {
      const failure = asFailure(error);
      if (sqlState(failure) === null || sessions.some(({ lost }) => lost !== null)) throw error;
      for (const session of sessions) await session.query('rollback to savepoint walferry_look');
      this.#add(warn(id, id.slice(id.indexOf('.') + 1), `it could not be looked at: ${failure.message}`));
    }
  }

  async #lookAgain(session: Session, before: Look): Promise<void> {
    const { signal } = this.#wish;
    const rest = rateOverMs - (performance.now() - before.atMs);
    if (rest > 0) await sleep(rest, undefined, { signal }).catch(() => {});
    throwIfStopped(signal);
    const after = await lookAt(session);
    const seconds = (after.atMs - before.atMs) / 1000;
    this.#writeBytesPerSecond = Number(after.walLsn - before.walLsn) / seconds;
    if (!this.#wish.own.stream) this.#add(judgeRunning(before.running, after.running));
  }

  async #target({ session, facts }: Reached, view: SourceView | null): Promise<void> {
    const wish = this.#wish;
    const unwritable = judgeWritable(facts);
    this.#add(unwritable, this.#all ? judgeNeonTarget(facts) : null);
    const writable = unwritable === null;
    if (view !== null && !wish.own.tables) {
      if (writable) this.#add(...(await checkLargeObjects(session, view, wish)));
      this.#add(...(await checkTaken(session, view, wish)));
    }
    const schemas = view === null ? [] : await fetchUsedSchemas(view);
    const own = writable ? await checkOwnSchema(session) : null;
    await inTrial(session, async () => {
      const rights = own === null ? [] : await tryTargetRights(session, facts, own, schemas);
      this.#add(...rights);
      const may = writable && rights.every(({ verdict }) => verdict !== 'fail');
      if (view === null) return;
      await this.#objects(session, facts, view, may);
      if (this.#all) this.#estimate = await fetchEstimate(view, may ? session : null, wish);
    });
  }

  /** `trial`: things may be made in the trial's schema. */
  async #objects(session: Session, facts: ServerFacts, view: SourceView, trial: boolean): Promise<void> {
    const wish = this.#wish;
    if (wish.own.tables) return;
    this.#add(
      ...(await checkExtensions(session, view, wish, { facts, trial })),
      ...(await checkCollations(session, view, wish, trial)),
      ...(await checkSuperuserObjects(session, view, facts)),
      ...(await checkTablespaces(session, view, wish)),
    );
    if (!this.#all) return;
    const both = [session, view.session];
    await this.#look('objects.roles', both, () => checkRoles(session, view, wish));
  }
}

function viewThrough(
  filter: ObjectFilter,
  session: Session,
  tables: Awaited<ReturnType<typeof fetchTables>>,
): SourceView {
  return {
    session,
    filter,
    keeps: (classOid, oid) => !filter.leavesOut(classOid, oid),
    tables: tables.flatMap((table) => {
      const { schema, data } = filter.decideRelation(table.oid);
      return schema ? [{ ...table, withRows: data }] : [];
    }),
  };
}

const walQuery = 'select pg_catalog.pg_current_wal_insert_lsn()::text as lsn';

async function lookAt(session: Session): Promise<Look> {
  const running = await fetchRunningTransactions(session);
  const [row] = await session.query(walQuery);
  return { atMs: performance.now(), walLsn: readLsn(row?.['lsn'] ?? ''), running };
}
