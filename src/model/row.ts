/**
 * Rows and cells. A cell is what the source's server printed, and what the target's server will read: nothing in
 * between turns it into a number, a date or a boolean.
 */

/**
 * Marks a TOAST value that the source did not send because the update left it alone. It is a value of its own
 * beside text and null, and the only number that ever stands in a row, so that rows survive JSON as they are.
 */
export const unchanged = 0;
export type Unchanged = typeof unchanged;

/** The server's own text, SQL null, or *unchanged*. */
export type Cell = string | null | Unchanged;

/** Cells in the order of the relation's columns. */
export type Row = readonly Cell[];

/** Cells in the order of the relation's key (`Relation.key`): the identity of a row. Never *unchanged*. */
export type Key = readonly (string | null)[];
