/**
 * What the applier must know of the target's tables: column types, generated and identity columns, indexes. Asked for
 * when a relation is first used, for all relations known by then in one query, and again after any failure.
 *
 * Every name is qualified, so that no search_path matters.
 */
import { mayBeNull } from '../postgres/nullable.js';
import type { WireSession } from '../postgres/wire-session.js';

export type TargetColumn = {
  readonly name: string;
  /** The type without its length, for a cast in SQL: the assignment checks the length, an explicit cast would cut. */
  readonly type: string;
  /**
   * What stands between the text and the type in a cast: nothing, or another string type where a cast from text to this
   * type is a function, which may read the value otherwise than the type's own input function. Null where that cannot
   * be avoided.
   */
  readonly via: string | null;
  /** The type is an array: a list of its values would be an array of more dimensions. */
  readonly array: boolean;
  readonly generated: boolean;
  /** GENERATED ALWAYS AS IDENTITY: no UPDATE may name it. */
  readonly identityAlways: boolean;
  readonly notNull: boolean;
};

export type TargetIndex = {
  /** Names of the columns; null for an expression. */
  readonly columns: readonly (string | null)[];
  /** Per column the equality of the index's operator class, as `operator(schema.=)`; null where it has none of its own. */
  readonly equals: readonly (string | null)[];
  /** Whether every comparison `column = value` can use it: a btree whose collations are the columns' own. */
  readonly plain: boolean;
  /** UNIQUE or an exclusion constraint. */
  readonly constraining: boolean;
  /** UNIQUE, valid, immediate, without a predicate or expressions: it makes its columns a key. */
  readonly key: boolean;
  readonly partial: boolean;
};

export type TargetTable = {
  readonly partitioned: boolean;
  /** Something fires when rows change: triggers, foreign keys on either side, rules. In this session, so as they are now. */
  readonly fires: boolean;
  /** Row security applies to this role: some rows are not there for it. */
  readonly hidden: boolean;
  /** COPY does what INSERT does: a table, no rules, no row security for this role. */
  readonly copyable: boolean;
  readonly columns: ReadonlyMap<string, TargetColumn>;
  readonly indexes: readonly TargetIndex[];
  /** Partitioned tables that are tied to it by a foreign key. */
  readonly tied: readonly TiedRoot[];
};

/** A table's name. */
export type TableName = { readonly schema: string; readonly name: string };

/** A partitioned table with the tables that hold its rows. */
export type TiedRoot = TableName & { readonly leaves: readonly TableName[] };

/** Whether a trigger or rule in this state fires in this session. */
export function firesIn(state: string): string {
  return `${state} = any (case pg_catalog.current_setting('session_replication_role')
    when 'replica' then array['R', 'A'] else array['O', 'A'] end::"char"[])`;
}

/** One row per table that exists: its columns and its indexes as JSON, since a query has only one list of rows. */
const tablesQuery = `
  select w.i::pg_catalog.text, (c.relkind = 'p')::pg_catalog.text,
    coalesce((
      select pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', a.attname,
        'type', pg_catalog.concat(pg_catalog.quote_ident(tn.nspname), '.', pg_catalog.quote_ident(ty.typname)),
        'casts', (
          with recursive base (oid, typtype, typbasetype) as (
            select b.oid, b.typtype, b.typbasetype from pg_catalog.pg_type b where b.oid = a.atttypid
            union all
            select b.oid, b.typtype, b.typbasetype from base
            join pg_catalog.pg_type b on b.oid = base.typbasetype where base.typtype = 'd'
          )
          select coalesce(pg_catalog.json_object_agg(
            k.castsource::pg_catalog.regtype::pg_catalog.text, k.oid >= 16384), '{}'::pg_catalog.json)
          from base join pg_catalog.pg_cast k on k.casttarget = base.oid
          where base.typtype <> 'd' and k.castmethod = 'f'
        ),
        'array', ty.typcategory = 'A',
        'generated', a.attgenerated <> '',
        'identityAlways', a.attidentity = 'a',
        'notNull', not ${mayBeNull('a')}
      ) order by a.attnum)
      from pg_catalog.pg_attribute a
      join pg_catalog.pg_type ty on ty.oid = a.atttypid
      join pg_catalog.pg_namespace tn on tn.oid = ty.typnamespace
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ), '[]'::pg_catalog.json)::pg_catalog.text,
    coalesce((
      select pg_catalog.json_agg(pg_catalog.json_build_object(
        'columns', (
          select pg_catalog.json_agg(a.attname order by k.n)
          from pg_catalog.generate_series(0, x.indnkeyatts - 1) k (n)
          left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = x.indkey[k.n] and a.attnum <> 0
        ),
        'equals', (
          select pg_catalog.json_agg(
            case when op.oid is not null then
              pg_catalog.concat('operator(', pg_catalog.quote_ident(opn.nspname), '.', op.oprname, ')')
            end order by k.n)
          from pg_catalog.generate_series(0, x.indnkeyatts - 1) k (n)
          left join pg_catalog.pg_opclass oc on oc.oid = x.indclass[k.n]
          left join pg_catalog.pg_amop ao on ao.amopfamily = oc.opcfamily and ao.amopstrategy = 3
            and ao.amoplefttype = oc.opcintype and ao.amoprighttype = oc.opcintype and am.amname = 'btree'
          left join pg_catalog.pg_operator op on op.oid = ao.amopopr
          left join pg_catalog.pg_namespace opn on opn.oid = op.oprnamespace
        ),
        'plain', am.amname = 'btree' and not exists (
          select from pg_catalog.generate_series(0, x.indnkeyatts - 1) k (n)
          left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = x.indkey[k.n] and a.attnum <> 0
          where a.attcollation is distinct from x.indcollation[k.n]
        ),
        'constraining', x.indisunique or x.indisexclusion,
        'key', x.indisunique and x.indimmediate and x.indisvalid and x.indpred is null and x.indexprs is null,
        'partial', x.indpred is not null
      ) order by x.indisprimary desc, x.indexrelid)
      from pg_catalog.pg_index x
      join pg_catalog.pg_class xc on xc.oid = x.indexrelid
      join pg_catalog.pg_am am on am.oid = xc.relam
      where x.indrelid = c.oid and x.indislive
    ), '[]'::pg_catalog.json)::pg_catalog.text,
    (
      exists (
        select from pg_catalog.pg_trigger g
        left join pg_catalog.pg_constraint gk on gk.oid = g.tgconstraint
        where (g.tgrelid = c.oid
            or c.relkind = 'p' and g.tgrelid in (select t.relid from pg_catalog.pg_partition_tree(c.oid) t))
          and ${firesIn('g.tgenabled')}
          -- The trigger of a deferrable key only looks at the key again.
          and (gk.contype is null or gk.contype not in ('p', 'u', 'x'))
      ) or exists (
        select from pg_catalog.pg_rewrite r
        where r.ev_class = c.oid and r.ev_type <> '1' and ${firesIn('r.ev_enabled')}
      )
    )::pg_catalog.text,
    pg_catalog.row_security_active(c.oid)::pg_catalog.text,
    (
      c.relkind in ('r', 'p') and not pg_catalog.row_security_active(c.oid)
      and not exists (
        select from pg_catalog.pg_rewrite r where r.ev_class = c.oid and r.ev_type <> '1' and r.ev_enabled <> 'D'
      )
    )::pg_catalog.text,
    coalesce((
      select pg_catalog.json_agg(pg_catalog.json_build_object('schema', rn.nspname, 'name', r.relname, 'leaves', coalesce((
        select pg_catalog.json_agg(pg_catalog.json_build_object('schema', ln.nspname, 'name', l.relname))
        from pg_catalog.pg_partition_tree(r.oid) t
        join pg_catalog.pg_class l on l.oid = t.relid and l.relkind <> 'p'
        join pg_catalog.pg_namespace ln on ln.oid = l.relnamespace
      ), '[]'::pg_catalog.json)))
      from pg_catalog.pg_class r
      join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace
      -- By the key's triggers: pg_constraint has no index for this.
      where r.relkind = 'p' and r.oid in (select g.tgconstrrelid from pg_catalog.pg_trigger g where g.tgrelid = c.oid)
    ), '[]'::pg_catalog.json)::pg_catalog.text
  from unnest($1, $2) with ordinality as w (schema, name, i)
  join pg_catalog.pg_namespace n on n.nspname = w.schema
  join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
  where c.relkind in ('r', 'p', 'f')`;

type ColumnRow = Omit<TargetColumn, 'via'> & {
  /** Casts to the type that are functions: from which type, and whether somebody made it who is not Postgres. */
  readonly casts: Readonly<Record<string, boolean>>;
};

/** The target's tables of these names, in their order; null for one that is not there. */
export async function fetchTargetTables(
  session: WireSession,
  names: readonly TableName[],
): Promise<(TargetTable | null)[]> {
  const tables: (TargetTable | null)[] = names.map(() => null);
  const rows = await session.query(tablesQuery, [
    names.map(({ schema }) => schema),
    names.map(({ name }) => name),
  ]);
  for (const [ordinal, partitioned, columnsText, indexesText, fires, hidden, copyable, tied] of rows) {
    const columns = JSON.parse(columnsText ?? '[]') as readonly ColumnRow[];
    tables[Number(ordinal) - 1] = {
      partitioned: partitioned === 'true',
      fires: fires === 'true',
      hidden: hidden === 'true',
      copyable: copyable === 'true',
      columns: new Map(columns.map((column) => [column.name, readColumn(column)])),
      indexes: JSON.parse(indexesText ?? '[]') as readonly TargetIndex[],
      tied: JSON.parse(tied ?? '[]') as readonly TiedRoot[],
    };
  }
  return tables;
}

function readColumn({ casts, ...column }: ColumnRow): TargetColumn {
  return { ...column, via: castVia(casts) };
}

/** The string types, in the order of preference, as regtype prints them under an empty search_path. */
const stringTypes = ['text', 'character varying', 'character'] as const;
const vias = {
  text: '',
  'character varying': '::pg_catalog.varchar',
  character: '::pg_catalog.bpchar',
} as const;

/** Where no string type is free (xml, name, "char"), Postgres's own function reads what its own type printed. */
function castVia(casts: ColumnRow['casts']): string | null {
  const type =
    stringTypes.find((name) => casts[name] === undefined) ?? stringTypes.find((name) => !casts[name]);
  return type === undefined ? null : vias[type];
}
