/** Rows as the plugins print them, written after their C sources: what the scanners' tests read. */
import fc from 'fast-check';
import { Failure } from '../../src/failure.js';
import type { Lsn } from '../../src/model/lsn.js';
import type { Decoder } from '../../src/model/plugin.js';
import { tablesStale } from '../../src/model/plugin.js';
import type { Cell } from '../../src/model/row.js';
import { unchanged } from '../../src/model/row.js';
import type { SourceTable, SourceTables } from '../../src/model/source-table.js';

/** A type: its name as format_type prints it, its OID, and texts that its output function may give. */
export type PrintedType = {
  readonly name: string;
  readonly oid: number;
  readonly variable: boolean;
  readonly values: fc.Arbitrary<string>;
};

const someText = fc.oneof(
  fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0') && !/\p{Surrogate}/u.test(text)),
  fc.string({ unit: fc.constantFrom("'", '"', '\\', ' ', ':', '[', ']', '{', '}', ',', 'a', '\n', '😀') }),
  fc.constantFrom(
    'unchanged-toast-datum',
    'null',
    ' old-key:',
    ' new-tuple:',
    '(no-tuple-data)',
    '"}]}',
    "B'1'",
    "' b[text]:'",
    'NaN',
  ),
);
const digits = fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }).map(String);
const decimal = fc.tuple(digits, fc.stringMatching(/^\d{1,30}$/)).map(([whole, part]) => `${whole}.${part}`);
const double = fc
  .double({ noNaN: true, noDefaultInfinity: true })
  .map((value) => (Object.is(value, -0) ? '-0' : String(value)));
const special = fc.constantFrom('NaN', 'Infinity', '-Infinity');

export const types: readonly PrintedType[] = [
  { name: 'integer', oid: 23, variable: false, values: digits },
  { name: 'numeric', oid: 1700, variable: true, values: fc.oneof(decimal, digits, special) },
  { name: 'double precision', oid: 701, variable: false, values: fc.oneof(double, special) },
  { name: 'boolean', oid: 16, variable: false, values: fc.constantFrom('t', 'f') },
  { name: 'bit varying', oid: 1562, variable: true, values: fc.stringMatching(/^[01]{0,20}$/) },
  {
    name: 'bytea',
    oid: 17,
    variable: true,
    values: fc.uint8Array().map((bytes) => `\\x${Buffer.from(bytes).toString('hex')}`),
  },
  { name: 'text', oid: 25, variable: true, values: someText },
  { name: 'text[]', oid: 1009, variable: true, values: someText },
  { name: 'public."odd ""type]"[]', oid: 4_000_000_000, variable: true, values: someText },
];

export type PrintedColumn = { readonly name: string; readonly type: PrintedType };
export type PrintedTable = {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly PrintedColumn[];
};

const someName = fc
  .oneof(
    fc.stringMatching(/^[a-z_][a-z0-9_]{0,8}$/),
    fc.constantFrom('old-key', 'new-tuple', 'a"b', 'x[text]:', 'Ü 😀', 'null', "it's", 'b\\c'),
  )
  .filter((name) => name !== '');

export const someTable: fc.Arbitrary<PrintedTable> = fc.record({
  schema: someName,
  name: someName,
  columns: fc.uniqueArray(fc.record({ name: someName, type: fc.constantFrom(...types) }), {
    selector: ({ name }) => name,
    minLength: 1,
    maxLength: 8,
  }),
});

/** A row of a table, null and *unchanged* among its values; the first column is the key and is neither. */
export function someRow(table: PrintedTable, mayBeUnchanged: boolean): fc.Arbitrary<Cell[]> {
  const cells = table.columns.map(({ type }, nth) => {
    if (nth === 0) return type.values;
    const absent: fc.Arbitrary<Cell>[] = [fc.constant(null)];
    if (mayBeUnchanged && type.variable) absent.push(fc.constant<Cell>(unchanged));
    return fc.oneof({ weight: 4, arbitrary: type.values }, ...absent);
  });
  return fc.tuple(...cells);
}

/** The tables of the source for a decoder: this one, keyed by its first column. `xid` 700 was seen, 900 was not. */
export function tablesOf(table: PrintedTable): SourceTables {
  const described: SourceTable = {
    oid: 1,
    schema: table.schema,
    name: table.name,
    identity: 'default',
    columns: table.columns.map(({ name, type }) => ({
      name,
      typeOid: type.oid,
      generated: false,
      variable: type.variable,
    })),
    key: [table.columns[0]!.name],
    included: [],
  };
  return {
    followed: [described],
    now: [described],
    seen: { xmin: 800n, xmax: 800n, inProgress: new Set() },
  };
}

const quoted = (name: string): string =>
  /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;

/** As tuple_to_stringinfo of test_decoding does. */
export function printText(columns: readonly PrintedColumn[], cells: readonly Cell[]): string {
  return columns
    .map(({ name, type }, nth) => ` ${quoted(name)}[${type.name}]:${textValue(type, cells[nth]!)}`)
    .join('');
}

/** Whether a position in a text lies in a type's name, whose letters test_decoding's values do not depend on. */
export function isInType(text: string, at: number): boolean {
  const marks = types.map(({ name }) => `[${name}]:`);
  return marks.some((mark) => {
    const from = text.lastIndexOf(mark, at);
    return from >= 0 && at > from && at < from + mark.length;
  });
}

export const printTextTable = ({ schema, name }: PrintedTable): string =>
  `table ${quoted(schema)}.${quoted(name)}:`;

function textValue({ name }: PrintedType, cell: Cell): string {
  if (cell === null) return 'null';
  if (cell === unchanged) return 'unchanged-toast-datum';
  if (['integer', 'numeric', 'double precision'].includes(name)) return cell;
  if (name === 'boolean') return cell === 't' ? 'true' : 'false';
  if (name === 'bit varying') return `B'${cell}'`;
  return `'${cell.replaceAll("'", "''")}'`;
}

/** As escape_json: what is not ASCII stays as it is. */
export const printJsonString = (text: string): string => {
  // JSON.stringify escapes more than that only for lone surrogates.
  return JSON.stringify(text);
};

/** As pg_decode_write_tuple of wal2json does; the special values are said on the side. */
export function printJson(
  columns: readonly PrintedColumn[],
  cells: readonly Cell[],
): { text: string; said: string[] } {
  const said: string[] = [];
  const text = columns
    .flatMap(({ name, type }, nth) => {
      const cell = cells[nth]!;
      if (cell === unchanged) return [];
      const oid = type.oid > 2 ** 31 ? type.oid - 2 ** 32 : type.oid;
      return [`{"name":${printJsonString(name)},"typeoid":${oid},"value":${jsonValue(type, cell, said)}}`];
    })
    .join(',');
  return { text: `[${text}]`, said };
}

function jsonValue({ name }: PrintedType, cell: string | null, said: string[]): string {
  if (cell === null) return 'null';
  if (['integer', 'numeric', 'double precision'].includes(name)) {
    if (!/^(?:NaN|-?Infinity)$/.test(cell)) return cell;
    said.push(cell);
    return 'null';
  }
  if (name === 'boolean') return cell === 't' ? 'true' : 'false';
  if (name === 'bytea') return printJsonString(cell.slice(2));
  return printJsonString(cell);
}

export type Outcome = ReturnType<Decoder['decode']> | 'refused';

/** Decodes; a refusal is an outcome, and anything else that is thrown is a mistake. */
export function outcomeOf(decoder: Decoder, payload: Buffer | string): Outcome {
  try {
    return decoder.decode(Buffer.from(payload), 0x100n as Lsn);
  } catch (error) {
    if (error instanceof Failure && ['message-unreadable', 'plugin-limit'].includes(error.code))
      return 'refused';
    throw error;
  }
}

/** The change in an outcome; null where there is none. */
export function changeOf(
  outcome: Outcome,
): { row: readonly Cell[] | null; key: readonly (string | null)[] | null } | null {
  if (outcome === 'refused' || outcome === tablesStale || outcome === null || !('kind' in outcome))
    return null;
  if (outcome.kind !== 'change' || outcome.change.kind === 'truncate') return null;
  const { change } = outcome;
  return {
    row: change.kind === 'delete' ? null : change.row,
    key: change.kind === 'insert' ? null : change.key,
  };
}
