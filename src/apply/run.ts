/**
 * Strict order: consecutive changes of one kind on one relation become one run, which is one statement. Pure.
 *
 * A run ends before
 * 1. a change of another kind or relation, or an update that sends other columns;
 * 2. a second update of the same row: a statement updates a row once;
 * 3. an update that changes the key, which is a run alone: the order of the rows inside a statement is the server's
 *    affair, and one row may take the key that another gives up;
 * 4. an update that may touch a column of another unique or exclusion constraint, a run alone for the same reason;
 * 5. a change whose row is not found by a key, a run alone (relation-plan.ts);
 * 6. a truncate, a run alone;
 * 7. the bound of rows or bytes.
 * Transactions do not end a run: a group of them is one transaction on the target.
 */
import type { Delete, Insert, Truncate, Update } from '../model/change.js';
import { Failure } from '../failure.js';
import { cellAt, packedOf } from '../model/packed-row.js';
import { relationLabel } from '../model/relation.js';
import { unchanged, type Cell } from '../model/row.js';
import type { RelationPlan } from './relation-plan.js';

export type RowChange = Insert | Update | Delete;

export type Run =
  | { readonly kind: 'insert'; readonly plan: RelationPlan; readonly changes: readonly Insert[] }
  | {
      readonly kind: 'update';
      readonly plan: RelationPlan;
      readonly changes: readonly Update[];
      readonly sent: SentColumns;
    }
  | { readonly kind: 'delete'; readonly plan: RelationPlan; readonly changes: readonly Delete[] }
  | { readonly kind: 'truncate'; readonly plans: readonly RelationPlan[]; readonly change: Truncate };

/** Which columns of an update's row are set: all but unchanged TOAST values, and but the key where it stays. */
export type SentColumns = {
  /** Whether the columns that the row is found by may differ between old and new row. */
  readonly keyChanges: boolean;
  /** Positions of unchanged values, ascending, joined by commas; empty when all were sent. */
  readonly left: string;
};

export type RunBounds = { readonly maxRows: number; readonly maxBytes: number };

/** More rows hardly help: the cost of a statement is spread thin by then. Bytes bound the memory of both sides. */
export const runBounds: RunBounds = { maxRows: 2000, maxBytes: 1024 * 1024 };

/** For finding the change at fault: every run is one change. */
export const oneByOne: RunBounds = { maxRows: 1, maxBytes: 1 };

export class RunBuilder {
  readonly #bounds: RunBounds;
  #kind: RowChange['kind'] = 'insert';
  #plan: RelationPlan | null = null;
  #changes: RowChange[] = [];
  #sent: SentColumns = { keyChanges: false, left: '' };
  #keys = new Set<string>();
  #bytes = 0;
  /** The run takes no more. */
  #closed = false;

  constructor(bounds: RunBounds = runBounds) {
    this.#bounds = bounds;
  }

  /** Takes one change; returns the run that it ends, if any. */
  add(plan: RelationPlan, change: RowChange): Run | null {
    const sent = change.kind === 'update' ? sentColumns(plan, change) : this.#sent;
    const alone = isAlone(plan, change, sent);
    const key = change.kind === 'update' && !alone ? matchKey(plan, change) : '';
    const ended = this.#continues(plan, change, sent, alone, key) ? null : this.flush();
    if (this.#plan === null) {
      this.#kind = change.kind;
      this.#plan = plan;
      this.#sent = sent;
    }
    this.#changes.push(change);
    this.#bytes += changeBytes(change);
    if (change.kind === 'update' && !alone) this.#keys.add(key);
    this.#closed =
      alone || this.#changes.length >= this.#bounds.maxRows || this.#bytes >= this.#bounds.maxBytes;
    return ended;
  }

  /** The run that is under way, or null; the next change begins a new one. */
  flush(): Run | null {
    const plan = this.#plan;
    if (plan === null) return null;
    const changes = this.#changes;
    const sent = this.#sent;
    this.#plan = null;
    this.#changes = [];
    this.#bytes = 0;
    this.#closed = false;
    if (this.#keys.size > 0) this.#keys = new Set();
    switch (this.#kind) {
      case 'insert':
        return { kind: 'insert', plan, changes: changes as Insert[] };
      case 'update':
        return { kind: 'update', plan, changes: changes as Update[], sent };
      case 'delete':
        break;
    }
    return { kind: 'delete', plan, changes: changes as Delete[] };
  }

  #continues(plan: RelationPlan, change: RowChange, sent: SentColumns, alone: boolean, key: string): boolean {
    if (this.#plan === null) return true;
    if (this.#closed || alone || plan !== this.#plan || change.kind !== this.#kind) return false;
    return change.kind !== 'update' || (sent.left === this.#sent.left && !this.#keys.has(key));
  }
}

/** Cases 3, 4 and 5. */
function isAlone(plan: RelationPlan, change: RowChange, sent: SentColumns): boolean {
  switch (change.kind) {
    case 'insert':
      return false;
    case 'delete':
      return plan.match.kind !== 'key';
    case 'update':
      break;
  }
  return plan.match.kind !== 'key' || sent.keyChanges || touchesConstraint(plan, change);
}

/** Whether an update may touch a column of another constraint. Under FULL the old row tells; otherwise whatever was sent may have changed. */
export function touchesConstraint(plan: RelationPlan, update: Update): boolean {
  if (plan.constrained.size === 0) return false;
  const { columns, match } = plan;
  const full = plan.relation.identity === 'full' && update.key !== null;
  const keyColumns = match.kind === 'key' ? match.columns : [];
  return columns.some(({ at }) => {
    const cell = update.row[at];
    if (!plan.constrained.has(at) || cell === unchanged) return false;
    if (full) return update.key?.[at] !== cell;
    // The caller has seen that the key stays.
    return !keyColumns.some((column) => column.at === at);
  });
}

/** Which columns of an update's row a statement sets. */
export function sentColumns(plan: RelationPlan, update: Update): SentColumns {
  // Nothing is left out of a packed row.
  if (packedOf(update) !== undefined) return { keyChanges: keyChanges(plan, update), left: '' };
  const left: number[] = [];
  for (const { at } of plan.columns) if (update.row[at] === unchanged) left.push(at);
  return { keyChanges: keyChanges(plan, update), left: left.length === 0 ? '' : left.join(',') };
}

/** Whether a column that the row is found by gets another value. Equal text is equal value: one server printed both. */
export function keyChanges(plan: RelationPlan, update: Update): boolean {
  const { match } = plan;
  if (update.key === null || match.kind === 'none') return false;
  // A row that is found by all its values is set in all its values.
  if (match.kind === 'row') return true;
  return match.columns.some(({ at }) => {
    const cell = update.row[at];
    return cell !== unchanged && cell !== oldCell(plan, update, at);
  });
}

/**
 * A column's value before an update or delete, as far as the source sent it: in the key, or in the new row where the
 * identity did not change. Null too where the source sends nothing; then the column is not one that rows are found by.
 */
export function oldCell(plan: RelationPlan, change: Update | Delete, at: number): string | null {
  if (change.key === null) {
    const cell = change.kind === 'update' ? cellAt(change, at) : undefined;
    if (cell === unchanged || cell === undefined) throw unsent(plan, at);
    return cell;
  }
  const place = plan.relation.identity === 'full' ? at : plan.relation.key.indexOf(at);
  const cell = change.key[place];
  if (cell === undefined) throw unsent(plan, at);
  return cell;
}

function unsent(plan: RelationPlan, at: number): Failure {
  const column = plan.relation.columns[at]?.name ?? String(at);
  return new Failure(
    'message-unreadable',
    `a change of ${relationLabel(plan.relation)} came without the old value of its column "${column}"`,
  );
}

function matchKey(plan: RelationPlan, update: Update): string {
  if (plan.match.kind !== 'key') return '';
  const { columns } = plan.match;
  const [first] = columns;
  if (columns.length === 1 && first !== undefined) return oldCell(plan, update, first.at) ?? '';
  // No value holds NUL.
  return columns.map(({ at }) => oldCell(plan, update, at) ?? '').join('\0');
}

/** About how many bytes a change takes: characters, which is close enough for a bound. */
export function changeBytes(change: RowChange): number {
  let bytes = 0;
  if (change.kind !== 'delete') {
    const packed = packedOf(change);
    if (packed !== undefined) bytes += packed.end - packed.start + 4 * change.relation.columns.length;
    else for (const cell of change.row) bytes += cellBytes(cell);
  }
  if (change.kind !== 'insert' && change.key !== null) {
    for (const cell of change.key) bytes += cellBytes(cell);
  }
  return bytes;
}

function cellBytes(cell: Cell): number {
  return typeof cell === 'string' ? cell.length + 4 : 4;
}
