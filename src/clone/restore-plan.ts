/**
 * Decides, for every entry of the dump, when it is restored, or that it is not. Pure.
 *
 * The stages, in their order, and what holds after each:
 *
 * | stage           | entries                                                          | then                        |
 * |-----------------|------------------------------------------------------------------|-----------------------------|
 * | pre-data        | schemas, types, functions, tables, views, …, statistics objects   | rows can be copied          |
 * | before-changes  | indexes and constraints that are not ours to build, view bodies   | changes can be applied      |
 * | finalize        | triggers, rules, policies, row security, publications            | what fires, fires           |
 * | privileges      | privileges, and those of objects to come                          | it behaves like the source  |
 * | refresh         | materialized views' indexes and contents                         | (all rows are final)        |
 * | event-triggers  | event triggers: they would fire at our own DDL                    |                             |
 *
 * Nothing that fires exists before the last change is applied (DESIGN 6). Privileges come late because a table's
 * owner may have revoked his own; but before materialized views, which are filled with the rights of their owner; and
 * behind row security, so that nobody reads a table before it is on.
 */
import { catalogOids } from '../postgres/dump.js';
import type { DumpEntry } from '../postgres/dump.js';
import type { SourceSchema } from '../postgres/schema.js';

export const restoreStages = [
  'pre-data',
  'before-changes',
  'finalize',
  'privileges',
  'refresh',
  'event-triggers',
] as const;
export type RestoreStage = (typeof restoreStages)[number];

/** What happens to an entry. `ours`: made by our own statements, there from that stage on. */
export type Placement =
  | { readonly kind: 'restore'; readonly stage: RestoreStage }
  | { readonly kind: 'ours'; readonly stage: RestoreStage }
  | { readonly kind: 'never' };

export type PlacementRules = {
  readonly schema: Pick<SourceSchema, 'viewRules' | 'publications'>;
  /** OIDs of pg_class: indexes that we build. */
  readonly ownIndexes: ReadonlySet<number>;
  /** OIDs of pg_constraint: constraints that we add. */
  readonly ownConstraints: ReadonlySet<number>;
  /** Publications of the run itself, by name. */
  readonly ownPublications: ReadonlySet<string>;
  /** Dump ids of what a filter leaves out. */
  readonly leftOut?: ReadonlySet<number>;
};

// Entries that say something about another entry, and go where it goes.
const attachedKinds = new Set(['COMMENT', 'SECURITY LABEL']);

// Entries without sense when anything they need is left out.
const dependentKinds = new Set([
  ...attachedKinds,
  'ACL',
  'SEQUENCE OWNED BY',
  'ROW SECURITY',
  'MATERIALIZED VIEW DATA',
  'TABLE ATTACH',
  'INDEX ATTACH',
  'PUBLICATION TABLE',
  'PUBLICATION TABLES IN SCHEMA',
]);

/** Places every entry of a dump; the result is by dump id. */
export function placeEntries(entries: readonly DumpEntry[], rules: PlacementRules): Map<number, Placement> {
  const byId = new Map(entries.map((entry) => [entry.dumpId, entry]));
  const placements = new Map<number, Placement>();
  const viewRules = new Set(rules.schema.viewRules);
  const ownPublications = new Set(
    rules.schema.publications.filter((one) => rules.ownPublications.has(one.name)).map((one) => one.oid),
  );
  for (const entry of entries) {
    if (rules.leftOut?.has(entry.dumpId) === true) {
      placements.set(entry.dumpId, { kind: 'never' });
      continue;
    }
    const needs = entry.dependencies.flatMap((id) => placements.get(id) ?? []);
    const alone = placeAlone(entry, byId, rules, viewRules, ownPublications);
    placements.set(entry.dumpId, withNeeds(entry, alone, needs));
  }
  return placements;
}

/** The entry for itself, without regard to what it needs. */
function placeAlone(
  entry: DumpEntry,
  byId: ReadonlyMap<number, DumpEntry>,
  rules: PlacementRules,
  viewRules: ReadonlySet<number>,
  ownPublications: ReadonlySet<number>,
): Placement {
  switch (entry.kind) {
    // 1. What belongs to the database itself, to other servers, or to the data section.
    case 'DATABASE':
    case 'DATABASE PROPERTIES':
    case 'ENCODING':
    case 'STDSTRINGS':
    case 'SEARCHPATH':
    case 'SUBSCRIPTION':
    case 'SUBSCRIPTION TABLE':
    case 'TABLE DATA':
    case 'SEQUENCE SET':
    case 'STATISTICS DATA':
      return { kind: 'never' };
    case 'PUBLICATION':
      return ownPublications.has(entry.oid) ? { kind: 'never' } : { kind: 'restore', stage: 'finalize' };
    // 2. Indexes and their constraints: ours when their table is copied by us.
    case 'INDEX':
      if (rules.ownIndexes.has(entry.oid)) return { kind: 'ours', stage: 'before-changes' };
      return { kind: 'restore', stage: isOnMaterializedView(entry, byId) ? 'refresh' : 'before-changes' };
    case 'CONSTRAINT':
      return { kind: rules.ownConstraints.has(entry.oid) ? 'ours' : 'restore', stage: 'before-changes' };
    case 'INDEX ATTACH':
      return { kind: 'restore', stage: 'before-changes' };
    case 'FK CONSTRAINT':
      return { kind: rules.ownConstraints.has(entry.oid) ? 'ours' : 'restore', stage: 'finalize' };
    // 3. A view that groups by a primary key is a dummy in pre-data; its rule is its body (DESIGN 11.11).
    case 'RULE':
      return { kind: 'restore', stage: viewRules.has(entry.oid) ? 'before-changes' : 'finalize' };
    // 4. What fires or forbids.
    case 'TRIGGER':
    case 'POLICY':
    case 'ROW SECURITY':
    case 'CHECK CONSTRAINT':
    case 'PUBLICATION TABLE':
    case 'PUBLICATION TABLES IN SCHEMA':
      return { kind: 'restore', stage: 'finalize' };
    case 'ACL':
    case 'DEFAULT ACL':
      return { kind: 'restore', stage: 'privileges' };
    case 'EVENT TRIGGER':
      return { kind: 'restore', stage: 'event-triggers' };
    // 5. Contents computed from rows.
    case 'MATERIALIZED VIEW DATA':
      return { kind: 'restore', stage: 'refresh' };
    // 6. Everything else is there before the rows; statistics objects too, so that ANALYZE fills them.
    default:
      return { kind: 'restore', stage: 'pre-data' };
  }
}

/**
 * No entry comes before what it needs: pg_dump puts functions and materialized views that need a primary key
 * behind it, and so do we.
 */
function withNeeds(entry: DumpEntry, alone: Placement, needs: readonly Placement[]): Placement {
  if (alone.kind === 'never') return alone;
  if (dependentKinds.has(entry.kind) && needs.some((need) => need.kind === 'never')) return { kind: 'never' };
  const stages = needs.flatMap((need) => (need.kind === 'never' ? [] : [need.stage]));
  return { ...alone, stage: [alone.stage, ...stages].reduce(later) };
}

function later(a: RestoreStage, b: RestoreStage): RestoreStage {
  return restoreStages.indexOf(a) >= restoreStages.indexOf(b) ? a : b;
}

function isOnMaterializedView(index: DumpEntry, byId: ReadonlyMap<number, DumpEntry>): boolean {
  return index.dependencies.some(
    (id) => byId.get(id)?.kind === 'MATERIALIZED VIEW' && byId.get(id)?.catalogOid === catalogOids.relation,
  );
}

/** The entries that pg_restore is given at a stage, in the dump's order. */
export function entriesOfStage(
  entries: readonly DumpEntry[],
  placements: ReadonlyMap<number, Placement>,
  stage: RestoreStage,
): DumpEntry[] {
  return entries.filter((entry) => {
    const placement = placements.get(entry.dumpId);
    return placement?.kind === 'restore' && placement.stage === stage;
  });
}

/**
 * The identities of a dump's entries, with those of its shell types, of which the dump does not tell the OIDs: the first
 * of the two steps in which a type is made whose own functions speak of it.
 */
export function withShellTypes(
  entries: readonly DumpEntry[],
  identities: readonly (readonly [dumpId: number, identity: string])[],
): Map<number, string> {
  const all = new Map(identities);
  for (const shell of entries.filter(({ kind }) => kind === 'SHELL TYPE')) {
    // The functions need the shell, and the type needs the functions.
    const functions = new Set(
      entries.filter(({ dependencies }) => dependencies.includes(shell.dumpId)).map(({ dumpId }) => dumpId),
    );
    const types = entries.filter(
      ({ kind, dependencies }) => kind === 'TYPE' && dependencies.some((id) => functions.has(id)),
    );
    const type = types.find(({ tag }) => tag === shell.tag) ?? types[0];
    const identity = all.get(type?.dumpId ?? 0);
    if (identity !== undefined) all.set(shell.dumpId, identity);
  }
  return all;
}

/** What the target holds already, as Postgres identifies objects. */
export type TargetObjects = {
  /** `type identity` of every object; `USER MAPPING role SERVER server`. */
  readonly identities: ReadonlySet<string>;
  /** Of every attached partition, its parent: identities both. */
  readonly parents: ReadonlyMap<string, string>;
  /** Of every index, what it is an index of: identities both. */
  readonly indexed: ReadonlyMap<string, string>;
};

/**
 * Whether an entry's object is on the target already, so that restoring it would fail. Entries that may be run again
 * without harm (privileges, comments, defaults, row security, attached indexes) are not left out: a run that was
 * killed may have made the object and not them.
 */
export function isPresent(
  entry: DumpEntry,
  identities: ReadonlyMap<number, string>,
  target: TargetObjects,
  schema: Pick<SourceSchema, 'viewRules' | 'inheritedTriggers'>,
): boolean {
  if (entry.kind === 'TABLE ATTACH') {
    const named = entry.dependencies.flatMap((id) => identities.get(id) ?? []);
    return named.some((child) => named.includes(target.parents.get(child) ?? ''));
  }
  // An extension that was there brought its own comment, which only its owner may change.
  if (entry.kind === 'COMMENT') {
    return entry.dependencies.some((id) => {
      const needed = identities.get(id);
      return needed?.startsWith('extension ') === true && target.identities.has(needed);
    });
  }
  // The dummy view has a rule of this name too: the entry replaces it.
  if (entry.kind === 'RULE' && schema.viewRules.includes(entry.oid)) return false;
  // The parent's trigger has made it: the entry only sets its enabled state.
  if (entry.kind === 'TRIGGER' && schema.inheritedTriggers.includes(entry.oid)) return false;
  if (entry.kind === 'DEFAULT' || entry.kind === 'DEFAULT ACL') return false;
  if (entry.kind === 'USER MAPPING') return isPresentMapping(entry, target);
  const identity = identities.get(entry.dumpId);
  if (entry.kind === 'SHELL TYPE' && target.identities.has(`shell ${identity}`)) return true;
  if (identity === undefined || !target.identities.has(identity)) return false;
  if (entry.kind !== 'INDEX') return true;
  // An index of something else that has its name: it cannot be made, and that is what must be told.
  const indexed = target.indexed.get(identity);
  return entry.dependencies.some((id) => indexed !== undefined && identities.get(id) === indexed);
}

/** The tag is `- USER MAPPING role SERVER server owner`, where names may hold blanks. */
function isPresentMapping({ tag }: DumpEntry, { identities }: TargetObjects): boolean {
  const words = tag.split(' ').slice(1);
  return words.some((_, at) => identities.has(words.slice(0, at + 1).join(' ')));
}
