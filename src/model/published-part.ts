/**
 * What of a table a publication made by somebody else carries, where that is not the whole table under its own name.
 * The copy, the stream and the comparison go by the same parts: what is not published is not moved. Pure.
 */

/** A table, or a partitioned one under whose name the changes of its partitions come. */
export type PublishedPart = {
  readonly schema: string;
  readonly name: string;
  /** The columns that are moved; null: all of them. */
  readonly columns: readonly string[] | null;
  /** Which rows are moved: an SQL condition of immutable functions over its columns, names qualified; null: all. */
  readonly rowFilter: string | null;
  /** The partitioned table under whose name its changes come; null: its own name. */
  readonly root: { readonly schema: string; readonly name: string } | null;
};

/** Finds the part of a table; null: it is moved as a whole, as far as the publication goes. */
export type PartOf = (table: { readonly schema: string; readonly name: string }) => PublishedPart | null;

/** Looks parts up by name. */
export function partsByName(parts: readonly PublishedPart[]): PartOf {
  const key = (schema: string, name: string) => JSON.stringify([schema, name]);
  const known = new Map(parts.map((part) => [key(part.schema, part.name), part]));
  return ({ schema, name }) => known.get(key(schema, name)) ?? null;
}

/** In words, for a list; null where the whole table is moved: `columns id, note; rows where (id > 5)`. */
export function describePart({ columns, rowFilter, root }: PublishedPart): string | null {
  const words = [
    ...(columns === null ? [] : [`columns ${columns.join(', ')}`]),
    ...(rowFilter === null ? [] : [`rows where ${rowFilter}`]),
    ...(root === null ? [] : [`changes under the name of ${root.schema}.${root.name}`]),
  ];
  return words.length === 0 ? null : words.join('; ');
}
