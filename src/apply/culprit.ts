/** What the operator is told of a change that could not be applied. */
import type pg from 'pg';
import { Failure } from '../failure.js';
import type { Delete, Update } from '../model/change.js';
import { formatLsn, type Lsn } from '../model/lsn.js';
import { relationLabel } from '../model/relation.js';
import { guardWords } from '../postgres/position-row.js';
import { serverFailure, serverWords } from '../postgres/sqlstate.js';
import type { RelationPlan } from './relation-plan.js';
import { oldCell, type Run } from './run.js';
import { countWords } from './statement.js';

export type TransactionFacts = { readonly xid: bigint; readonly commitLsn: Lsn | null };

/** SQLSTATE 22P02, invalid_text_representation: how our own assertions fail. */
const assertionState = '22P02';

/** Whether the guard failed: the position row does not stand where the group begins. */
export function isGuardError(error: pg.DatabaseError): boolean {
  return error.code === assertionState && error.message.includes(`"${guardWords} `);
}

/** How many rows a statement found instead of the number it should have; null for any other error. */
export function countedRows(error: pg.DatabaseError): number | null {
  if (error.code !== assertionState) return null;
  const match = new RegExp(`"${countWords} (\\d+)"`).exec(error.message);
  return match === null ? null : Number(match[1]);
}

/**
 * Errors that say nothing about the change, and that trying again mends: a deadlock, a serialization failure, a lock
 * not granted, a statement cancelled by somebody, memory or connections exhausted.
 */
export function isPassing(error: pg.DatabaseError): boolean {
  return /^(?:40...|55P03|57014|53[234]00)$/.test(error.code ?? '');
}

/** A unique or exclusion constraint is violated. */
export function isConflict(error: pg.DatabaseError): boolean {
  return error.code === '23505' || error.code === '23P01';
}

/** Undefined table, column or schema. */
const missingStates: ReadonlySet<string> = new Set(['42P01', '42703', '3F000']);

/** The Failure of one change, found by applying changes one by one. `run` is null when a COMMIT failed. */
export function culpritFailure(
  error: pg.DatabaseError,
  run: Run | null,
  transaction: TransactionFacts,
): Failure {
  const where = transactionLabel(transaction);
  if (run === null) return serverFailure(error, 'target', `could not commit ${where}`);
  const what = changeLabel(run);
  const rows = countedRows(error);
  if (rows !== null) {
    if (run.kind === 'insert') {
      return new Failure(
        'target-statement',
        `target: ${what} of ${where} made ${rows} rows instead of one: a trigger or rule changes what is written`,
        { cause: error, remedy: 'Drop or disable it, then run the same command with --resume.' },
      );
    }
    return new Failure(
      'row-missing',
      `target: ${what} of ${where} found ${rows === 0 ? 'no row' : `${rows} rows`}`,
      {
        cause: error,
        ...(rows > 1 ? { remedy: 'Leave one of the rows, then run the same command with --resume.' } : {}),
      },
    );
  }
  if (missingStates.has(error.code ?? '')) {
    return new Failure('relation-missing', `target: ${what} of ${where}: ${serverWords(error)}`, {
      cause: error,
    });
  }
  if (run.kind === 'insert' && run.plan.match.kind === 'none' && isConflict(error)) {
    return new Failure('target-statement', `target: ${what} of ${where} failed: ${serverWords(error)}`, {
      cause: error,
      remedy:
        'The table has no replica identity, so that its updates and deletes do not arrive: the row in the way may be another on the source, or gone. ' +
        'Delete it on the target, then run the same command with --resume.',
    });
  }
  return serverFailure(error, 'target', `${what} of ${where} failed`);
}

/** `transaction 740 (commit 0/1A2B3C)`. */
export function transactionLabel({ xid, commitLsn }: TransactionFacts): string {
  return `transaction ${xid}${commitLsn === null ? '' : ` (commit ${formatLsn(commitLsn)})`}`;
}

/** `update of public.t where id = '5'`. Of a row only the columns that identify it are shown. */
function changeLabel(run: Run): string {
  if (run.kind === 'truncate')
    return `truncate of ${run.plans.map(({ relation }) => relationLabel(relation)).join(', ')}`;
  const what = `${run.kind} of ${relationLabel(run.plan.relation)}`;
  const [change] = run.changes;
  if (change === undefined || change.kind === 'insert') return what;
  return `${what}${keyLabel(run.plan, change)}`;
}

/** Keys are short; one that is not is cut. */
const shownCharacters = 60;

function keyLabel(plan: RelationPlan, change: Update | Delete): string {
  const { match } = plan;
  if (match.kind === 'row') return ' (which has no key)';
  if (match.kind === 'none') return '';
  const parts = match.columns.map(({ at, target }) => {
    const value = oldCell(plan, change, at);
    if (value === null) return `${target.name} is null`;
    const shown = value.length > shownCharacters ? `${value.slice(0, shownCharacters)}…` : value;
    return `${target.name} = '${shown}'`;
  });
  return ` where ${parts.join(' and ')}`;
}
