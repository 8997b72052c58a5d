/** Which columns may hold NULL: asked wherever rows would be left out, or not found, if one did. */

/**
 * SQL: whether the column of this row of pg_attribute may hold NULL. From 18 on attnotnull is also set by a NOT NULL
 * that is NOT VALID: what was NULL before it is still there.
 */
export function mayBeNull(attribute: string): string {
  return `(not ${attribute}.attnotnull or exists (
    select from pg_catalog.pg_constraint nn where nn.conrelid = ${attribute}.attrelid and nn.contype = 'n'
      and nn.conkey[1] = ${attribute}.attnum and not nn.convalidated))`;
}
