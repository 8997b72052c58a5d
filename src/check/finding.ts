/**
 * What a check finds: one line each. Findings are made by pure functions from facts that were fetched before; nothing
 * here speaks to a server. Pure.
 */
import { asFailure, isStop, type Failure, type FailureCode } from '../failure.js';

/**
 * pass: nothing stands in the way.
 * warn: the run goes on, and somebody should know before it does.
 * fail: the run would end with this, now or hours later.
 */
export type Verdict = 'pass' | 'warn' | 'fail';

/** The groups in which findings are told, in their order. */
export const themes = ['connections', 'source', 'stream', 'target', 'objects', 'room'] as const;
export type Theme = (typeof themes)[number];

export type Finding = {
  /** The theme and what was looked at, for programs: `stream.slot`. Told by no more than one finding of a kind. */
  readonly id: `${Theme}.${string}`;
  readonly verdict: Verdict;
  /** What was looked at, in a word or two. */
  readonly title: string;
  readonly reason: string;
  /** SQL, a setting or an option; null where there is nothing to mend. */
  readonly remedy: string | null;
  /** What the run would end with; null unless `fail`. */
  readonly code: FailureCode | null;
};

type Id = Finding['id'];

export function pass(id: Id, title: string, reason: string): Finding {
  return { id, verdict: 'pass', title, reason, remedy: null, code: null };
}

export function warn(id: Id, title: string, reason: string, remedy: string | null = null): Finding {
  return { id, verdict: 'warn', title, reason, remedy, code: null };
}

/** What a run would end with. */
export function fail(id: Id, title: string, failure: Failure): Finding {
  const { message, remedy, code } = failure;
  return { id, verdict: 'fail', title, reason: message, remedy: remedy === '' ? null : remedy, code };
}

export function themeOf({ id }: Pick<Finding, 'id'>): Theme {
  return id.slice(0, id.indexOf('.')) as Theme;
}

/**
 * Asks what a run asks before it makes anything, and tells its refusal as a finding. A stop, and a mistake of ours, stay
 * what they are.
 */
export async function asked(
  id: Id,
  title: string,
  ask: () => Promise<string | Finding> | string | Finding,
): Promise<Finding> {
  try {
    const answer = await ask();
    return typeof answer === 'string' ? pass(id, title, answer) : answer;
  } catch (error) {
    const failure = asFailure(error);
    if (isStop(failure) || failure.code === 'internal') throw error;
    return fail(id, title, failure);
  }
}

export type Counts = Readonly<Record<Verdict, number>>;

export function countVerdicts(findings: readonly Finding[]): Counts {
  const count = (verdict: Verdict) => findings.filter((one) => one.verdict === verdict).length;
  return { pass: count('pass'), warn: count('warn'), fail: count('fail') };
}

/** In the order of the themes; within one, in the order in which they were found. */
export function inOrder(findings: readonly Finding[]): Finding[] {
  return themes.flatMap((theme) => findings.filter((one) => themeOf(one) === theme));
}

const labelsShown = 5;

/** `a, b and 3 more`. */
export function some(labels: readonly string[]): string {
  const shown = labels.slice(0, labelsShown).join(', ');
  return labels.length <= labelsShown ? shown : `${shown} and ${labels.length - labelsShown} more`;
}

/** `1 table`, `2 tables`. */
export function counted(count: number, singular: string, plural = `${singular}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? singular : plural}`;
}

/** Seconds in words, for what is not known better: `20 s`, `5 min`, `3 h 10 min`, `4 days`, `months`. */
export function sayDuration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 24 * 60) return 'months';
  if (hours >= 48) return `${Math.round(hours / 24)} days`;
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
}
