/**
 * What the publications of a stream that walferry made were when it began, and whether they still are that. What they left
 * out for a moment the stream does not tell of, and nothing else does. Pure.
 */

export type PublicationState = {
  readonly publications: readonly {
    readonly name: string;
    readonly oid: string;
    /** Another one after each change of the publication itself, but not of its tables. */
    readonly version: string;
    readonly owner: string;
    /** Which operations, and how: `insert, truncate`. */
    readonly publishes: string;
  }[];
  /**
   * The table's oid, and that of its entry, which is another one when the table was taken out and put in again, or is
   * published in part.
   */
  readonly entries: readonly (readonly [table: string, entry: string])[];
};

/** The tables whose entries are not there any more. */
export function lostEntries(then: PublicationState, now: PublicationState): string[] {
  const there = new Set(now.entries.map(([, entry]) => entry));
  return then.entries.flatMap(([table, entry]) => (there.has(entry) ? [] : [table]));
}

/**
 * What has become of the publications themselves, in sentences:
 *   1. gone, or made anew under the name
 *   2. publishes other operations
 *   3. publishes the same, and was written to since: for a moment it may have published less. (Where its owner is another
 *      one, that was it.)
 */
export function changesOf(then: PublicationState, now: PublicationState): string[] {
  return then.publications.flatMap((was) => {
    const label = `the publication "${was.name}"`;
    const is = now.publications.find(({ name }) => name === was.name);
    if (is === undefined) return [`${label} is not there any more`]; // 1
    if (is.oid !== was.oid) return [`${label} was made anew`];
    if (is.publishes !== was.publishes)
      return [`${label} publishes ${is.publishes || 'nothing'}, and published ${was.publishes}`]; // 2
    if (is.version !== was.version && is.owner === was.owner)
      return [`${label} was altered, and altered back`]; // 3
    return [];
  });
}
