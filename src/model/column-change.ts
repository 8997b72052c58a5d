/**
 * What has become of the columns of tables since a stream began, in words. No stream carries it: a value of a column
 * whose type became wider is rounded or cut on the target, and nothing fails. Pure.
 */
import { relationLabel } from './relation.js';

/** A table, and each of its columns as `name type` under its number, which stays when it is renamed. */
export type TableColumns = {
  readonly schema: string;
  readonly name: string;
  readonly columns: Readonly<Record<string, string>>;
};

/** Tables by OID. */
export type ColumnsOfTables = Readonly<Record<string, TableColumns>>;

/** So many tables are named. */
const named = 20;

/** What differs in tables that were there and still are; null where nothing does. */
export function describeColumnChanges(then: ColumnsOfTables, now: ColumnsOfTables): string | null {
  const changed = Object.entries(now).flatMap(([oid, is]) => {
    const was = then[oid];
    const words = was === undefined ? [] : changesOfTable(was.columns, is.columns);
    return words.length === 0 ? [] : [`${relationLabel(is)} (${words.join(', ')})`];
  });
  if (changed.length === 0) return null;
  const rest = changed.length - named;
  return `${changed.slice(0, named).join('; ')}${rest > 0 ? `; and ${rest} more` : ''}`;
}

function changesOfTable(was: TableColumns['columns'], is: TableColumns['columns']): string[] {
  const numbers = [...new Set([...Object.keys(was), ...Object.keys(is)])];
  return numbers.flatMap((number) => {
    const [before, after] = [was[number], is[number]];
    if (before === after) return [];
    if (after === undefined) return [`${before} is gone`];
    return [before === undefined ? `${after} is new` : `${before} is now ${after}`];
  });
}
