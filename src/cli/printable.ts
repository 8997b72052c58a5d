/**
 * Text of others on a terminal: names and messages may hold anything, and must neither break a table nor give orders to
 * the terminal. Pure.
 */

const written: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** On one line: control characters are written as escapes. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, escaped);
}

/** The same for a text of several lines, whose line breaks and tabs stay. */
export function printableLines(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, escaped);
}

function escaped(character: string): string {
  return written[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
