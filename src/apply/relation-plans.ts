import { relationLabel, type Relation } from '../model/relation.js';
import type { WireSession } from '../postgres/wire-session.js';
import { planRelation, type RelationPlan } from './relation-plan.js';
import { fetchTargetTables, type TableName, type TargetTable } from './target-table.js';

/**
 * The plans of the relations met so far. They are made when they are needed, for all relations described by then at
 * once, so that a thousand tables do not cost a thousand round trips.
 */
export class RelationPlans {
  #byRelation = new WeakMap<Relation, RelationPlan>();
  /** By content: every transform file describes its relations anew. */
  #byDescription = new Map<string, RelationPlan>();
  /** Described by the stream and not planned. */
  #described = new Map<string, Relation>();
  /** Tables, `schema.name`, in whose sets values of a second constraint have met. Kept. */
  readonly #contested = new Set<string>();
  /** One of a partition, whose table in the stream may be its root. */
  #contestedPartition = false;

  /** Notes a description; it is planned together with the next one that is needed. */
  describe(relation: Relation): void {
    const description = descriptionOf(relation);
    if (!this.#byDescription.has(description)) this.#described.set(description, relation);
  }

  /** The plan of a relation, where it is known already. */
  get(relation: Relation): RelationPlan | undefined {
    const plan = this.#byRelation.get(relation);
    if (plan !== undefined) return plan;
    const same = this.#byDescription.get(descriptionOf(relation));
    if (same !== undefined) this.#byRelation.set(relation, same);
    return same;
  }

  /** Makes the plan of `needed`, and of all others described by now that can be made. Throws `relation-missing`. */
  async fetch(session: WireSession, needed: Relation): Promise<RelationPlan> {
    this.#described.set(descriptionOf(needed), needed);
    const described = [...this.#described];
    const tables = await fetchTargetTables(
      session,
      described.map(([, relation]) => relation),
    );
    for (const [n, [description, relation]] of described.entries()) {
      const table = tables[n] ?? null;
      // One that nothing was changed in yet may still be created.
      if (relation === needed || table !== null)
        this.#tryPlan(description, relation, table, relation === needed);
    }
    return this.#byDescription.get(descriptionOf(needed)) as RelationPlan;
  }

  #tryPlan(description: string, relation: Relation, table: TargetTable | null, needed: boolean): void {
    try {
      this.#byDescription.set(
        description,
        planRelation(relation, table, { contested: this.#isContested(relation, table) }),
      );
      this.#described.delete(description);
    } catch (error) {
      if (needed) throw error;
    }
  }

  /** A constraint of this table objected to the order inside of a set. */
  contest(schema: string, name: string): void {
    this.#contested.add(relationLabel({ schema, name }));
    this.#contestedPartition ||= ![...this.#byDescription.values()].some(
      ({ relation }) => relation.schema === schema && relation.name === name,
    );
  }

  #isContested(relation: Relation, table: TargetTable | null): boolean {
    if (this.#contested.has(relationLabel(relation))) return true;
    return this.#contestedPartition && table?.partitioned === true;
  }

  /** The tables planned so far that do something of their own when rows change, without those of `guarded`. */
  unguarded(guarded: ReadonlySet<string>): TableName[] {
    const plans = [...this.#byDescription.values()].filter(
      ({ ordered, hidden, columns }) =>
        ordered || hidden || columns.some(({ target }) => target.identityAlways),
    );
    const tables = plans.filter(({ relation }) => !guarded.has(relationLabel(relation)));
    return tables.map(({ relation: { schema, name } }) => ({ schema, name }));
  }

  /** After a failure: the target's tables may have been changed since. */
  forgetAll(): void {
    this.#byRelation = new WeakMap();
    this.#byDescription = new Map();
  }
}

function descriptionOf({ schema, name, identity, columns, key }: Relation): string {
  return JSON.stringify([schema, name, identity, columns.map((column) => column.name), key]);
}
