/** `cutover --dry-run`: the checks, the steps and the pause to be expected. Reads; changes nothing. */
import { setTimeout as sleep } from 'node:timers/promises';
import { closeCatalog, type Catalog } from '../catalog/database.js';
import { requireSentinel } from '../catalog/sentinel.js';
import { requireCatalog } from '../catalog/work-directory.js';
import { measureDistance } from '../check/server-facts.js';
import { throwIfStopped } from '../failure.js';
import { requireStream } from '../follow/stream-run.js';
import type { Log } from '../log.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { userSchema } from '../postgres/schema-scope.js';
import { judgeChecks, lagBytes, loadToldLag, runKind, type Check } from './checks.js';
import { resolveChoices, type CutoverChoices, type GivenChoices } from './choices.js';
import { decideCutover } from './decisions.js';
import { predictPause, type PredictedStep } from './predict.js';
import { gatherFacts, keptTables, loadCutoverFor, openStreamSource } from './prepare.js';
import { checkSchemas } from './schemas.js';
import { untilTold } from './waits.js';

export type PlanOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly directory: string;
  readonly journalDirectory: string;
  readonly choices: GivenChoices;
  readonly jobs: number;
  readonly log: Log;
  readonly signal: AbortSignal;
};

export type CutoverPlan = {
  readonly choices: CutoverChoices;
  readonly checks: readonly Check[];
  readonly steps: readonly PredictedStep[];
  readonly pauseMs: number;
};

const sizesQuery = `
  select n.nspname as schema, c.relname as name, pg_catalog.pg_table_size(c.oid)::text as bytes
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.relkind = 'r' and c.relpersistence <> 't'
     and ${userSchema}`;

/** The applied position is looked at for so long, to see its pace. */
const watchMs = 1000;

/**
 * What a cutover would do now; after one that is complete no steps. Throws `cutover-unfinished` where another was begun.
 */
export async function planCutover(options: PlanOptions): Promise<CutoverPlan> {
  const { source, target, directory, jobs, log, signal } = options;
  const catalog = requireCatalog(directory);
  try {
    const stream = requireStream(catalog);
    const choices = resolveChoices(options.choices, null);
    const decision = decideCutover(loadCutoverFor('begin', catalog), 'begin');
    if (decision.kind === 'nothing-to-do') {
      return { choices, checks: [{ level: 'note', text: decision.why }], steps: [], pauseMs: 0 };
    }
    await using session = await openStreamSource(source, stream, { log, signal });
    const keeps = keptTables(catalog);
    const { parts, key } = stream;
    const work = { source, target, directory, keeps, parts, key, log, signal };
    const schemas = await checkSchemas(work, { ...choices, run: runKind(catalog) });
    const { journalDirectory } = options;
    let facts = await gatherFacts(session, target, catalog, stream, { journalDirectory, log, signal });
    if (lagBytes(facts) > choices.maxLagBytes && facts.alive) {
      await untilTold(catalog, facts.sourceLsn, signal);
      facts = { ...facts, told: loadToldLag(catalog) };
    }
    const sizes = await tableSizes(session, catalog);
    const steps = predictPause(
      {
        lagBytes: lagBytes(facts),
        appliedBytesPerSecond: await appliedPace(catalog, signal),
        tableBytes: sizes.bytes,
        tables: sizes.tables,
        copiedAgain: {
          tables: facts.uncarried.length,
          bytes: facts.uncarried.reduce((sum, { bytes }) => sum + bytes, 0),
        },
        jobs,
        sessions: facts.sessions.length,
        roundTripMs: Math.max(await distance(session), await targetDistance(options)),
      },
      choices,
    );
    return {
      choices,
      checks: [...judgeChecks(facts, choices), ...schemas],
      steps,
      pauseMs: steps.reduce((sum, { ms }) => sum + ms, 0),
    };
  } finally {
    closeCatalog(catalog);
  }
}

async function distance(session: Session): Promise<number> {
  return (await measureDistance(session)).roundTripMs;
}

async function targetDistance({ target, log, signal }: PlanOptions): Promise<number> {
  await using session = await connect(target, {
    side: 'target',
    applicationName: 'walferry cutover',
    log,
    signal,
  });
  return await distance(session);
}

async function tableSizes(session: Session, catalog: Catalog): Promise<{ bytes: number; tables: number }> {
  const keeps = keptTables(catalog) ?? (() => true);
  const rows = await session.query(sizesQuery);
  const kept = rows.filter((row) => keeps({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
  return { tables: kept.length, bytes: kept.reduce((sum, row) => sum + Number(row['bytes'] ?? 0), 0) };
}

async function appliedPace(catalog: Catalog, signal: AbortSignal): Promise<number> {
  const before = requireSentinel(catalog).replayLsn;
  await sleep(watchMs, undefined, { signal }).catch(() => {});
  throwIfStopped(signal);
  return (Number(requireSentinel(catalog).replayLsn - before) / watchMs) * 1000;
}

export function planJson({ choices, checks, steps, pauseMs }: CutoverPlan): string {
  const plan = {
    freeze: choices.freeze,
    verify: choices.verify,
    max_pause_ms: choices.maxPauseMs,
    checks,
    steps,
    expected_pause_ms: pauseMs,
  };
  return `${JSON.stringify(plan, null, 2)}\n`;
}

export function planText({ choices, checks, steps, pauseMs }: CutoverPlan): string {
  const marks = { ok: 'ok   ', note: 'note ', block: 'BLOCK' } as const;
  const lines = checks.map(({ level, text }) => `${marks[level]}  ${text}\n`);
  if (steps.length === 0) return ['\n', ...lines, '\n'].join('');
  const longer = pauseMs > choices.maxPauseMs ? ', which is longer than --max-pause' : '';
  return [
    '\n',
    ...lines,
    '\nexpected inside of the pause:\n',
    ...steps.map(
      ({ step, ms, why }) =>
        `${step.padStart(12)}  ${`${ms} ms`.padStart(10)}${why === '' ? '' : `  ${why}`}\n`,
    ),
    `${'-'.repeat(26)}\n`,
    `${'write pause'.padStart(12)}  ${`${pauseMs} ms`.padStart(10)}  an estimate${longer}\n\n`,
  ].join('');
}
