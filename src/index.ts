/**
 * walferry as a library: the commands as functions, their options as data, what happens as typed events.
 * See docs/library.md.
 */
export { check } from './library/check.js';
export { clone, follow } from './library/clone.js';
export { compare, type Comparison } from './library/compare.js';
export { cutover, planCutover } from './library/cutover.js';
export { sentinel, setEndpos } from './library/sentinel.js';
export type { CallOptions } from './library/call.js';
export type { LogEvent, WalferryEvent } from './library/events.js';
export type {
  CloneSettings,
  CompareSettings,
  CutoverSettings,
  FollowSettings,
  SentinelSettings,
} from './library/settings.js';
export { Failure, type FailureCode } from './failure.js';
export { formatLsn, parseLsn, type Lsn } from './model/lsn.js';
export type { Sentinel } from './model/progress.js';
export type { CheckReport } from './check/check.js';
export type { Finding } from './check/finding.js';
export type { CloneProgress } from './clone/options.js';
export type { DataComparison, TableComparison } from './compare/comparison.js';
export type { CompareProgress } from './compare/options.js';
export type { SchemaComparison } from './compare/schema-difference.js';
export type { CutoverPlan } from './cutover/plan.js';
export type { CutoverReport } from './cutover/report.js';
export type { CloneSummary } from './clone/summary.js';
export type { FollowProgress } from './follow/stream-run.js';
