/**
 * Sets: what a stretch of the stream amounts to per row, as few statements as that takes. Pure.
 *
 * Per relation and key one entry says what the row is now against what it was when the set began:
 *
 *            insert    update            delete    key changes to another
 *   (none)   insert    update            delete    delete, and insert there
 *   insert   !         insert            (none)    (none), and insert there
 *   update   !         update (merged)   delete    delete, and insert there
 *   delete   replace   !                 !         !
 *   replace  !         replace           delete    delete, and insert there
 *
 * `replace` is a delete and an insert. `!` is what no source can do to a row: the set ends, and the change is left to
 * the server to judge. An update that changes the key is a delete and an insert only where the whole row is known and
 * the target has no columns beside it; otherwise the set of its relation ends, and it is a statement of its own.
 *
 * A flushed relation gives its deletes first, then its updates (one statement per set of sent columns), then its
 * inserts, so that no value is taken before it is given up. Relations do not depend on each other here: what the
 * target would do for them (foreign keys, triggers) the source has done already. Where a target does it all the same
 * (`plan.ordered`), such a relation's changes keep their place among all others.
 *
 * A text names one value of a key as long as the source prints it: two texts for equal values (1.0 and 1.00) are never
 * in a table at the same time, and the deletes come before the inserts.
 */
import type { Delete, Insert, Update } from '../model/change.js';
import { packedInsert, cellAt, mapKey, mapKeyAt, packedOf } from '../model/packed-row.js';
import { relationLabel } from '../model/relation.js';
import { unchanged, type Cell, type Key, type Row } from '../model/row.js';
import type { RelationPlan } from './relation-plan.js';
import { SetSize } from './set-size.js';
import {
  RunBuilder,
  changeBytes,
  keyChanges,
  oldCell,
  runBounds,
  sentColumns,
  touchesConstraint,
  type RowChange,
  type Run,
} from './run.js';

/** Takes changes in order and gives the runs that have to be sent, in order. */
export interface ChangeGatherer {
  /** Takes one change; returns what must be sent before the next, mostly nothing. */
  add(plan: RelationPlan, change: RowChange): readonly Run[];
  /** Everything that is gathered. */
  flush(): readonly Run[];
  /** Whether a flush gives nothing. */
  readonly empty: boolean;
  /** All changes taken so far, and about how many bytes they have. */
  readonly changesTaken: number;
  readonly bytesTaken: number;
}

export type SetBounds = {
  /** Changes taken, and about how many bytes they have: what a set may hold in memory. */
  readonly maxChanges: number;
  /** As many as that where larger sets would hardly be fewer rows (set-size.ts). */
  readonly minChanges: number;
  readonly maxBytes: number;
  /** Of one statement. */
  readonly statement: { readonly maxRows: number; readonly maxBytes: number };
};

export const setBounds: SetBounds = {
  maxChanges: 20_000,
  minChanges: 1000,
  maxBytes: 4 * 1024 * 1024,
  statement: runBounds,
};

const nothing: readonly Run[] = [];

/** One change after the other: for looking for the change at fault. */
export class OneByOne implements ChangeGatherer {
  readonly #builder = new RunBuilder({ maxRows: 1, maxBytes: 1 });
  #empty = true;
  changesTaken = 0;
  bytesTaken = 0;

  get empty(): boolean {
    return this.#empty;
  }

  add(plan: RelationPlan, change: RowChange): readonly Run[] {
    this.#empty = false;
    this.changesTaken += 1;
    this.bytesTaken += changeBytes(change);
    const run = this.#builder.add(plan, change);
    return run === null ? nothing : [run];
  }

  flush(): readonly Run[] {
    this.#empty = true;
    const run = this.#builder.flush();
    return run === null ? nothing : [run];
  }
}

/**
 * What became of one row: the change itself where there was one. A delete keeps what the row is found by; the row of an
 * update may have unchanged cells.
 */
type Entry = RowChange | { readonly kind: 'replace'; readonly gone: Delete; readonly insert: Insert };

/** What a row is found by among those of its relation: its key, or a text of all of them. */
type RowKey = string | number;

type RelationSet = {
  readonly plan: RelationPlan;
  readonly entries: Map<RowKey, Entry>;
  /** Of a relation whose rows have no key. */
  keyless: Insert[];
};

export class ChangeSets implements ChangeGatherer {
  readonly #bounds: SetBounds;
  readonly #sets = new Map<RelationPlan, RelationSet>();
  /** The description that a table was last seen with: another one is another plan for the same rows. */
  readonly #plans = new Map<string, RelationPlan>();
  /** Runs of `ordered` relations; never together with sets. */
  readonly #ordered: RunBuilder;
  #orderedOpen = false;
  #changes = 0;
  #bytes = 0;
  readonly #size: SetSize;
  changesTaken = 0;
  bytesTaken = 0;

  constructor(bounds: SetBounds = setBounds) {
    this.#bounds = bounds;
    this.#size = new SetSize(bounds);
    this.#ordered = new RunBuilder(bounds.statement);
  }

  get empty(): boolean {
    return this.#changes === 0 && !this.#orderedOpen;
  }

  add(plan: RelationPlan, change: RowChange): readonly Run[] {
    const bytes = changeBytes(change);
    this.changesTaken += 1;
    this.bytesTaken += bytes;
    if (plan.ordered) return this.#addOrdered(plan, change);
    const before = this.#orderedOpen ? this.#flushOrdered() : nothing;
    const after = this.#addToSet(plan, change, bytes);
    return before.length === 0 ? after : [...before, ...after];
  }

  flush(): readonly Run[] {
    if (this.#orderedOpen) return this.#flushOrdered();
    if (this.#changes === 0) return nothing;
    const runs: Run[] = [];
    for (const set of this.#sets.values()) runsOf(set, this.#bounds.statement, runs);
    this.#sets.clear();
    this.#plans.clear();
    this.#changes = 0;
    this.#bytes = 0;
    return runs;
  }

  #addOrdered(plan: RelationPlan, change: RowChange): readonly Run[] {
    const before = this.#changes > 0 ? this.flush() : nothing;
    this.#orderedOpen = true;
    const run = this.#ordered.add(plan, change);
    return run === null ? before : [...before, run];
  }

  #flushOrdered(): readonly Run[] {
    this.#orderedOpen = false;
    const run = this.#ordered.flush();
    return run === null ? nothing : [run];
  }

  #addToSet(plan: RelationPlan, change: RowChange, bytes: number): readonly Run[] {
    let before = nothing;
    let set = this.#sets.get(plan);
    if (set === undefined) {
      // The table was altered: what was gathered under its old description goes first.
      if (this.#isOtherPlan(plan)) before = this.flush();
      set = { plan, entries: new Map(), keyless: [] };
      this.#sets.set(plan, set);
      this.#plans.set(relationLabel(plan.relation), plan);
    }
    if (!this.#take(set, change)) {
      const runs = [...before];
      runsOf(set, this.#bounds.statement, runs);
      set.entries.clear();
      set.keyless = [];
      runs.push(alone(plan, change));
      return runs;
    }
    this.#changes += 1;
    this.#bytes += bytes;
    const isLong = this.#changes >= this.#size.current;
    if (!isLong && this.#bytes < this.#bounds.maxBytes) return before;
    if (isLong) this.#noteSize();
    return before.length === 0 ? this.flush() : [...before, ...this.flush()];
  }

  #noteSize(): void {
    let rows = 0;
    for (const { entries, keyless } of this.#sets.values()) rows += entries.size + keyless.length;
    this.#size.wasFull(this.#changes, rows);
  }

  #isOtherPlan(plan: RelationPlan): boolean {
    const known = this.#plans.get(relationLabel(plan.relation));
    return known !== undefined && known !== plan;
  }

  /** Takes a change into a set, if it can be part of one. */
  #take(set: RelationSet, change: RowChange): boolean {
    const { plan } = set;
    if (plan.match.kind !== 'key') {
      // Which of several equal rows is meant depends on which are there: only inserts can wait.
      if (change.kind !== 'insert') return false;
      set.keyless.push(change);
      return true;
    }
    switch (change.kind) {
      case 'insert':
        return takeInsert(set, newKey(plan, change, null), change);
      case 'delete':
        return takeDelete(set, oldKey(plan, change), change);
      case 'update':
        break;
    }
    return takeUpdate(set, change);
  }
}

function takeInsert({ entries }: RelationSet, key: RowKey, insert: Insert): boolean {
  const entry = entries.get(key);
  if (entry === undefined) entries.set(key, insert);
  else if (entry.kind === 'delete') entries.set(key, { kind: 'replace', gone: entry, insert });
  else return false;
  return true;
}

function takeDelete({ entries }: RelationSet, key: RowKey, gone: Delete): boolean {
  const entry = entries.get(key);
  switch (entry?.kind) {
    case 'delete':
      return false;
    case 'insert':
      entries.delete(key);
      return true;
    case 'replace':
      entries.set(key, entry.gone);
      return true;
    case 'update':
    case undefined:
      break;
  }
  entries.set(key, gone);
  return true;
}

function takeUpdate(set: RelationSet, update: Update): boolean {
  const { plan, entries } = set;
  const from = oldKey(plan, update);
  const entry = entries.get(from);
  if (entry?.kind === 'delete') return false;
  if (keyChanges(plan, update)) return takeKeyChange(set, from, entry, update);
  switch (entry?.kind) {
    case 'insert':
      entries.set(from, updatedInsert(entry, update));
      return true;
    case 'replace':
      entries.set(from, {
        kind: 'replace',
        gone: entry.gone,
        insert: updatedInsert(entry.insert, update),
      });
      return true;
    case 'update':
    case undefined:
      break;
  }
  if (plan.contested && touchesConstraint(plan, update)) {
    const row = entry === undefined ? update.row : merged(entry.row, update);
    const whole = wholeRow(plan, row, update);
    if (whole === null) return false;
    const gone = deletion(plan, entry ?? update);
    entries.set(from, { kind: 'replace', gone, insert: inserted(update.relation, whole) });
    return true;
  }
  entries.set(from, entry === undefined ? update : updatedUpdate(entry, update));
  return true;
}

/** An insert and an update of its row as one insert. */
function updatedInsert(insert: Insert, update: Update): Insert {
  const packed = packedOf(update);
  return packed === undefined
    ? inserted(update.relation, merged(insert.row, update))
    : packedInsert(update.relation, packed);
}

/** Two updates of a row as one; neither changes the key. */
function updatedUpdate(before: Update, update: Update): Update {
  // Nothing of the one before is left where every value is new.
  if (packedOf(update) !== undefined) return update;
  const row = merged(before.row, update);
  const { relation, key } = update;
  return row === update.row ? update : { kind: 'update', relation, key, row };
}

function takeKeyChange(set: RelationSet, from: RowKey, entry: Entry | undefined, update: Update): boolean {
  const { plan, entries } = set;
  const to = newKey(plan, update, update);
  const there = entries.get(to);
  if (there !== undefined && there.kind !== 'delete') return false;
  const known = entry === undefined ? null : rowOf(entry);
  const row = wholeRow(plan, known === null ? update.row : merged(known, update), update);
  if (row === null) return false;
  switch (entry?.kind) {
    case 'insert':
      entries.delete(from);
      break;
    case 'replace':
      entries.set(from, entry.gone);
      break;
    case 'update':
    case 'delete':
    case undefined:
      entries.set(from, deletion(plan, update));
      break;
  }
  const insert = inserted(update.relation, row);
  entries.set(to, there === undefined ? insert : { kind: 'replace', gone: there, insert });
  return true;
}

function rowOf(entry: Entry): Row | null {
  switch (entry.kind) {
    case 'replace':
      return entry.insert.row;
    case 'insert':
    case 'update':
      return entry.row;
    case 'delete':
      break;
  }
  return null;
}

function inserted(relation: Insert['relation'], row: Row): Insert {
  return { kind: 'insert', relation, row };
}

/** The row after an update of `before`: what was not sent is as it was. */
function merged(before: Row, { row }: Pick<Update, 'row'>): Row {
  let result: Cell[] | null = null;
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] !== unchanged) continue;
    result ??= [...row];
    result[at] = before[at] as Cell;
  }
  return result ?? row;
}

/** The row, where an insert of it leaves nothing out; null where it would. Under FULL the old row tells what was not sent. */
function wholeRow(plan: RelationPlan, row: Row, update: Update): Row | null {
  if (!plan.whole) return null;
  const old = plan.relation.identity === 'full' ? update.key : null;
  const full = old === null ? row : merged(old, { row });
  return plan.columns.every(({ at }) => full[at] !== unchanged) ? full : null;
}

/** What takes away the row that an update is about. */
function deletion(plan: RelationPlan, update: Update): Delete {
  const { relation } = update;
  if (update.key !== null) return { kind: 'delete', relation, key: update.key };
  const key: Key = plan.relation.key.map((at) => {
    const cell = update.row[at];
    return typeof cell === 'string' ? cell : null;
  });
  return { kind: 'delete', relation, key };
}

/** What a row is found by, before the change. */
function oldKey(plan: RelationPlan, change: Update | Delete): RowKey {
  const columns = keyColumns(plan);
  const [first] = columns;
  if (columns.length === 1 && first !== undefined) {
    // The identity did not change: it stands in the new row.
    if (change.kind === 'update' && packedOf(change) !== undefined) return mapKeyAt(change, first.at);
    return mapKey(oldCell(plan, change, first.at) ?? '');
  }
  // No value holds NUL.
  return columns.map(({ at }) => oldCell(plan, change, at) ?? '').join('\0');
}

/** What a row is found by, after the change; of an update, what was not sent is in its old key. */
function newKey(plan: RelationPlan, change: Insert | Update, update: Update | null): RowKey {
  const columns = keyColumns(plan);
  const [first] = columns;
  const textAt = (at: number): string => {
    const cell = cellAt(change, at);
    if (typeof cell === 'string') return cell;
    return cell === unchanged && update !== null ? (oldCell(plan, update, at) ?? '') : '';
  };
  if (columns.length === 1 && first !== undefined) {
    return packedOf(change) === undefined ? mapKey(textAt(first.at)) : mapKeyAt(change, first.at);
  }
  return columns.map(({ at }) => textAt(at)).join('\0');
}

function keyColumns({ match }: RelationPlan) {
  return match.kind === 'key' ? match.columns : [];
}

function alone(plan: RelationPlan, change: RowChange): Run {
  switch (change.kind) {
    case 'insert':
      return { kind: 'insert', plan, changes: [change] };
    case 'delete':
      return { kind: 'delete', plan, changes: [change] };
    case 'update':
      break;
  }
  return { kind: 'update', plan, changes: [change], sent: sentColumns(plan, change) };
}

/** The runs of one relation, behind those that are there: deletes, updates, inserts. */
function runsOf({ plan, entries, keyless }: RelationSet, bounds: SetBounds['statement'], runs: Run[]): void {
  const deletes: Delete[] = [];
  const updates = new Map<string, Update[]>();
  const inserts: Insert[] = keyless;
  for (const entry of entries.values()) {
    switch (entry.kind) {
      case 'insert':
        inserts.push(entry);
        break;
      case 'delete':
        deletes.push(entry);
        break;
      case 'replace':
        deletes.push(entry.gone);
        inserts.push(entry.insert);
        break;
      case 'update': {
        const { left } = sentColumns(plan, entry);
        const same = updates.get(left);
        if (same === undefined) updates.set(left, [entry]);
        else same.push(entry);
        break;
      }
    }
  }
  for (const changes of portions(deletes, bounds)) {
    runs.push({ kind: 'delete', plan, changes });
  }
  for (const [left, same] of updates) {
    for (const changes of portions(same, bounds)) {
      runs.push({ kind: 'update', plan, changes, sent: { keyChanges: false, left } });
    }
  }
  // COPY is a stream: it has no size of its own.
  const unbounded = { maxRows: Infinity, maxBytes: Infinity };
  for (const changes of portions(inserts, plan.copyable ? unbounded : bounds)) {
    runs.push({ kind: 'insert', plan, changes });
  }
}

function portions<T extends RowChange>(
  changes: readonly T[],
  { maxRows, maxBytes }: SetBounds['statement'],
): (readonly T[])[] {
  if (maxRows === Infinity) return changes.length === 0 ? [] : [changes];
  const all: (readonly T[])[] = [];
  let bytes = 0;
  let from = 0;
  for (let at = 0; at < changes.length; at += 1) {
    bytes += changeBytes(changes[at] as T);
    if (at + 1 < changes.length && at + 1 - from < maxRows && bytes < maxBytes) continue;
    all.push(changes.slice(from, at + 1));
    from = at + 1;
    bytes = 0;
  }
  return all;
}
