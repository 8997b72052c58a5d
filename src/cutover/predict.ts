/** What `--dry-run` says: the steps, and how long each will hold up the application. Pure. */
import type { CutoverChoices } from './choices.js';

export type PauseFacts = {
  readonly lagBytes: number;
  /** Bytes of WAL per second that the stream was seen to apply; null: nothing to go by. */
  readonly appliedBytesPerSecond: number | null;
  /** Size of the tables to be compared. */
  readonly tableBytes: number;
  readonly tables: number;
  /** Of those that are copied again where they differ. */
  readonly copiedAgain: { readonly tables: number; readonly bytes: number };
  readonly jobs: number;
  /** Sessions of others on the source. */
  readonly sessions: number;
  /** To the server that is further away. */
  readonly roundTripMs: number;
};

export type PredictedStep = { readonly step: string; readonly ms: number; readonly why: string };

/** Where nothing was seen: an applier that is behind applies at least this much WAL a second. */
const cautiousApplyBytesPerSecond = 10e6;
/** Text hashed per second and connection, of ordinary rows (docs/measurements). */
const checksumBytesPerSecond = 60e6;
/** A table with indexes, over one connection (docs/measurements). */
const copiedBytesPerSecond = 20e6;
/** Two servers with few cores gain nothing from more connections than this. */
const usefulJobs = 4;

/** The steps that happen inside of the pause. */
export function predictPause(facts: PauseFacts, choices: CutoverChoices): PredictedStep[] {
  const rate = Math.max(facts.appliedBytesPerSecond ?? 0, cautiousApplyBytesPerSecond);
  const ms = (seconds: number) => Math.round(seconds * 1000);
  /** One answer waited for after the other. */
  const trips = (count: number) => Math.round(facts.roundTripMs * count);
  const steps: PredictedStep[] = [];
  switch (choices.freeze) {
    case 'read-only':
      steps.push({
        step: 'freeze',
        ms: 50 + facts.sessions + trips(6),
        why: `${facts.sessions} sessions are ended`,
      });
      break;
    case 'revoke':
      steps.push({
        step: 'freeze',
        ms: 50 + facts.tables + trips(6),
        why: `privileges on ${facts.tables} tables`,
      });
      break;
    case 'none':
      steps.push({ step: 'freeze', ms: 0, why: 'left to you' });
      break;
  }
  steps.push({
    step: 'drain',
    ms: 100 + trips(4) + ms(facts.lagBytes / rate),
    why: `${facts.lagBytes} bytes of WAL behind now`,
  });
  if (choices.copyAgain && facts.copiedAgain.tables > 0) {
    const { tables, bytes } = facts.copiedAgain;
    steps.push({
      step: 'copy-again',
      ms: 100 + trips(10) + ms(bytes / copiedBytesPerSecond),
      why: `${tables} tables of ${bytes} bytes are read on both sides, and copied where they differ`,
    });
  }
  const compared = facts.tableBytes / (checksumBytesPerSecond * Math.min(facts.jobs, usefulJobs));
  switch (choices.verify) {
    case 'full':
      steps.push({
        step: 'verify',
        ms: 100 + trips(8) + ms(compared),
        why: `${facts.tables} tables of ${facts.tableBytes} bytes are read on both sides`,
      });
      break;
    case 'touched':
      steps.push({
        step: 'verify',
        ms: 150 + trips(8),
        why: 'rows written since their table was proven; tables that cannot be proven are read as a whole',
      });
      break;
    case 'counts':
      steps.push({
        step: 'verify',
        ms: 100 + trips(8) + ms(compared / 5),
        why: `${facts.tables} tables are counted`,
      });
      break;
    case 'none':
      break;
  }
  steps.push({ step: 'sequences', ms: 20 + trips(3), why: '' });
  steps.push({
    step: 'finalize',
    ms: 200 + 2 * facts.tables + trips(14),
    why: 'foreign keys NOT VALID, triggers; materialized views, where there are any, take longer',
  });
  return steps;
}
