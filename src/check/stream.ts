/** What `--follow` asks of the source. */
import { describePart } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';
import type { Session } from '../postgres/connect.js';
import {
  expectNoInsertsPublication,
  expectOwned,
  fetchPublicationFacts,
  planPublications,
  tryPublication,
  type PublicationFacts,
} from '../postgres/publication.js';
import { fetchPublicationParts } from '../postgres/published-parts.js';
import { fetchTables } from '../postgres/schema.js';
import { connectWalsender, describeWaitedFor, type WaitedFor } from '../postgres/slot.js';
import {
  expectFollowable,
  expectNoSlot,
  expectPublicationRead,
  tryPlugin,
  trySlot,
} from '../postgres/stream-requirements.js';
import { expectStreamSource } from '../postgres/stream-source.js';
import { quoteQualified } from '../model/sql.js';
import { asked, counted, pass, some, warn, type Finding } from './finding.js';
import type { RunWish, SourceView, StreamWish } from './options.js';
import { numberSetting, type ServerFacts } from './server-facts.js';

const countSlots = `select count(*) as used from pg_catalog.pg_replication_slots`;

/**
 * What is tried for real: a walsender, a slot, the plugin, publications. On a session without a transaction. Where the
 * source cannot be followed at all, nothing else is asked.
 */
export async function tryStream(
  session: Session,
  wish: RunWish,
  stream: StreamWish,
  facts: ServerFacts,
): Promise<Finding[]> {
  const { plugin, slot, publication, publicationName } = stream;
  const followable = await asked('stream.decoding', 'decoding', async () => {
    await expectFollowable(session, plugin);
    return `a primary, encoded ${facts.database.encoding}, wal_level ${facts.settings.get('wal_level')?.now ?? '?'}`;
  });
  if (followable.verdict === 'fail') return [followable];
  const findings = [followable];
  findings.push(
    await asked('stream.slot', 'replication slot', async () => {
      // The right to replicate is one refusal, not two.
      await tryWalsenders(wish);
      await trySlot(session);
      await expectNoSlot(session, slot);
      const [row] = await session.query(countSlots);
      const slots = (numberSetting(facts, 'max_replication_slots') ?? 0) - Number(row?.['used']);
      return `"${slot}" can be made (tried); ${counted(slots, 'slot')} free`;
    }),
  );
  if (plugin !== 'pgoutput') {
    findings.push(
      await asked('stream.plugin', 'output plugin', async () => {
        expectPublicationRead(publication, plugin);
        await tryPlugin(session, plugin);
        return `the server loads ${plugin}`;
      }),
    );
    return findings;
  }
  findings.push(
    await asked('stream.publication', 'publication', async () => {
      if (publication === null) {
        await tryPublication(session, publicationName);
        return `"${publicationName}" can be made (tried)`;
      }
      await fetchPublicationParts(session, publication, []);
      return `"${publication}" publishes all operations`;
    }),
  );
  return findings;
}

/** Two at once, as a run has them: one holds the snapshot, while the other one receives. */
async function tryWalsenders({ source, signal, log }: RunWish): Promise<void> {
  const holder = await connectWalsender(source, 'walferry check', signal, log);
  try {
    await (await connectWalsender(source, 'walferry check', signal, log)).close();
  } finally {
    await holder.close();
  }
}

/** A stream that is there already: whether this is where it was made. Told only where it is not. */
export async function checkRecorded(session: Session, wish: RunWish): Promise<Finding[]> {
  const recorded = wish.own.recorded ?? null;
  if (recorded === null) return [];
  const { source, log, signal } = wish;
  const { directory } = recorded;
  const finding = await asked('stream.source', 'stream', async () => {
    await expectStreamSource(session, recorded, { source, directory, log, signal });
    return 'it was made here';
  });
  return finding.verdict === 'fail' ? [finding] : [];
}

/** What the tables are to a stream. The session may be in a transaction. `made`: the stream is there already. */
export async function checkStreamTables(
  view: SourceView,
  stream: StreamWish,
  made: boolean,
): Promise<Finding[]> {
  const tables = view.tables
    .filter((table) => table.kind === 'table' && table.withRows)
    .map(({ oid, schema, name }) => ({ oid: String(oid), schema, name }));
  const facts = await fetchPublicationFacts(view.session, tables);
  const findings = [judgeIdentity(facts, stream), ...judgeUnlogged(facts)];
  if (stream.plugin !== 'pgoutput' || made) return findings;
  if (stream.publication === null) {
    const published = facts.filter(({ leftOut }) => leftOut === null);
    const needsInserts = planPublications(facts).insertsOnly.length > 0;
    const taken = await asked('stream.inserts-publication', 'publication of inserts', async () => {
      if (needsInserts) await expectNoInsertsPublication(view.session, stream.publicationName);
      return 'its name is free';
    });
    return [
      ...(taken.verdict === 'fail' ? [taken] : []),
      await asked('stream.ownership', 'ownership', () => {
        expectOwned(published);
        return `our role may publish all ${counted(published.length, 'table')}`;
      }),
      ...findings,
    ];
  }
  return [...(await checkCarried(view, stream.publication)), ...findings];
}

/** What a publication of somebody else carries of the tables that are copied. */
async function checkCarried({ session, filter }: SourceView, publication: string): Promise<Finding[]> {
  const [found] = await session.query(
    `select from pg_catalog.pg_publication where pubname = $1 and pubinsert and pubupdate and pubdelete and pubtruncate`,
    [publication],
  );
  // That it does not exist, or not publish all, is a line of its own.
  if (found === undefined) return [];
  const tables = (await fetchTables(session, { estimateSizes: true })).map((table) => ({
    ...table,
    copied: filter === null || filter.decideRelation(table.oid).data,
  }));
  return [
    await asked('stream.carried', 'carried tables', async () => {
      const { parts, missing, warnings } = await fetchPublicationParts(session, publication, tables);
      const inPart = parts.flatMap((part) => {
        const words = describePart(part);
        return words === null ? [] : [`${relationLabel(part)}: ${words}`];
      });
      const moved =
        inPart.length === 0
          ? `publication "${publication}" carries whole tables`
          : `publication "${publication}" carries, and the copy takes, of ${some(inPart)}`;
      if (missing.length > 0) {
        return warn(
          'stream.carried',
          'carried tables',
          [
            `publication "${publication}" leaves out, so that their changes are lost: ${some(missing)}`,
            ...warnings,
          ].join('; '),
          `Have its owner run: alter publication "${publication}" add table …; or leave them out with --filters.`,
        );
      }
      if (warnings.length === 0) return moved;
      return warn('stream.carried', 'carried tables', [moved, ...warnings].join('; '));
    }),
  ];
}

/** Pure. */
export function judgeIdentity(
  facts: readonly PublicationFacts[],
  { plugin, publication }: Pick<StreamWish, 'plugin' | 'publication'>,
): Finding {
  const unidentified = planPublications(facts).insertsOnly;
  const [first] = unidentified;
  if (first === undefined) {
    return pass('stream.identity', 'row identity', `every table has a key for updates and deletes`);
  }
  const labels = some(unidentified.map(relationLabel));
  return warn(
    'stream.identity',
    'row identity',
    plugin === 'pgoutput' && publication !== null
      ? `${counted(unidentified.length, 'table')} without: where "${publication}" publishes them, the source refuses the application's own updates and deletes: ${labels}`
      : plugin === 'pgoutput'
        ? `${counted(unidentified.length, 'table')} without: inserts and truncates are followed, updates and deletes are NOT: ${labels}`
        : `${counted(unidentified.length, 'table')} without: an update or a delete will stop the stream: ${labels}`,
    first.identity === 'generated'
      ? `Give ${relationLabel(first)} a primary key of columns that are not generated.`
      : `Add a primary key, or: alter table ${quoteQualified(first.schema, first.name)} replica identity full;`,
  );
}

/** Pure. */
export function judgeUnlogged(facts: readonly PublicationFacts[]): Finding[] {
  const unlogged = facts.filter(({ leftOut }) => leftOut === 'unlogged');
  const [first] = unlogged;
  if (first === undefined) return [];
  return [
    warn(
      'stream.unlogged',
      'unlogged tables',
      `copied once, their changes cannot be followed: ${some(unlogged.map(relationLabel))}`,
      `alter table ${quoteQualified(first.schema, first.name)} set logged; or do not write to them until the switch.`,
    ),
  ];
}

/**
 * A slot waits for every transaction of the whole cluster that has written. Those that were there at both looks are
 * not about to end. Pure.
 */
export function judgeRunning(before: readonly WaitedFor[], after: readonly WaitedFor[]): Finding {
  const still = after.filter(({ xid, gid }) => gid !== null || before.some((one) => one.xid === xid));
  const prepared = still.filter(({ gid }) => gid !== null);
  const [first] = still;
  if (first === undefined) {
    return pass('stream.running', 'open transactions', 'none that the slot would have to wait for');
  }
  const forEver = prepared.length > 0 ? ' (a prepared one stays until somebody ends it)' : '';
  const end =
    first.gid === null
      ? `select pg_terminate_backend(${first.pid ?? 'pid'});`
      : `rollback prepared '${first.gid.replaceAll("'", "''")}';`;
  return warn(
    'stream.running',
    'open transactions',
    `the slot waits until these have ended${forEver}: ${some(still.map(describeWaitedFor))}`,
    `Have them end, or: ${end}`,
  );
}

// A walsender that hears nothing for so long ends; ours answers at once, but a busy machine may take a while.
const shortSenderTimeoutMs = 5000;

/** Settings that end a stream. Pure. */
export function judgeStreamSettings(facts: ServerFacts): Finding[] {
  const findings: Finding[] = [];
  const timeout = numberSetting(facts, 'wal_sender_timeout') ?? 0;
  if (timeout > 0 && timeout < shortSenderTimeoutMs) {
    findings.push(
      warn(
        'stream.sender-timeout',
        'wal_sender_timeout',
        `${timeout} ms: a short pause ends the connection of the stream, again and again`,
        `alter role "${facts.role.name}" set wal_sender_timeout = '60s';`,
      ),
    );
  }
  const idle = numberSetting(facts, 'idle_replication_slot_timeout') ?? 0;
  if (idle > 0) {
    findings.push(
      warn(
        'stream.idle-slot',
        'idle_replication_slot_timeout',
        'the source drops a slot that nobody reads for this long: a run that is stopped longer cannot be resumed',
        'alter system set idle_replication_slot_timeout = 0; select pg_reload_conf();',
      ),
    );
  }
  return findings;
}

const makesTables = ['pg_partman', 'timescaledb', 'pg_cron', 'citus'];

/** Extensions that make tables by themselves: DDL is not followed. Pure. */
export function judgeTableMakers(extensions: readonly string[]): Finding[] {
  const makers = extensions.filter((name) => makesTables.includes(name));
  if (makers.length === 0) return [];
  return [
    warn(
      'stream.table-makers',
      'DDL',
      `${makers.join(', ')} may make or drop tables by themselves while the stream goes on: DDL is not followed`,
      'Make the partitions of the coming days before the start, and pause their jobs until the switch.',
    ),
  ];
}
