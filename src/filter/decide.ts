/**
 * What the filter means for a source: one object that everybody asks, so that schema, rows, indexes, sequences, stream
 * and verification are decided alike. Pure: the facts and dependencies were asked from the source before.
 *
 * In this order:
 *   1 schemas, tables and indexes that a rule names (or, with include-only, does not name) are left out
 *   2 so is everything that depends on them, as Postgres records it
 *   3 sequences: left out with their schema or their owner, unless a table that stays owns or reads them
 *   4 rows: those of exclude-table-data, and of the partitions below
 * What is not left out stays: nothing is left out because it is not needed any more.
 */
import type {
  CatalogObject,
  Dependency,
  FilterFacts,
  FilterRelation,
  FilterRule,
  FilterScope,
} from '../model/object-filter.js';
import { relationLabel } from '../model/relation.js';
import { constraintClass, extensionClass, namespaceClass, relationClass, Selection } from './select.js';

export type TableName = { readonly schema: string; readonly name: string };

/** `rule` says which line of the file decided, or on what the table depends; null where no rule speaks of it. */
export type TableDecision = {
  readonly schema: boolean;
  readonly data: boolean;
  readonly rule: string | null;
};
export type Decision = { readonly kept: boolean; readonly rule: string | null };

/** Something left out, for a list. */
export type LeftOut = CatalogObject & { readonly rule: string };

/** A table that stays and that its CREATE TABLE cannot make, since a part of it needs what is left out. */
export type Contradiction = { readonly object: CatalogObject; readonly rule: string };

const kept: Decision = { kept: true, rule: null };

/** Why an object is left out: the rule at the beginning, and the relation that it depends on (null: named itself). */
type Why = { readonly rule: string; readonly on: FilterRelation | null; readonly part: boolean };

function explain({ rule, on }: Why): string {
  return on === null ? rule : `depends on ${relationLabel(on)} (${rule})`;
}

/** An object of a system catalog as one number: both halves are 32 bits, catalogs' own OIDs are small. */
function keyOf({ classOid, oid }: CatalogObject): number {
  return classOid * 2 ** 32 + oid;
}

function objectOf(key: number): CatalogObject {
  return { classOid: Math.floor(key / 2 ** 32), oid: key % 2 ** 32 };
}

function nameKey({ schema, name }: TableName): string {
  return JSON.stringify([schema, name]);
}

/** Steps 1 to 4. `dependencies` holds at least those that lead, over any number of links, to the roots. */
export function decideObjects(
  rules: readonly FilterRule[],
  facts: FilterFacts,
  dependencies: readonly Dependency[],
): ObjectFilter {
  return new ObjectFilter(new Selection(rules, facts), dependencies);
}

/** What is copied and followed, and what is not. */
export class ObjectFilter {
  readonly #selection: Selection;
  readonly #leftOut = new Map<number, Why>();
  readonly #unrefreshed = new Map<number, string>();
  readonly #dependents = new Map<number, Dependency[]>();
  readonly #byName: ReadonlyMap<string, FilterRelation>;
  readonly #sequences: ReadonlyMap<string, number>;
  readonly #owners: ReadonlyMap<number, number | null>;
  readonly #keptSchemas = new Set<string>();

  constructor(selection: Selection, dependencies: readonly Dependency[]) {
    this.#selection = selection;
    const { facts } = selection;
    this.#byName = new Map(facts.relations.map((relation) => [nameKey(relation), relation]));
    this.#sequences = new Map(facts.sequences.map((sequence) => [nameKey(sequence), sequence.oid]));
    this.#owners = new Map(facts.sequences.map(({ oid, owner }) => [oid, owner]));
    for (const dependency of dependencies) {
      const key = keyOf(dependency.needs);
      const others = this.#dependents.get(key);
      if (others === undefined) this.#dependents.set(key, [dependency]);
      else others.push(dependency);
    }
    this.#leaveOut();
    this.#findUnrefreshed();
  }

  /** Steps 1 to 3. */
  #leaveOut(): void {
    const { facts, schemas, relations, indexes, extensions } = this.#selection;
    for (const [oid, rule] of relations)
      this.#add({ classOid: relationClass, oid }, { rule, on: null, part: false });
    for (const { oid, constraintOid } of facts.indexes) {
      const rule = indexes.get(oid);
      if (rule === undefined) continue;
      this.#add({ classOid: relationClass, oid }, { rule, on: null, part: false });
      if (constraintOid !== null)
        this.#add({ classOid: constraintClass, oid: constraintOid }, { rule, on: null, part: true });
    }
    for (const [oid, rule] of schemas)
      this.#add({ classOid: namespaceClass, oid }, { rule, on: null, part: false });
    this.#leaveOutKeysToParts();
    const sequences = new Set(facts.sequences.map(({ oid }) => keyOf({ classOid: relationClass, oid })));
    this.#follow([...this.#leftOut.keys()], sequences);
    this.#leaveOutSequences(sequences);
    for (const { oid, schema } of facts.extensions) {
      const rule = extensions.get(oid);
      if (rule === undefined) this.#keptSchemas.add(schema);
      else this.#leftOut.set(keyOf({ classOid: extensionClass, oid }), { rule, on: null, part: false });
    }
    for (const { oid, name } of facts.schemas) {
      // Something that stays needs a schema to be in, whatever was said of the schema.
      if (this.#keptSchemas.has(name)) this.#leftOut.delete(keyOf({ classOid: namespaceClass, oid }));
    }
  }

  /** Foreign keys that point at a partitioned key of which a part is left out: it is not valid, and cannot be pointed at. */
  #leaveOutKeysToParts(): void {
    const { facts, indexes, relations, byOid } = this.#selection;
    for (const { oid, table, above } of facts.indexes) {
      const rule = indexes.get(oid);
      if (rule === undefined || relations.has(table)) continue;
      for (const index of above.map((one) => keyOf({ classOid: relationClass, oid: one }))) {
        for (const { object } of this.#dependents.get(index) ?? []) {
          // The key's own constraint needs its index, and the index it.
          const ofIndex = (this.#dependents.get(keyOf(object)) ?? []).some(
            (one) => keyOf(one.object) === index,
          );
          if (object.classOid !== constraintClass || ofIndex) continue;
          this.#add(object, { rule, on: byOid.get(table) ?? null, part: false });
        }
      }
    }
  }

  #add(object: CatalogObject, why: Why): boolean {
    const key = keyOf(object);
    if (this.#leftOut.has(key)) return false;
    this.#leftOut.set(key, why);
    return true;
  }

  /** Everything that depends on these, but neither sequences nor what is beyond them. */
  #follow(from: readonly number[], not: ReadonlySet<number>): void {
    const open = [...from];
    for (let key = open.pop(); key !== undefined; key = open.pop()) {
      for (const { object, part } of this.#dependents.get(key) ?? []) {
        if (not.has(keyOf(object))) continue;
        const why = { ...this.#reasonBehind(key), part };
        if (this.#add(object, why)) open.push(keyOf(object));
      }
    }
  }

  /** For what depends on it: the nearest relation is named, what lies between says nothing to people. */
  #reasonBehind(key: number): Pick<Why, 'rule' | 'on'> {
    const why = this.#leftOut.get(key);
    if (why === undefined) return { rule: '', on: null };
    const { classOid, oid } = objectOf(key);
    const relation = classOid === relationClass ? this.#selection.byOid.get(oid) : undefined;
    return relation === undefined ? why : { rule: why.rule, on: relation };
  }

  #leaveOutSequences(all: ReadonlySet<number>): void {
    const { facts, schemas } = this.#selection;
    const schemaOids = new Map(facts.schemas.map((schema) => [schema.name, schema.oid]));
    const isOut = (oid: number) => this.#leftOut.has(keyOf({ classOid: relationClass, oid }));
    const stays = new Set(all);
    let grown = true;
    while (grown) {
      grown = false;
      for (const sequence of facts.sequences) {
        const key = keyOf({ classOid: relationClass, oid: sequence.oid });
        const { owner } = sequence;
        if (!stays.has(key) || sequence.usedBy.some((table) => !isOut(table))) continue;
        if (owner !== null && !isOut(owner)) continue;
        const schemaRule = schemas.get(schemaOids.get(sequence.schema) ?? -1);
        if (owner === null && schemaRule === undefined) continue;
        const reason =
          schemaRule === undefined
            ? this.#reasonBehind(keyOf({ classOid: relationClass, oid: owner ?? -1 }))
            : { rule: schemaRule, on: null };
        stays.delete(key);
        grown = true;
        if (this.#add({ classOid: relationClass, oid: sequence.oid }, { ...reason, part: owner !== null })) {
          this.#follow([key], stays);
        }
      }
    }
    for (const sequence of facts.sequences) {
      if (stays.has(keyOf({ classOid: relationClass, oid: sequence.oid })))
        this.#keptSchemas.add(sequence.schema);
    }
  }

  /** Materialized views that stay and read, over any number of views, a table whose rows are not copied. */
  #findUnrefreshed(): void {
    const { byOid, withoutRows } = this.#selection;
    const open = this.#selection.roots().withoutRows.map(keyOf);
    const seen = new Set(open);
    const note = (oid: number) => {
      if (byOid.get(oid)?.kind === 'materialized')
        this.#unrefreshed.set(oid, 'reads a table without its rows');
    };
    for (const [oid, rule] of withoutRows) {
      if (byOid.get(oid)?.kind === 'materialized') this.#unrefreshed.set(oid, rule);
    }
    for (let key = open.pop(); key !== undefined; key = open.pop()) {
      for (const { object } of this.#dependents.get(key) ?? []) {
        const reached = keyOf(object);
        const kind = object.classOid === relationClass ? byOid.get(object.oid)?.kind : 'view';
        if (seen.has(reached) || kind === 'table' || kind === 'partitioned' || kind === 'foreign') continue;
        seen.add(reached);
        note(object.oid);
        open.push(reached);
      }
    }
  }

  /** Whether a row of a system catalog is left out. */
  leavesOut(classOid: number, oid: number): boolean {
    return this.#leftOut.has(keyOf({ classOid, oid }));
  }

  /** Also for tables that were made since: they are judged by the sections that say what alone is copied. */
  decideTable(table: TableName): TableDecision {
    const relation = this.#byName.get(nameKey(table));
    if (relation === undefined) return this.#decideLaterTable(table);
    const { schema, data, rule } = this.decideRelation(relation.oid);
    return { schema, data, rule };
  }

  decideRelation(oid: number): TableDecision {
    const why = this.#leftOut.get(keyOf({ classOid: relationClass, oid }));
    if (why !== undefined) return { schema: false, data: false, rule: explain(why) };
    const { shells, withoutRows, included } = this.#selection;
    const rowless = withoutRows.get(oid) ?? this.#unrefreshed.get(oid);
    if (rowless !== undefined) return { schema: true, data: false, rule: rowless };
    if (shells.has(oid)) return { schema: true, data: true, rule: 'holds a table of [include-only-table]' };
    return { schema: true, data: true, rule: included?.get(oid) ?? null };
  }

  #decideLaterTable(table: TableName): TableDecision {
    const schema = this.decideSchemaRule(table.schema);
    if (schema !== null) return { schema: false, data: false, rule: schema };
    if (this.#selection.included !== null) {
      return { schema: false, data: false, rule: 'not in [include-only-table]' };
    }
    return { schema: true, data: true, rule: null };
  }

  /** Why what is in a schema is left out; null when it is not. */
  decideSchemaRule(name: string): string | null {
    const { facts, schemas } = this.#selection;
    const schema = facts.schemas.find((one) => one.name === name);
    if (schema !== undefined) return schemas.get(schema.oid) ?? null;
    return this.#selection.uses('include-only-schema') ? 'not in [include-only-schema]' : null;
  }

  /** Whether the schema itself is made: also one whose objects are left out, where an extension is in it. */
  decideSchema(name: string): Decision {
    const schema = this.#selection.facts.schemas.find((one) => one.name === name);
    const why = schema && this.#leftOut.get(keyOf({ classOid: namespaceClass, oid: schema.oid }));
    if (why !== undefined) return { kept: false, rule: explain(why) };
    return schema === undefined && this.decideSchemaRule(name) !== null
      ? { kept: false, rule: this.decideSchemaRule(name) }
      : kept;
  }

  decideIndex(oid: number): Decision {
    return this.#decide(relationClass, oid);
  }

  decideConstraint(oid: number): Decision {
    return this.#decide(constraintClass, oid);
  }

  decideExtension(name: string): Decision {
    const extension = this.#selection.facts.extensions.find((one) => one.name === name);
    return extension === undefined ? kept : this.#decide(extensionClass, extension.oid);
  }

  decideSequence(sequence: TableName): Decision {
    const oid = this.#sequences.get(nameKey(sequence));
    if (oid !== undefined) return this.#decide(relationClass, oid);
    const rule = this.decideSchemaRule(sequence.schema);
    return rule === null ? kept : { kept: false, rule };
  }

  /** Whether a sequence stays while the table that owns it does not: then nothing owns it. */
  isDisowned(sequence: number): boolean {
    const owner = this.#owners.get(sequence) ?? null;
    return owner !== null && this.leavesOut(relationClass, owner);
  }

  #decide(classOid: number, oid: number): Decision {
    const why = this.#leftOut.get(keyOf({ classOid, oid }));
    return why === undefined ? kept : { kept: false, rule: explain(why) };
  }

  /** Why a materialized view is made without its contents; null for one that is refreshed, or left out. */
  unrefreshed(oid: number): string | null {
    return this.#unrefreshed.get(oid) ?? null;
  }

  /**
   * What falls with what the rules name, and is neither a part of it nor in a schema that is left out: views,
   * foreign keys of tables that stay, functions, …
   */
  dependents(): LeftOut[] {
    const { relations, indexes, schemas, extensions, facts } = this.#selection;
    const named = new Set<number>();
    for (const oid of [...relations.keys(), ...indexes.keys()])
      named.add(keyOf({ classOid: relationClass, oid }));
    for (const oid of schemas.keys()) named.add(keyOf({ classOid: namespaceClass, oid }));
    for (const oid of extensions.keys()) named.add(keyOf({ classOid: extensionClass, oid }));
    for (const { oid } of facts.sequences) named.add(keyOf({ classOid: relationClass, oid }));
    const inSchemas = new Set(
      [...schemas.keys()].flatMap((oid) =>
        (this.#dependents.get(keyOf({ classOid: namespaceClass, oid })) ?? []).map(({ object }) =>
          keyOf(object),
        ),
      ),
    );
    return [...this.#leftOut].flatMap(([key, why]) => {
      const object = objectOf(key);
      const isRelation = object.classOid === relationClass && this.#selection.byOid.has(object.oid);
      if (named.has(key) || inSchemas.has(key) || (why.part && !isRelation)) return [];
      return { ...object, rule: explain(why) };
    });
  }

  /** All that falls with relations, parts too, and the nearest relation above each. */
  fallen(): (CatalogObject & { readonly relation: FilterRelation })[] {
    return [...this.#leftOut].flatMap(([key, { on }]) =>
      on === null ? [] : { ...objectOf(key), relation: on },
    );
  }

  /** Tables and domains that stay although a part of them, which is made with them, would have to be left out. */
  contradictions(): Contradiction[] {
    const found = new Map<number, Contradiction>();
    for (const dependencies of this.#dependents.values()) {
      for (const { object, inside } of dependencies) {
        const why = this.#leftOut.get(keyOf(object));
        if (why === undefined || inside === null || this.#leftOut.has(keyOf(inside))) continue;
        found.set(keyOf(inside), { object: inside, rule: explain(why) });
      }
    }
    return [...found.values()];
  }

  /** Tables that [include-only-table] names and that cannot be made, since they depend on what is left out. */
  lostTables(): { readonly table: FilterRelation; readonly rule: string }[] {
    return [...(this.#selection.included?.keys() ?? [])].flatMap((oid) => {
      const table = this.#selection.byOid.get(oid);
      const why = this.#leftOut.get(keyOf({ classOid: relationClass, oid }));
      if (table === undefined || why === undefined || this.#selection.relations.has(oid)) return [];
      return { table, rule: explain(why) };
    });
  }

  /** Every relation that is left out, or made without its rows. */
  leftOutRelations(): { readonly relation: FilterRelation; readonly decision: TableDecision }[] {
    return this.#selection.facts.relations.flatMap((relation) => {
      const decision = this.decideRelation(relation.oid);
      return decision.schema && decision.data ? [] : { relation, decision };
    });
  }

  /** The schemas of which nothing stays, not even themselves. */
  emptySchemas(): string[] {
    return this.#selection.facts.schemas.flatMap(({ oid, name }) =>
      this.#leftOut.has(keyOf({ classOid: namespaceClass, oid })) ? [name] : [],
    );
  }

  leftOutSchemas(): { readonly name: string; readonly rule: string }[] {
    const { facts, schemas } = this.#selection;
    return facts.schemas.flatMap(({ oid, name }) => {
      const rule = schemas.get(oid);
      return rule === undefined ? [] : { name, rule };
    });
  }

  leftOutIndexes(): (TableName & { readonly rule: string })[] {
    const { facts, indexes } = this.#selection;
    return facts.indexes.flatMap(({ oid, schema, name }) => {
      const rule = indexes.get(oid);
      return rule === undefined ? [] : { schema, name, rule };
    });
  }

  leftOutSequences(): (TableName & { readonly rule: string })[] {
    return this.#selection.facts.sequences.flatMap(({ oid, schema, name }) => {
      const why = this.#leftOut.get(keyOf({ classOid: relationClass, oid }));
      return why === undefined ? [] : { schema, name, rule: explain(why) };
    });
  }

  leftOutExtensions(): { readonly name: string; readonly rule: string }[] {
    const { facts, extensions } = this.#selection;
    return facts.extensions.flatMap(({ oid, name }) => {
      const rule = extensions.get(oid);
      return rule === undefined ? [] : { name, rule };
    });
  }

  /** What is remembered by names. */
  scope(): FilterScope {
    const { facts, schemas, included, shells } = this.#selection;
    const pair = ({ schema, name }: TableName) => [schema, name] as const;
    const excluded = facts.schemas.filter(({ oid }) => schemas.has(oid));
    const holdsRows = facts.relations.filter(({ kind }) => kind !== 'view');
    const copied = holdsRows.filter(({ oid }) => this.decideRelation(oid).data);
    return {
      withoutRows: holdsRows.filter(({ oid }) => !this.decideRelation(oid).data).map(pair),
      onlyTables:
        included === null ? null : copied.filter(({ oid }) => included.has(oid) || shells.has(oid)).map(pair),
      onlySchemas: this.#selection.uses('include-only-schema')
        ? facts.schemas.filter(({ oid }) => !schemas.has(oid)).map(({ name }) => name)
        : null,
      excludedSchemas: excluded.map(({ name }) => name),
      sequences: this.leftOutSequences().map(pair),
    };
  }
}
