/**
 * Quoting for SQL text. Values travel as parameters; what cannot (names, utility statements) is quoted here.
 */

/** An identifier, always in double quotes. Throws a RangeError on NUL, which no name can hold. */
export function quoteIdentifier(name: string): string {
  if (name.includes('\0')) throw new RangeError('an identifier cannot contain NUL');
  return `"${name.replaceAll('"', '""')}"`;
}

/** `"schema"."name"`. */
export function quoteQualified(schema: string, name: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

/** `{"a","b"}`: a parameter of type text[] or name[], as the server reads it. */
export function arrayLiteral(values: Iterable<string>): string {
  const quoted = [...values].map((value) => `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"`);
  return `{${quoted.join(',')}}`;
}

/** A string literal that reads the same under either setting of standard_conforming_strings. */
export function quoteLiteral(text: string): string {
  if (text.includes('\0')) throw new RangeError('a literal cannot contain NUL');
  const doubled = text.replaceAll("'", "''");
  return doubled.includes('\\') ? ` E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
}
