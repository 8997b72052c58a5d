/**
 * Whether a cutover can be done now: facts from the work directory and both servers, judged all at once. A line that
 * blocks says what stands in the way; the others say what the operator should know.
 */
import { loadCutover } from '../catalog/cutover.js';
import { isLocked } from '../catalog/lock.js';
import type { Catalog } from '../catalog/database.js';
import { loadSentinel } from '../catalog/sentinel.js';
import { loadSetup, phaseDone } from '../catalog/setup.js';
import { isOn } from '../clone/database-properties.js';
import { listLabels } from '../clone/requirements.js';
import { Failure } from '../failure.js';
import { loadStatus } from '../monitor/status.js';
import { formatLsn, readLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import { quoteIdentifier } from '../model/sql.js';
import { relationLabel } from '../model/relation.js';
import type { Sentinel } from '../model/progress.js';
import type { Session } from '../postgres/connect.js';
import type { CutoverChoices } from './choices.js';
import type { UncarriedTable } from './copy-again.js';
import { describeDefiners, type DefinerFunction } from './definers.js';
import type { FreezeFacts } from './freeze.js';
import type { FoundGrant } from './grants.js';
import { filesElsewhere } from './taken-writes.js';
import {
  describePrepared,
  describeSessions,
  fetchAppliers,
  fetchPrepared,
  fetchSubscriptions,
  fetchWritersOfAll,
  type OtherSession,
} from './sessions.js';

export type Check = { readonly level: 'ok' | 'note' | 'block'; readonly text: string };

/**
 * How far the target is behind as the run that follows has told just now: WAL of other databases, which it has read past,
 * is not in it. It has asked the source some seconds ago: then it stood at `source`.
 */
export type ToldLag = { readonly behindBytes: number; readonly source: Lsn };

export type CheckFacts = {
  readonly sentinel: Sentinel;
  /** `clone`: a run of `clone --follow` has this work directory; `follow`: a stream without a copy of its own. */
  readonly run: 'clone' | 'follow';
  readonly alive: boolean;
  /** Whether its transform files are where they are looked for. */
  readonly files: boolean;
  readonly copied: boolean;
  readonly finalized: boolean;
  /** Where the source's WAL ends. */
  readonly sourceLsn: Lsn;
  /** What the run that follows has told of that; null where no run tells. */
  readonly told: ToldLag | null;
  readonly standby: boolean;
  readonly freeze: FreezeFacts;
  readonly grants: readonly FoundGrant[];
  /** Functions that write with rights that no revoke takes away. */
  readonly definers: readonly DefinerFunction[];
  readonly sessions: readonly OtherSession[];
  /** Sequences that are to be set, and that our role may not read: as labels. */
  readonly unreadableSequences: readonly string[];
  /** Enabled subscriptions of the source database. */
  readonly subscriptions: readonly string[];
  /** Sessions by which another run of walferry follows into the source. */
  readonly appliers: readonly string[];
  /** Members of pg_write_all_data. */
  readonly writersOfAll: readonly string[];
  /** Whether the source holds large objects that are copied. */
  readonly largeObjects: boolean;
  /** Configuration tables of extensions, as labels. */
  readonly configuration: readonly string[];
  /** Tables of which the stream does not carry every change. */
  readonly uncarried: readonly UncarriedTable[];
  readonly prepared: readonly { readonly gid: string; readonly owner: string }[];
  /** What keeps the stream from being whole; null where nothing is known to. */
  readonly altered: string | null;
};

/** Whether a process receives from the slot and applies, in this work directory. */
export function isFollowed(directory: string): boolean {
  return isLocked(directory, 'receive') && isLocked(directory, 'apply');
}

/**
 * Who completes the target: the run of `clone --follow`, or nobody but us beside a `follow`. A cutover that goes on
 * knows it; else the run that is there tells, and without one what the work directory was made for.
 */
export function runKind(catalog: Catalog): 'clone' | 'follow' {
  const record = loadCutover(catalog);
  const known = record?.settings['run'];
  const goesOn = record !== null && ['running', 'finalizing', 'open'].includes(record.state);
  if (goesOn && (known === 'clone' || known === 'follow')) return known;
  if (isLocked(catalog.directory, 'clone')) return 'clone';
  if (isFollowed(catalog.directory)) return 'follow';
  return loadSetup(catalog)?.settings['follow'] === true ? 'clone' : 'follow';
}

const sourceQuery = `
  select pg_catalog.pg_is_in_recovery()::text as standby,
         case when pg_catalog.pg_is_in_recovery() then '0/0'
              else pg_catalog.pg_current_wal_insert_lsn()::text end as lsn`;

/** What is asked of the work directory, and beside it. */
type FactsHere =
  | 'sentinel'
  | 'run'
  | 'alive'
  | 'copied'
  | 'finalized'
  | 'sourceLsn'
  | 'told'
  | 'standby'
  | 'prepared'
  | 'subscriptions'
  | 'appliers'
  | 'writersOfAll';

export async function fetchCheckFacts(
  session: Session,
  catalog: Catalog,
  known: Omit<CheckFacts, FactsHere>,
): Promise<CheckFacts> {
  const sentinel = loadSentinel(catalog);
  if (sentinel === null) throw new Failure('source-setup', `no stream was set up in ${catalog.directory}`);
  const [row] = await session.query(sourceQuery);
  const run = runKind(catalog);
  return {
    sentinel,
    run,
    alive: isFollowed(catalog.directory),
    copied: run === 'follow' || phaseDone(catalog, 'copy'),
    finalized: run === 'clone' && phaseDone(catalog, 'drain'),
    sourceLsn: readLsn(row?.['lsn'] ?? '0/0'),
    told: loadToldLag(catalog),
    standby: row?.['standby'] === 'true',
    prepared: await fetchPrepared(session),
    subscriptions: await fetchSubscriptions(session),
    appliers: await fetchAppliers(session),
    writersOfAll: await fetchWritersOfAll(session),
    ...known,
  };
}

/** A run tells once a second; what is older than this says nothing of now. */
const toldWithinMs = 3000;

/** What the run that follows has told last; null where none tells. */
export function loadToldLag(catalog: Catalog): ToldLag | null {
  const now = Date.now();
  const { heardAtMs, stream } = loadStatus(catalog, now);
  if (heardAtMs === null || now - heardAtMs > toldWithinMs) return null;
  const behindBytes = stream?.applied?.behindBytes ?? null;
  const source = stream?.source ?? null;
  return behindBytes === null || source === null ? null : { behindBytes, source: readLsn(source) };
}

/**
 * The distance from the target to the source, in bytes of WAL, at most: what the run tells is without that of other
 * databases, but all that was written since then may be the stream's own.
 */
export function lagBytes({
  sourceLsn,
  sentinel,
  told,
}: Pick<CheckFacts, 'sourceLsn' | 'sentinel' | 'told'>): number {
  const distance = sourceLsn > sentinel.replayLsn ? Number(sourceLsn - sentinel.replayLsn) : 0;
  if (told === null) return distance;
  const since = sourceLsn > told.source ? Number(sourceLsn - told.source) : 0;
  return Math.min(distance, told.behindBytes + since);
}

/** Every line, in the order in which they are said. */
export function judgeChecks(facts: CheckFacts, choices: CutoverChoices): Check[] {
  const { sentinel } = facts;
  const lag = lagBytes(facts);
  const must = (holds: boolean, good: string, bad: string): Check =>
    holds ? { level: 'ok', text: good } : { level: 'block', text: bad };
  const start = facts.run === 'clone' ? 'walferry clone --follow' : 'walferry follow';
  return [
    must(!facts.standby, 'the source is a primary', 'the source is a standby: give its primary as --source'),
    must(
      facts.alive,
      'a run follows in another terminal',
      `no run follows in this work directory: go on with \`${start} --resume\` in another terminal, with its options`,
    ),
    must(facts.files || !facts.alive, 'its transform files are here', filesElsewhere),
    must(facts.copied, 'the copy is complete', 'the copy is not complete yet'),
    must(
      !facts.finalized,
      'the target still follows',
      'the run has reached an end position already and completes the target',
    ),
    must(
      sentinel.apply,
      'changes are applied',
      'changes are not applied yet: `walferry stream sentinel set apply`',
    ),
    must(
      sentinel.endpos === zeroLsn,
      'no end position is set',
      `an end position is set already (${formatLsn(sentinel.endpos)}): \`walferry stream sentinel set endpos 0/0\` takes it back`,
    ),
    must(
      lag <= choices.maxLagBytes,
      `the target is ${lag} bytes of WAL behind`,
      `the target is ${lag} bytes of WAL behind, more than --max-lag (${choices.maxLagBytes}): wait, or allow more`,
    ),
    must(
      facts.altered === null,
      'the stream carries what it began with',
      `${facts.altered}: start again with \`${start} --restart\``,
    ),
    must(
      facts.prepared.length === 0,
      'no prepared transaction is open on the source',
      `prepared transactions can be committed whatever is frozen; end them first: ${describePrepared(facts.prepared)}`,
    ),
    must(
      facts.subscriptions.length === 0,
      'nothing is replicated into the source',
      `subscriptions write to the source whatever is frozen: ${facts.subscriptions.map((name) => `alter subscription ${quoteIdentifier(name)} disable`).join('; ')}`,
    ),
    must(
      facts.appliers.length === 0,
      'no other run of walferry follows into the source',
      `another run of walferry follows into the source (process ${facts.appliers.join(', ')} of the server): what it still receives would be on the source alone; cut over to the source first, or end that run`,
    ),
    must(
      facts.unreadableSequences.length === 0,
      'the sequences can be read',
      `the role may not read the sequences ${listLabels(facts.unreadableSequences)}: grant select on all sequences in their schemas to it`,
    ),
    ...judgeUnfollowed(facts),
    ...judgeUncarried(facts, choices),
    ...judgeFreeze(facts, choices),
  ];
}

/** What was copied once, and is in no stream. */
function judgeUnfollowed({ largeObjects, configuration }: CheckFacts): Check[] {
  const lines: Check[] = [];
  if (largeObjects) {
    lines.push({
      level: 'note',
      text: 'large objects are in no stream and are not compared: those written since the copy are on the target as they were (`walferry copy blobs` copies them again)',
    });
  }
  if (configuration.length > 0) {
    lines.push({
      level: 'note',
      text: `configuration tables of extensions are in no stream: what was written to them since the copy is not on the target: ${listLabels(configuration)}`,
    });
  }
  return lines;
}

/** What the comparison will find where such changes were made. Of unlogged tables it says so itself. */
function judgeUncarried({ uncarried }: CheckFacts, { copyAgain, verify }: CutoverChoices): Check[] {
  const labels = (why: UncarriedTable['why'] | null) =>
    uncarried.filter((one) => why === null || one.why === why).map(relationLabel);
  const all = labels(null);
  if (copyAgain && all.length > 0) {
    return [{ level: 'note', text: `copied again in the pause where they differ: ${listLabels(all)}` }];
  }
  const unidentified = labels('no-identity');
  if (unidentified.length === 0) return [];
  const then =
    verify === 'none'
      ? 'with --verify none nobody would see'
      : 'the comparison will find it and undo the cutover';
  return [
    {
      level: 'note',
      text: `updates and deletes of tables without a replica identity are in no stream: where there were any since the copy, ${then}, unless --copy-again copies them again in the pause: ${listLabels(unidentified)}`,
    },
  ];
}

/** Which ways to stop writes the role has, and whether the chosen one is among them. */
function judgeFreeze(
  { freeze, grants, definers, writersOfAll, sessions }: CheckFacts,
  choices: CutoverChoices,
): Check[] {
  const readOnly = whyNotReadOnly(freeze);
  const revoke = whyNotRevoke(grants);
  const say = (kind: string, why: string | null) => `--freeze ${kind}: ${why ?? 'possible'}`;
  const lines: Check[] = [
    {
      level: 'note',
      text: `${say('read-only', readOnly)}; ${say('revoke', revoke)}; --freeze none: possible`,
    },
  ];
  if (isOn(freeze.readOnly)) {
    lines.push({
      level: 'note',
      text: `the source is read-only already (default_transaction_read_only of the database ${freeze.database}); a cutover that is undone leaves it so`,
    });
  }
  const chosen = choices.freeze === 'read-only' ? readOnly : choices.freeze === 'revoke' ? revoke : null;
  if (chosen !== null)
    lines.push({ level: 'block', text: `--freeze ${choices.freeze} is not possible: ${chosen}` });
  if (choices.freeze === 'read-only') {
    const spared = sessions.filter(({ mayEnd }) => !mayEnd);
    if (spared.length > 0) {
      lines.push({
        level: 'note',
        text: `sessions that this role may not end will stay, and could write: ${describeSessions(spared)}`,
      });
    }
  }
  if (choices.freeze === 'revoke') {
    lines.push({
      level: 'note',
      text: 'owners of tables and superusers keep their rights: if the application connects as one, use --freeze read-only',
    });
    if (writersOfAll.length > 0) {
      lines.push({
        level: 'note',
        text: `members of pg_write_all_data write to every table, whatever is revoked; if the application connects as one, use --freeze read-only: ${listLabels(writersOfAll)}`,
      });
    }
    if (definers.length > 0) {
      lines.push({
        level: 'note',
        text: `SECURITY DEFINER functions write with the rights of their owner, whatever is revoked; if the application writes through one of these, use --freeze read-only: ${describeDefiners(definers)}`,
      });
    }
  }
  return lines;
}

function whyNotReadOnly({ database, ownsDatabase, ownDefaults }: FreezeFacts): string | null {
  if (!ownsDatabase) return `the role does not own the database ${database}`;
  if (ownDefaults.length === 0) return null;
  return `roles have a default_transaction_read_only of their own, which is stronger: ${ownDefaults.join(', ')}`;
}

function whyNotRevoke(grants: readonly FoundGrant[]): string | null {
  const denied = grants.find(({ mayAct }) => !mayAct);
  if (denied !== undefined) {
    const table = relationLabel({ schema: denied.schema, name: denied.table });
    return `the role may not act as ${denied.grantor}, who granted ${denied.privilege} on ${table}`;
  }
  return grants.every(({ ofSequence }) => ofSequence)
    ? 'nobody but owners and superusers may write, and they keep their rights'
    : null;
}

/** Throws `cutover-not-ready` with every line that blocks. */
export function expectReady(checks: readonly Check[]): void {
  const blocking = checks.filter(({ level }) => level === 'block');
  if (blocking.length === 0) return;
  throw new Failure('cutover-not-ready', blocking.map(({ text }) => text).join('\n'));
}
