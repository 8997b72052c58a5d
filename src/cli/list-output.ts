/** What the `list` commands print (reference 13): columns for people, the peer's objects for programs. Pure. */
import type {
  AvailableExtension,
  ListedCollation,
  ListedColumn,
  ListedDatabase,
  ListedExtension,
  ListedIndex,
  ListedSequence,
  ListedTable,
  SequenceValue,
} from '../postgres/catalog-lists.js';
import { prettySize } from './output.js';
import { printable } from './printable.js';
import type { PartBounds } from '../postgres/table-splits.js';

/** A column's title, and the least that it is wide: the peer's width where it has one. */
type Column = readonly [title: string, width?: number];

/**
 * Right-aligned columns under a header, then an empty line. The last column is not padded where it is `ragged`: a
 * definition may be as long as it likes.
 */
function list(columns: readonly Column[], lines: readonly (readonly string[])[], ragged = false): string {
  const rows = lines.map((row) => row.map(printable));
  const last = columns.length - 1;
  const widths = columns.map(([title, width = 0], index) =>
    Math.max(
      lengthOf(title),
      width,
      ...(ragged && index === last ? [] : rows.map((row) => lengthOf(row[index] ?? ''))),
    ),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, index) =>
        ragged && index === last ? cell : ' '.repeat((widths[index] ?? 0) - lengthOf(cell)) + cell,
      )
      .join(' | ');
  return [
    line(columns.map(([title]) => title)),
    widths.map((width) => '-'.repeat(width)).join('-+-'),
    ...rows.map(line),
    '\n',
  ].join('\n');
}

/** Characters, not UTF-16 units: names may hold any. */
function lengthOf(text: string): number {
  return Array.from(text).length;
}

/** JSON as the peer indents it. */
function json(value: unknown): string {
  return `${JSON.stringify(value, null, 4)}\n`;
}

const pretty = (bytes: number) => ({ bytes, 'bytes-pretty': prettySize(bytes) });

export function tablesText(tables: readonly ListedTable[]): string {
  return list(
    [
      ['OID', 8],
      ['Schema Name', 20],
      ['Table Name', 20],
      ['Est. Row Count', 15],
      ['On-disk size', 15],
    ],
    tables.map((table) => [
      String(table.oid),
      table.schema,
      table.name,
      String(table.estimatedRows),
      prettySize(table.bytes),
    ]),
  );
}

export function tablesJson(tables: readonly ListedTable[]): string {
  return json(tables.map(tableObject));
}

function tableObject(table: ListedTable): Record<string, unknown> {
  return {
    oid: table.oid,
    schema: table.schema,
    name: table.name,
    qname: `${table.schema}.${table.name}`,
    reltuples: table.estimatedRows,
    ...pretty(table.bytes),
  };
}

/** How a table is copied in parts; -1 stands for what has no bound, as in the peer's table. */
export function partsText(parts: readonly PartBounds[]): string {
  return list(
    [
      ['Part', 12],
      ['Min', 12],
      ['Max', 12],
      ['Count', 12],
    ],
    parts.map(({ min, max }, index) => {
      const count = min === null || max === null ? -1n : max - min + 1n;
      return [`${index + 1}/${parts.length}`, ...[min ?? -1n, max ?? -1n, count].map(String)];
    }),
  );
}

/** As text, but what has no bound is null: -1 may be a value of the key. */
export function partsJson(parts: readonly PartBounds[]): string {
  return exactJson(partObjects(parts));
}

function partObjects(parts: readonly PartBounds[]): Record<string, unknown>[] {
  return parts.map(({ min, max }, index) => ({
    number: index + 1,
    total: parts.length,
    min: min === null ? null : exact(String(min)),
    max: max === null ? null : exact(String(max)),
    count: min === null || max === null ? null : exact(String(max - min + 1n)),
  }));
}

export function sequencesText(sequences: readonly ListedSequence[]): string {
  return list(
    [
      ['OID', 8],
      ['Schema Name', 20],
      ['Sequence Name', 30],
      ['Owned By', 10],
      ['attrelid', 10],
      ['attroid', 10],
    ],
    sequences.map(({ oid, schema, name, ownedBy, attrelid, attroid }) => [
      String(oid),
      schema,
      name,
      String(ownedBy),
      String(attrelid),
      String(attroid),
    ]),
  );
}

export function sequencesJson(sequences: readonly ListedSequence[]): string {
  return json(
    sequences.map(({ oid, schema, name, ownedBy, attrelid, attroid }) => ({
      oid,
      schema,
      name,
      qname: `${schema}.${name}`,
      'owned-by': ownedBy,
      attrelid,
      attroid,
    })),
  );
}

export function indexesText(indexes: readonly ListedIndex[]): string {
  return list(
    [
      ['OID', 8],
      ['Schema', 10],
      ['Index Name', 20],
      ['Constraint Name', 20],
      ['Constraint', 25],
      ['DDL', 20],
    ],
    indexes.map(({ oid, schema, name, constraint, definition }) =>
      constraint?.exclusion === true
        ? [String(oid), schema, '', constraint.name, constraint.definition, '']
        : [
            String(oid),
            schema,
            name,
            constraint?.name ?? '',
            constraint?.definition ?? '',
            oneLine(definition),
          ],
    ),
    true,
  );
}

/** A definition may hold the line breaks of an expression's text. */
function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ');
}

export function indexesJson(indexes: readonly ListedIndex[]): string {
  return json(indexes.map(indexObject));
}

function indexObject(index: ListedIndex): Record<string, unknown> {
  const { constraint } = index;
  return {
    oid: index.oid,
    schema: index.schema,
    name: index.name,
    qname: `${index.schema}.${index.name}`,
    isPrimary: index.primary,
    isUnique: index.unique,
    columns: index.columns,
    sql: index.definition,
    'restore-list-name': index.restoreName,
    table: index.table,
    ...(constraint === null
      ? {}
      : {
          constraint: {
            oid: constraint.oid,
            name: constraint.name,
            sql: constraint.definition,
            'restore-list-name': constraint.restoreName,
          },
        }),
  };
}

export function databasesText(databases: readonly ListedDatabase[]): string {
  return list(
    [
      ['OID', 8],
      ['Database Name', 20],
      ['On-disk size', 15],
    ],
    databases.map(({ oid, name, bytes }) => [String(oid), name, bytes === null ? '' : prettySize(bytes)]),
  );
}

export function databasesJson(databases: readonly ListedDatabase[]): string {
  return json(
    databases.map(({ oid, name, bytes }) => ({ oid, name, ...(bytes === null ? {} : pretty(bytes)) })),
  );
}

export function extensionsText(extensions: readonly ListedExtension[]): string {
  return list(
    [
      ['OID', 8],
      ['Name', 20],
      ['Schema', 20],
      ['Count', 10],
      ['Config', 20],
    ],
    extensions.map(({ oid, name, schema, config }) => [
      String(oid),
      name,
      schema,
      String(config.length),
      config.map((table) => `${table.schema}.${table.name}`).join(','),
    ]),
    true,
  );
}

export function extensionsJson(extensions: readonly ListedExtension[]): string {
  return json(extensions.map(({ oid, name, schema, config }) => ({ oid, name, schema, config })));
}

export function availableText(extensions: readonly AvailableExtension[]): string {
  return list(
    [
      ['Name', 30],
      ['Default', 10],
      ['Available', 20],
    ],
    extensions.map(({ name, defaultVersion, versions }) => [name, defaultVersion, versions.join(',')]),
    true,
  );
}

export function availableJson(extensions: readonly AvailableExtension[]): string {
  return json(extensions.map(({ name, versions }) => ({ name, versions })));
}

/** Of each installed extension, the version that the source would create it in: `clone --requirements` reads it. */
function requirements(extensions: readonly ListedExtension[]): { name: string; version: string }[] {
  return extensions.map(({ rawName, version, defaultVersion }) => ({
    name: rawName,
    version: defaultVersion ?? version,
  }));
}

export function requirementsText(extensions: readonly ListedExtension[]): string {
  return list(
    [
      ['Name', 30],
      ['Version', 10],
    ],
    requirements(extensions).map(({ name, version }) => [name, version]),
  );
}

export function requirementsJson(extensions: readonly ListedExtension[]): string {
  return json(requirements(extensions));
}

export function collationsText(collations: readonly ListedCollation[]): string {
  return list(
    [
      ['OID', 8],
      ['Name', 20],
      ['Object name', 40],
    ],
    collations.map(({ oid, name, object }) => [String(oid), name, oneLine(object)]),
  );
}

export function collationsJson(collations: readonly ListedCollation[]): string {
  return json(collations);
}

/** What falls with a table that is left out. */
export type ListedDependent = {
  /** The table, quoted where SQL needs it. */
  readonly schema: string;
  readonly table: string;
  /** The system catalog's OID, and the object's in it. */
  readonly catalog: number;
  readonly oid: number;
  readonly type: string;
  readonly identity: string;
};

export function dependsText(dependents: readonly ListedDependent[]): string {
  return list(
    [
      ['Schema Name', 20],
      ['Table Name', 30],
      ['Catalog', 8],
      ['OID', 8],
      ['Type', 20],
      ['Identity', 30],
    ],
    dependents.map((one) => [
      one.schema,
      one.table,
      String(one.catalog),
      String(one.oid),
      one.type,
      oneLine(one.identity),
    ]),
  );
}

export function dependsJson(dependents: readonly ListedDependent[]): string {
  return json(dependents);
}

/** A table that is copied in parts: the key's column, or ctid. */
export type ListedSplit = { readonly key: string; readonly parts: readonly PartBounds[] };

/** What `list schema --json` shows. */
export type ListedSchema = {
  readonly setup: {
    readonly snapshot: string | null;
    /** Without passwords. */
    readonly source: string;
    readonly target: string | null;
    readonly splitLargerThan: number;
    readonly tableJobs: number;
    readonly indexJobs: number;
  };
  /** `SOURCE_FILTER_TYPE_NONE` and the like, then one array for each section. */
  readonly filters: Readonly<Record<string, unknown>>;
  readonly tables: readonly ListedTable[];
  /** By table OID. */
  readonly splits: ReadonlyMap<number, ListedSplit>;
  readonly columns: ReadonlyMap<number, readonly ListedColumn[]>;
  /** OIDs of tables whose rows are not copied. */
  readonly withoutRows: ReadonlySet<number>;
  readonly indexes: readonly ListedIndex[];
  readonly sequences: readonly ListedSequence[];
  readonly sequenceValues: readonly SequenceValue[];
};

/** Reference 13.1. A sequence's value may need more digits than a number of JSON's holds: it is printed as it is. */
export function schemaJson(schema: ListedSchema): string {
  const { setup } = schema;
  const object = {
    setup: {
      snapshot: setup.snapshot,
      source_pguri: setup.source,
      target_pguri: setup.target,
      'table-jobs': setup.tableJobs,
      'index-jobs': setup.indexJobs,
      'split-tables-larger-than': setup.splitLargerThan,
    },
    filters: schema.filters,
    tables: schema.tables.map((table) => ({
      ...tableObject(table),
      'exclude-data': schema.withoutRows.has(table.oid),
      'restore-list-name': table.restoreName,
      'part-key': schema.splits.get(table.oid)?.key ?? '',
      cols: (schema.columns.get(table.oid) ?? []).map((column) => ({
        attnum: column.attnum,
        atttypid: column.typeOid,
        attname: column.name,
        attisprimary: column.primary,
        attisreplident: column.identity,
        attisgenerated: column.generated,
      })),
      parts: partObjects(schema.splits.get(table.oid)?.parts ?? []),
    })),
    indexes: schema.indexes.map(indexObject),
    sequences: schema.sequences.map(({ oid, schema: inSchema, name, restoreName }, position) => ({
      oid,
      schema: inSchema,
      name,
      qname: `${inSchema}.${name}`,
      'last-value': exact(schema.sequenceValues[position]?.lastValue ?? ''),
      'is-called': schema.sequenceValues[position]?.isCalled ?? false,
      'restore-list-name': restoreName,
    })),
  };
  return exactJson(object);
}

// A mark that no name can hold (names have no NUL) around digits that leave the quotes of their string again.
const exact = (digits: string) => `\0${digits}\0`;
const exactPattern = /"\\u0000(-?\d+)\\u0000"/g;

function exactJson(value: unknown): string {
  return json(value).replaceAll(exactPattern, '$1');
}
