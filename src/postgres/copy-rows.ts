/**
 * Rows as COPY's text format has them: cells between tabs, rows between line feeds, `\N` for null, and a backslash in
 * front of what would be read as one of these. Pure.
 * https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-TEXT-FORMAT
 */

/** About how many characters one piece has. */
const pieceCharacters = 32 * 1024;

// A lone `\.` would be the end of the data: its backslash is doubled like any other.
const special = /[\\\t\n\r]/;
const specials = /[\\\t\n\r]/g;

function escape(character: string): string {
  switch (character) {
    case '\t':
      return '\\t';
    case '\n':
      return '\\n';
    case '\r':
      return '\\r';
    default:
      return '\\\\';
  }
}

/** The rows as pieces of text; `cellOf` gives column `column` of row `row`. There is at least one column. */
export function* copyText(
  rows: number,
  columns: number,
  cellOf: (row: number, column: number) => string | null,
): Generator<string> {
  let piece = '';
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const cell = cellOf(row, column);
      if (column > 0) piece += '\t';
      if (cell === null) piece += '\\N';
      else piece += special.test(cell) ? cell.replace(specials, escape) : cell;
    }
    piece += '\n';
    if (piece.length < pieceCharacters) continue;
    yield piece;
    piece = '';
  }
  if (piece !== '') yield piece;
}
