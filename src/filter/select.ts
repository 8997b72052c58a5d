/**
 * What the rules themselves say of a source's objects, before anything is known of what depends on what: steps 1 and 4
 * of decide.ts. Pure.
 */
import type {
  CatalogObject,
  FilterFacts,
  FilterRelation,
  FilterRule,
  FilterSection,
} from '../model/object-filter.js';

/** OIDs of system catalogs, the same on every server. */
export const relationClass = 1259;
export const namespaceClass = 2615;
export const constraintClass = 2606;
export const extensionClass = 3079;

/** `line 12, [exclude-table] public.audit_log`. */
function ruleLabel(rule: FilterRule): string {
  return `line ${rule.line}, [${rule.section}] ${rule.entry}`;
}

/** What step 1 decides, before dependencies are known. */
export type Roots = {
  readonly objects: readonly CatalogObject[];
  /** Materialized views that read these have no rows to be computed from. */
  readonly withoutRows: readonly CatalogObject[];
};

/** Steps 1 and 4: what the rules themselves say. */
export class Selection {
  readonly rules: readonly FilterRule[];
  readonly facts: FilterFacts;
  /** OIDs of schemas, and why they are left out. */
  readonly schemas = new Map<number, string>();
  readonly relations = new Map<number, string>();
  readonly withoutRows = new Map<number, string>();
  readonly extensions = new Map<number, string>();
  readonly indexes = new Map<number, string>();
  /** With [include-only-table]: what it names, and why. */
  readonly included: ReadonlyMap<number, string> | null;
  /** Partitioned tables that are kept for the sake of a partition alone: their other partitions are not. */
  readonly shells: ReadonlySet<number>;
  readonly byOid: ReadonlyMap<number, FilterRelation>;
  readonly #partitions: ReadonlyMap<number, readonly FilterRelation[]>;

  constructor(rules: readonly FilterRule[], facts: FilterFacts) {
    this.rules = rules;
    this.facts = facts;
    this.byOid = new Map(facts.relations.map((relation) => [relation.oid, relation]));
    this.#partitions = partitionsByParent(facts.relations);
    this.#selectSchemas();
    this.included = this.uses('include-only-table') ? this.#includedTables() : null;
    this.shells = this.#shells();
    this.#selectRelations();
    this.#selectRows();
    for (const [oid, rule] of this.#matched('exclude-index')) this.indexes.set(oid, rule);
    this.#selectExtensions();
  }

  uses(section: FilterSection): boolean {
    return this.rules.some((rule) => rule.section === section);
  }

  /** OIDs that rules of a section match; the first rule counts. */
  #matched(section: FilterSection): Map<number, string> {
    const matched = new Map<number, string>();
    for (const [position, rule] of this.rules.entries()) {
      if (rule.section !== section) continue;
      for (const oid of this.facts.matches.get(position) ?? []) {
        if (!matched.has(oid)) matched.set(oid, ruleLabel(rule));
      }
    }
    return matched;
  }

  #selectSchemas(): void {
    const excluded = this.#matched('exclude-schema');
    const included = this.#matched('include-only-schema');
    for (const { oid } of this.facts.schemas) {
      const rule = excluded.get(oid);
      if (rule !== undefined) this.schemas.set(oid, rule);
      else if (this.uses('include-only-schema') && !included.has(oid)) {
        this.schemas.set(oid, 'not in [include-only-schema]');
      }
    }
  }

  /** A partitioned table that is named brings its partitions: they are its rows. */
  #includedTables(): Map<number, string> {
    const included = this.#matched('include-only-table');
    for (const [oid, rule] of [...included]) {
      for (const below of this.#below(oid)) {
        if (!included.has(below.oid)) included.set(below.oid, rule);
      }
    }
    return included;
  }

  /** A partition that is named brings the tables above it, without which it would not be one. */
  #shells(): Set<number> {
    const shells = new Set<number>();
    for (const oid of this.included?.keys() ?? []) {
      for (let above = this.#parentOf(oid); above !== undefined; above = this.#parentOf(above.oid)) {
        if (this.included?.has(above.oid) === true) break;
        shells.add(above.oid);
      }
    }
    return shells;
  }

  #parentOf(oid: number): FilterRelation | undefined {
    return this.byOid.get(this.byOid.get(oid)?.partitionOf ?? -1);
  }

  /** Everything below a partitioned table. */
  #below(oid: number): FilterRelation[] {
    const direct = this.#partitions.get(oid) ?? [];
    return [...direct, ...direct.flatMap((one) => this.#below(one.oid))];
  }

  #selectRelations(): void {
    const excluded = this.#matched('exclude-table');
    const schemas = new Map(this.facts.schemas.map((schema) => [schema.name, schema.oid]));
    for (const relation of this.facts.relations) {
      const { oid } = relation;
      const rule = this.schemas.get(schemas.get(relation.schema) ?? -1) ?? excluded.get(oid);
      if (rule !== undefined) this.relations.set(oid, rule);
      // Views stay as long as what they read does.
      else if (
        relation.kind !== 'view' &&
        this.included !== null &&
        !this.included.has(oid) &&
        !this.shells.has(oid)
      ) {
        this.relations.set(oid, 'not in [include-only-table]');
      }
    }
  }

  #selectRows(): void {
    for (const [oid, rule] of this.#matched('exclude-table-data')) {
      this.withoutRows.set(oid, rule);
      for (const below of this.#below(oid)) this.withoutRows.set(below.oid, rule);
    }
  }

  #selectExtensions(): void {
    const excluded = this.#matched('exclude-extension');
    const included = this.#matched('include-only-extension');
    for (const { oid } of this.facts.extensions) {
      const rule = excluded.get(oid);
      if (rule !== undefined) this.extensions.set(oid, rule);
      else if (this.uses('include-only-extension') && !included.has(oid)) {
        this.extensions.set(oid, 'not in [include-only-extension]');
      }
    }
  }

  /** What the dependencies are asked for. */
  roots(): Roots {
    const relation = (oid: number) => ({ classOid: relationClass, oid });
    const constraints = new Map(this.facts.indexes.map((index) => [index.oid, index.constraintOid]));
    const above = new Set(this.facts.indexes.flatMap((index) => index.above));
    const rowless = [...this.withoutRows.keys()];
    return {
      objects: [
        ...[...this.schemas.keys()].map((oid) => ({ classOid: namespaceClass, oid })),
        ...[...this.relations.keys()].map(relation),
        ...[...this.indexes.keys()].flatMap((oid) => {
          const constraint = constraints.get(oid) ?? null;
          const itself = relation(oid);
          return constraint === null ? [itself] : [itself, { classOid: constraintClass, oid: constraint }];
        }),
        ...[...above].map(relation),
      ],
      withoutRows: [...new Set(rowless.flatMap((oid) => [oid, ...this.#above(oid)]))].map(relation),
    };
  }

  #above(oid: number): number[] {
    const parent = this.#parentOf(oid);
    return parent === undefined ? [] : [parent.oid, ...this.#above(parent.oid)];
  }
}

function partitionsByParent(relations: readonly FilterRelation[]): Map<number, FilterRelation[]> {
  const partitions = new Map<number, FilterRelation[]>();
  for (const relation of relations) {
    if (relation.partitionOf === null) continue;
    const others = partitions.get(relation.partitionOf);
    if (others === undefined) partitions.set(relation.partitionOf, [relation]);
    else others.push(relation);
  }
  return partitions;
}

/** Step 1: what to ask the source's dependencies for. */
export function chooseRoots(rules: readonly FilterRule[], facts: FilterFacts): Roots {
  return new Selection(rules, facts).roots();
}
