/**
 * The filter as a run remembers it: its text, so that a resumed run with another one is refused, and its scope, by
 * which processes without the file know what is followed, set and compared. Pure.
 */
import {
  filterSections,
  type FilterRule,
  type FilterScope,
  type FilterSection,
  type NameMatch,
} from '../model/object-filter.js';
import type { PluginMessage } from '../model/message.js';
import type { Decoder, Plugin } from '../model/plugin.js';
import { relationLabel } from '../model/relation.js';

/**
 * The rules as one text (reference: pgcopydb 5.6, setup.filters), the same for files that differ in order, comments
 * and spelling alone.
 */
export function filterText(rules: readonly FilterRule[]): string {
  const lists: Record<string, string[]> = {};
  for (const section of filterSections) {
    const own = rules.filter((rule) => rule.section === section);
    const isPattern = (rule: FilterRule) => rule.schema?.kind === 'pattern' || rule.name?.kind === 'pattern';
    const list = (some: readonly FilterRule[]) => [...new Set(some.map(canonicalEntry))].toSorted();
    const exact = own.filter((rule) => !isPattern(rule));
    const patterns = own.filter(isPattern);
    if (exact.length > 0) lists[section] = list(exact);
    if (patterns.length > 0) lists[`${section}-pattern`] = list(patterns);
  }
  return JSON.stringify({ type: filterType(rules), ...lists });
}

/** The peer's word for what a filter does. */
export function filterType(rules: readonly FilterRule[]): string {
  const uses = (...sections: FilterSection[]) => rules.some((rule) => sections.includes(rule.section));
  if (uses('include-only-table')) return 'SOURCE_FILTER_TYPE_INCL';
  if (uses('include-only-schema', 'exclude-schema', 'exclude-table', 'exclude-table-data')) {
    return 'SOURCE_FILTER_TYPE_EXCL';
  }
  return uses('exclude-index') ? 'SOURCE_FILTER_TYPE_EXCL_INDEX' : 'SOURCE_FILTER_TYPE_NONE';
}

function canonicalEntry({ schema, name }: FilterRule): string {
  return [schema, name].flatMap((match) => (match === null ? [] : canonicalMatch(match))).join('.');
}

function canonicalMatch(match: NameMatch): string {
  return match.kind === 'pattern'
    ? `~/${match.pattern}/`
    : relationLabel({ schema: match.name, name: 'x' }).slice(0, -2);
}

/** Whether a table's changes are followed and its rows compared, or a sequence is set. */
export type Keeps = (relation: { readonly schema: string; readonly name: string }) => boolean;

/** Reads a scope: also for tables that were made after it was recorded. */
export function keepsOf(scope: FilterScope): Keeps {
  const key = (schema: string, name: string) => JSON.stringify([schema, name]);
  const keys = (names: FilterScope['withoutRows']) => new Set(names.map((pair) => key(...pair)));
  const withoutRows = keys(scope.withoutRows);
  const onlyTables = scope.onlyTables === null ? null : keys(scope.onlyTables);
  const onlySchemas = scope.onlySchemas === null ? null : new Set(scope.onlySchemas);
  const excludedSchemas = new Set(scope.excludedSchemas);
  return ({ schema, name }) => {
    if (withoutRows.has(key(schema, name)) || excludedSchemas.has(schema)) return false;
    if (onlySchemas !== null && !onlySchemas.has(schema)) return false;
    return onlyTables === null || onlyTables.has(key(schema, name));
  };
}

/** The sequences that are made and set. */
export function keptSequencesOf(scope: FilterScope): Keeps {
  const leftOut = new Set(scope.sequences.map((pair) => JSON.stringify(pair)));
  return ({ schema, name }) => !leftOut.has(JSON.stringify([schema, name]));
}

/**
 * A plugin whose stream holds no change of a table that is left out. Publications of our own hold none anyway; this
 * is for those of others, and for plugins that know no publications.
 */
export function filteredPlugin(plugin: Plugin, keeps: Keeps): Plugin {
  return {
    ...plugin,
    createDecoder: (...request) => filteredDecoder(plugin.createDecoder(...request), keeps),
  };
}

function filteredDecoder(decoder: Decoder, keeps: Keeps): Decoder {
  // A table is described by the same object as long as it stays the same.
  const known = new WeakMap<object, boolean>();
  const isKept: Keeps = (relation) => {
    let answer = known.get(relation);
    if (answer === undefined) known.set(relation, (answer = keeps(relation)));
    return answer;
  };
  const keep = (decoded: ReturnType<Decoder['decode']>) => {
    if (decoded === null || typeof decoded === 'symbol') return decoded;
    if (!isList(decoded)) return keepMessage(decoded, isKept);
    const kept = decoded.flatMap((message) => keepMessage(message, isKept) ?? []);
    return kept.length === 0 ? null : kept;
  };
  const within = decoder.decodeWithin?.bind(decoder);
  return {
    decode: (payload, walStart) => keep(decoder.decode(payload, walStart)),
    ...(within === undefined
      ? {}
      : { decodeWithin: (bytes, start, end, walStart) => keep(within(bytes, start, end, walStart)) }),
    ...(decoder.describe === undefined ? {} : { describe: decoder.describe.bind(decoder) }),
    ...(decoder.notice === undefined ? {} : { notice: decoder.notice.bind(decoder) }),
  };
}

function isList(decoded: PluginMessage | readonly PluginMessage[]): decoded is readonly PluginMessage[] {
  return Array.isArray(decoded);
}

/** The message without what is left out; null when nothing of it is kept. Only changes speak of tables. */
export function keepMessage(message: PluginMessage, keeps: Keeps): PluginMessage | null {
  if (message.kind === 'relation') return keeps(message.relation) ? message : null;
  if (message.kind !== 'change') return message;
  const { change } = message;
  if (change.kind !== 'truncate') return keeps(change.relation) ? message : null;
  const relations = change.relations.filter(keeps);
  if (relations.length === change.relations.length) return message;
  return relations.length === 0 ? null : { ...message, change: { ...change, relations } };
}
