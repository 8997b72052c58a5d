/**
 * What is to be done for each table, and in which order: decided from the source's catalog alone. Pure.
 */
import { partsByName, type PublishedPart } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { BinaryTable } from '../postgres/binary-copy.js';
import type { CopyTarget } from '../postgres/copy-target.js';
import type {
  ForeignKeyFacts,
  IdentityColumn,
  IndexFacts,
  SourceSchema,
  TableFacts,
} from '../postgres/schema.js';
import { copyTask } from '../postgres/task-table.js';

/** One table's way: rows, then indexes (all at once), then what needs the whole table for itself. */
export type TablePlan = {
  readonly table: TableFacts;
  /** Quoted, for messages and SQL. */
  readonly qualified: string;
  readonly label: string;
  /** In what pieces its rows are copied: one, unless the table is split. */
  readonly parts: readonly PartPlan[];
  /** Whether its rows are copied: a filter may leave them out. */
  readonly withRows: boolean;
  /** Columns that are copied: those that hold data, which generated ones do not, or those that are published. */
  readonly columns: readonly string[];
  /** Which rows of all its parts are copied; null: all. */
  readonly rowFilter: string | null;
  /** Indexes to be built, constraints' ones among them. */
  readonly indexes: readonly IndexPlan[];
  /** Each takes the table exclusively, so they follow one after the other when all indexes are there. */
  readonly finishing: readonly FinishingStep[];
};

export type PartPlan = {
  /** Name of its task on the target and in the catalog. */
  readonly task: string;
  readonly label: string;
  /** Which rows; null for all. */
  readonly condition: string | null;
  /** About, by the size of the table. */
  readonly bytes: number;
};

export type IndexPlan = {
  readonly task: string;
  readonly schema: string;
  readonly name: string;
  readonly label: string;
  readonly sql: string;
  /** Of which no statement of ours tells; null for the database's default. */
  readonly tablespace: string | null;
  /** About what building it takes, in bytes of rows that are copied in the same time. */
  readonly cost: number;
};

export type FinishingStep = {
  /** The constraint that it adds; null for a step that may be run again without harm. */
  readonly constraint: Pick<NonNullable<IndexFacts['constraint']>, 'name' | 'definition'> | null;
  readonly sql: string;
  /** One statement that adds the constraint and builds its index, where that is among those that are built; or null. */
  readonly withIndex: { readonly task: string; readonly sql: string } | null;
  /** The index that comes with the constraint, and is not among those that are built; null where there is none. */
  readonly builds: Pick<IndexPlan, 'schema' | 'name' | 'label' | 'tablespace'> | null;
  /** Whose refusal is told, and does not end the run; null where it must succeed. */
  readonly mayFail: { readonly object: string } | null;
};

export type ClonePlan = {
  /** Those with the most to be done first, indexes included: what begins last would be waited for alone. */
  readonly tables: readonly TablePlan[];
  /** OIDs of pg_class and pg_constraint that we make, and pg_restore therefore does not. */
  readonly ownIndexes: ReadonlySet<number>;
  readonly ownConstraints: ReadonlySet<number>;
  /** Sentences about what is not copied. */
  readonly remarks: readonly string[];
};

/** Plans the clone of everything in the schema; the rows of some tables may be left out. */
export function planClone(schema: SourceSchema, withoutRows: ReadonlySet<number> = new Set()): ClonePlan {
  const byTable = new Map<number, IndexFacts[]>();
  for (const index of schema.indexes) {
    const others = byTable.get(index.tableOid);
    if (others === undefined) byTable.set(index.tableOid, [index]);
    else others.push(index);
  }
  const partOf = partsByName(schema.parts ?? []);
  const costs = new Map(
    schema.tables.map((table) => [table, tableCost(table, byTable.get(table.oid) ?? [])]),
  );
  const cost = (table: TableFacts) => costs.get(table) ?? 0;
  const tables = schema.tables
    .filter((table) => table.kind === 'table')
    .toSorted((a, b) => cost(b) - cost(a) || a.oid - b.oid);
  const built = tables.flatMap((table) => (byTable.get(table.oid) ?? []).filter(canBeBuilt));
  return {
    tables: tables.map((table) => ({
      ...planTable(table, schema, byTable.get(table.oid) ?? [], partOf(table)),
      withRows: !withoutRows.has(table.oid),
    })),
    ownIndexes: new Set(built.map((index) => index.oid)),
    ownConstraints: new Set([
      ...built.flatMap((index) => index.constraint?.oid ?? []),
      ...schema.foreignKeys.flatMap((key) => (key.definition === null ? [] : [key.oid])),
    ]),
    remarks: remarksOn(schema),
  };
}

function planTable(
  table: TableFacts,
  schema: SourceSchema,
  indexes: readonly IndexFacts[],
  part: PublishedPart | null,
): Omit<TablePlan, 'withRows'> {
  const qualified = quoteQualified(table.schema, table.name);
  const good = indexes.filter(canBeBuilt);
  return {
    table,
    qualified,
    label: relationLabel(table),
    parts: planParts(table, qualified, schema.splits?.[String(table.oid)]?.conditions ?? []),
    columns: (schema.columns[table.oid] ?? [])
      .filter(({ generated, name }) => !generated && part?.columns?.includes(name) !== false)
      .map((one) => one.name),
    rowFilter: part?.rowFilter ?? null,
    indexes: good.filter((index) => !isMadeByConstraint(index)).map(planIndex),
    finishing: good.flatMap((index) => finishingSteps(index, qualified)),
  };
}

function planParts(table: TableFacts, qualified: string, conditions: readonly string[]): PartPlan[] {
  const label = relationLabel(table);
  if (conditions.length < 2)
    return [{ task: copyTask(qualified), label, condition: null, bytes: table.bytes }];
  const bytes = Math.round(table.bytes / conditions.length);
  return conditions.map((condition, index) => {
    const place = { number: index + 1, of: conditions.length };
    return {
      task: copyTask(qualified, place),
      label: `${label}, part ${place.number} of ${place.of}`,
      condition,
      bytes,
    };
  });
}

/** Valid, and still there to tell its definition. */
function canBeBuilt(index: IndexFacts): boolean {
  if (!index.valid || index.definition === null) return false;
  return !isMadeByConstraint(index) || (index.constraint?.definition ?? null) !== null;
}

// What was measured (docs/measurements/clone.md): a B-tree's bytes take some three times as long as those of the rows,
// and those of indexes that are filled entry by entry much longer.
const btreeCost = 3;
const otherIndexCost = 10;

function indexCost({ accessMethod, bytes = 0 }: IndexFacts): number {
  return bytes * (accessMethod === 'btree' ? btreeCost : otherIndexCost);
}

function tableCost(table: TableFacts, indexes: readonly IndexFacts[]): number {
  return indexes.filter(canBeBuilt).reduce((total, index) => total + indexCost(index), table.bytes);
}

/** Exclusion constraints, and keys without overlaps, cannot take over a built index: they build their own. */
function isMadeByConstraint(index: IndexFacts): boolean {
  return (
    index.constraint !== null && (index.constraint.type === 'exclusion' || index.accessMethod !== 'btree')
  );
}

function indexTask({ schema, name }: IndexFacts): string {
  return `index ${quoteQualified(schema, name)}`;
}

function planIndex(index: IndexFacts): IndexPlan {
  return {
    task: indexTask(index),
    schema: index.schema,
    name: index.name,
    label: relationLabel(index),
    sql: index.definition ?? '',
    tablespace: index.tablespace,
    cost: indexCost(index),
  };
}

function finishingSteps(index: IndexFacts, table: string): FinishingStep[] {
  const steps: FinishingStep[] = [];
  const name = quoteIdentifier(index.name);
  const qualified = quoteQualified(index.schema, index.name);
  const again = (sql: string, mayFail: FinishingStep['mayFail'] = null) =>
    steps.push({ constraint: null, sql, withIndex: null, builds: null, mayFail });
  if (index.constraint !== null) {
    const { name: constraintName, definition } = index.constraint;
    const whole = addWithIndex(index, index.constraint, table);
    const byItself = isMadeByConstraint(index);
    steps.push({
      constraint: { name: constraintName, definition },
      sql: byItself ? whole : addUsingIndex(index, index.constraint, table),
      withIndex: byItself || definition === null ? null : { task: indexTask(index), sql: whole },
      builds: byItself ? placedIndex(index) : null,
      mayFail: null,
    });
  }
  // pg_dump writes these into the index's own entry, which is not restored.
  for (const { column, target } of index.statistics) {
    again(`alter index ${qualified} alter column ${column} set statistics ${target}`);
  }
  // The target may lack the extension.
  for (const extension of index.extensions ?? []) {
    again(`alter index ${qualified} depends on extension ${quoteIdentifier(extension)}`, {
      object: `index ${relationLabel(index)}`,
    });
  }
  if (index.clustered) again(`alter table ${table} cluster on ${name}`);
  if (index.replicaIdentity) again(`alter table only ${table} replica identity using index ${name}`);
  return steps;
}

type IndexConstraint = NonNullable<IndexFacts['constraint']>;

function addConstraint(constraint: IndexConstraint, table: string): string {
  return `alter table only ${table} add constraint ${quoteIdentifier(constraint.name)}`;
}

function addWithIndex(index: IndexFacts, constraint: IndexConstraint, table: string): string {
  return `${addConstraint(constraint, table)} ${withStorage(index, constraint)}`;
}

function addUsingIndex(index: IndexFacts, constraint: IndexConstraint, table: string): string {
  const type = constraint.type === 'primary' ? 'primary key' : 'unique';
  const deferrable = constraint.deferrable ? ' deferrable' : '';
  const deferred = constraint.deferred ? ' initially deferred' : '';
  const using = `using index ${quoteIdentifier(index.name)}`;
  return `${addConstraint(constraint, table)} ${type} ${using}${deferrable}${deferred}`;
}

function placedIndex(index: IndexFacts): NonNullable<FinishingStep['builds']> {
  const { schema, name, tablespace } = index;
  return { schema, name, label: relationLabel(index), tablespace };
}

/** pg_get_constraintdef tells the storage parameters of an exclusion constraint, and not those of a key. */
function withStorage(
  { storage = null }: IndexFacts,
  { type, definition, deferrable, deferred }: IndexConstraint,
): string {
  const whole = definition ?? '';
  if (type === 'exclusion' || storage === null) return whole;
  const end = `${deferrable ? ' DEFERRABLE' : ''}${deferred ? ' INITIALLY DEFERRED' : ''}`;
  return `${whole.slice(0, whole.length - end.length)} with (${storage})${end}`;
}

function remarksOn(schema: SourceSchema): string[] {
  const remarks: string[] = [];
  const leaves = new Set(schema.tables.filter((table) => table.kind === 'table').map((table) => table.oid));
  for (const index of schema.indexes) {
    if (!leaves.has(index.tableOid)) continue;
    if (!index.valid) remarks.push(`index ${relationLabel(index)} is invalid on the source and is not built`);
    else if (index.definition === null)
      remarks.push(`index ${relationLabel(index)} was dropped on the source`);
  }
  for (const name of schema.subscriptions) remarks.push(`subscription ${name} is not copied`);
  for (const name of schema.hiddenMappings ?? [])
    remarks.push(
      `the user mapping of ${name} is made without its options (user, password, …), which our role on the source may not read`,
    );
  return remarks;
}

/** `copy … to stdout` on the source. A table without columns has no list: `()` is no SQL. */
export function copyOutStatement(
  plan: Pick<TablePlan, 'qualified' | 'columns' | 'rowFilter'>,
  part: Pick<PartPlan, 'condition'>,
  format: CopyFormat,
): string {
  const end = format === 'binary' ? ' with (format binary)' : '';
  const conditions = [part.condition, plan.rowFilter].flatMap((one) => (one === null ? [] : `(${one})`));
  if (conditions.length === 0) return `copy ${plan.qualified}${columnList(plan)} to stdout${end}`;
  const columns = plan.columns.map(quoteIdentifier).join(', ');
  return `copy (select ${columns} from only ${plan.qualified} where ${conditions.join(' and ')}) to stdout${end}`;
}

/** `copy … from stdin` on the target. */
export function copyInStatement(
  plan: Pick<TablePlan, 'qualified' | 'columns'>,
  format: CopyFormat,
  freeze: boolean,
): string {
  const options = [...(format === 'binary' ? ['format binary'] : []), ...(freeze ? ['freeze'] : [])];
  const end = options.length === 0 ? '' : ` with (${options.join(', ')})`;
  return `copy ${plan.qualified}${columnList(plan)} from stdin${end}`;
}

function columnList(plan: Pick<TablePlan, 'columns'>): string {
  return plan.columns.length === 0 ? '' : ` (${plan.columns.map(quoteIdentifier).join(', ')})`;
}

// FREEZE spares the table a later VACUUM that would write every page again; it asks for a TRUNCATE in the same
// transaction, which costs two files and their fsync. Below this size that is more than it saves.
const freezeFromBytes = 1024 * 1024;

/** Whether a table is large enough for what is done to a table as a whole to be worth its while. */
export function isLarge(table: TableFacts): boolean {
  return table.bytes >= freezeFromBytes;
}

/** Whether a table's rows are written frozen (DESIGN 11.21: only a whole table, never a partitioned one). */
export function isFrozen(plan: TablePlan, target: CopyTarget | undefined): boolean {
  const mayBe = target === undefined || (target.truncatable && !target.partitioned);
  return plan.table.kind === 'table' && plan.parts.length === 1 && isLarge(plan.table) && mayBe;
}

export type CopyFormat = 'text' | 'binary';

/** What the two servers have in common, and what was asked for. */
export type FormatChoice = {
  /** --use-copy-binary: also types of which only the user knows that they are the same on both sides. */
  readonly binaryAsked: boolean;
  readonly source: { readonly version: number; readonly encoding: string };
  readonly target: { readonly version: number; readonly encoding: string };
};

/**
 * Binary spares the target a quarter of its work. It is taken where nothing can be different: servers of one major
 * version and encoding, columns of the same types on both, all of types that are safe.
 */
export function chooseFormat(
  choice: FormatChoice,
  source: BinaryTable | undefined,
  target: CopyTarget | undefined,
): CopyFormat {
  if (source === undefined || target === undefined || source.columns !== target.columns) return 'text';
  if (choice.source.encoding !== choice.target.encoding || choice.source.encoding === 'SQL_ASCII')
    return 'text';
  if (choice.binaryAsked) return 'binary';
  const major = (version: number) => Math.floor(version / 10_000);
  const same = major(choice.source.version) === major(choice.target.version);
  return same && source.verdict === 'safe' ? 'binary' : 'text';
}

/** How one foreign key comes to the target. */
export type ForeignKeyPlan = {
  readonly key: ForeignKeyFacts;
  readonly label: string;
  readonly task: string;
  readonly add: string;
  /** Null when adding it has validated it, or when it is not valid on the source either. */
  readonly validate: string | null;
};

// NOT VALID on a partitioned referencing table: from version 18 on (DESIGN 11.22).
const notValidOnPartitionedFrom = 180000;

/** Plans the foreign keys; those dropped since the snapshot are left out. */
export function planForeignKeys(keys: readonly ForeignKeyFacts[], targetVersion: number): ForeignKeyPlan[] {
  return keys.flatMap((key) => {
    if (key.definition === null) return [];
    const table = quoteQualified(key.schema, key.table);
    const name = quoteIdentifier(key.name);
    const partitioned = key.tableKind === 'partitioned';
    const add = `alter table ${partitioned ? '' : 'only '}${table} add constraint ${name} ${key.definition}`;
    const later = key.validated && (!partitioned || targetVersion >= notValidOnPartitionedFrom);
    return [
      {
        key,
        label: `${key.name} of ${relationLabel({ schema: key.schema, name: key.table })}`,
        task: `foreign-key ${table}.${name}`,
        // A definition that was not valid on the source says NOT VALID itself.
        add: later ? `${add} not valid` : add,
        validate: later ? `alter table ${table} validate constraint ${name}` : null,
      },
    ];
  });
}

/** The GENERATED ALWAYS identity columns, which refuse updates until finalize (DESIGN 11.17). */
export function alwaysIdentities(schema: SourceSchema): IdentityColumn[] {
  return schema.tables.flatMap((table) => {
    // From 17 on a partition has its identity from its parent, and cannot be altered by itself.
    if (table.partition && schema.serverVersion >= 170000) return [];
    return (schema.columns[table.oid] ?? [])
      .filter((column) => column.identity === 'always')
      .map((column) => ({ schema: table.schema, table: table.name, column: column.name }));
  });
}

// A share of what the target says is its memory for caching, over all index workers: a small hosted server dies of
// four times 1 GB. Beyond 1 GB an index build gains little.
const maintenanceShare = 4;
const maintenanceMostKb = 1024 * 1024;

/** maintenance_work_mem of an index session in kB; never below what the server is set to. */
export function maintenanceWorkMemKb(settings: {
  readonly currentKb: number;
  readonly effectiveCacheKb: number;
  readonly indexJobs: number;
}): number {
  const share = Math.floor(settings.effectiveCacheKb / (maintenanceShare * settings.indexJobs));
  return Math.max(settings.currentKb, Math.min(share, maintenanceMostKb));
}
