/**
 * Everything that a schema is made of, as one list: each object with its properties as text. One catalog query per
 * kind of object, whatever the number of objects. Definitions are printed by the server, with every name in full,
 * since search_path is empty.
 *
 * Not listed: what belongs to extensions (they are compared by version), to the system or to walferry; what Postgres
 * makes by itself (row types, array types, TOAST, indexes of constraints, triggers of foreign keys, constraints that
 * partitions inherit); publications and subscriptions, which a copy leaves out.
 */
import type { Session } from '../postgres/connect.js';
import { userSchema } from '../postgres/schema-scope.js';

/** The kinds of objects, in the order in which they are told. */
export const objectKinds = [
  'schema',
  'extension',
  'collation',
  'type',
  'domain',
  'function',
  'procedure',
  'aggregate',
  'operator',
  'cast',
  'language',
  'text search',
  'foreign-data wrapper',
  'server',
  'sequence',
  'table',
  'foreign table',
  'view',
  'materialized view',
  'constraint',
  'index',
  'statistics',
  'trigger',
  'rule',
  'policy',
  'event trigger',
] as const;
export type ObjectKind = (typeof objectKinds)[number];

/** An object of one side. */
export type SchemaObject = {
  readonly kind: ObjectKind;
  /** The row of a system catalog that it is, for filters. */
  readonly classOid: number;
  readonly oid: number;
  /** Null where it is in no schema. */
  readonly schema: string | null;
  /** What names it among those of its kind, for people too: `public.t`, `public.t: t_pkey`. */
  readonly identity: string;
  /** By name; what is absent or null on both sides is equal. */
  readonly properties: Readonly<Record<string, string | null>>;
};

/** What is read beside the definitions. */
export type ObjectScope = {
  readonly comments: boolean;
  readonly owners: boolean;
  readonly acls: boolean;
  /** Where sequences stand. */
  readonly sequenceValues: boolean;
};

const notMember = (catalog: string, oid: string) => `not exists (select from pg_catalog.pg_depend e
    where e.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and e.objid = ${oid} and e.deptype = 'e')`;

/** `"schema".name` as people write it. */
const named = (schema: string, name: string) =>
  `pg_catalog.quote_ident(${schema}) || '.' || pg_catalog.quote_ident(${name})`;

type Facts = {
  readonly kind: string;
  /** The catalog and the row's oid. */
  readonly catalog: string;
  readonly oid: string;
  /** `n.nspname`, or null. */
  readonly schema: string | null;
  readonly identity: string;
  /** SQL name → SQL expression of type text. */
  readonly properties: Readonly<Record<string, string>>;
  readonly owner?: string;
  readonly acl?: string;
  /** From and where. */
  readonly from: string;
};

function query(facts: Facts, scope: ObjectScope): string {
  const { kind, catalog, oid, schema, identity, from, owner, acl } = facts;
  const properties: Record<string, string> = {
    ...facts.properties,
    ...(scope.comments ? { comment: `pg_catalog.obj_description(${oid}, '${catalog}')` } : {}),
    ...(scope.owners && owner !== undefined ? { owner: `pg_catalog.pg_get_userbyid(${owner})` } : {}),
    ...(scope.acls && acl !== undefined ? { privileges: aclText(acl) } : {}),
  };
  const list = Object.entries(properties).map(([name, sql]) => `'${name}', ${sql}`);
  return `
    select ${kind} as kind, 'pg_catalog.${catalog}'::pg_catalog.regclass::pg_catalog.oid as class_oid, ${oid} as oid,
      ${schema ?? 'null'} as schema, ${identity} as identity,
      pg_catalog.jsonb_build_object(${list.join(', ')})::text as properties
    ${from}`;
}

/** Granted rights, sorted: grantors are who happened to run the copy. */
function aclText(acl: string): string {
  return `(select pg_catalog.string_agg(case a.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(a.grantee) end
      || '=' || a.privilege_type || case when a.is_grantable then '*' else '' end, ', '
      order by case a.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(a.grantee) end collate "C",
        a.privilege_type collate "C")
    from pg_catalog.aclexplode(${acl}) a)`;
}

const literal = (kind: ObjectKind) => `'${kind}'`;
const words = (flag: string, word: string) => `case when ${flag} then '${word}' end`;
const options = (column: string) =>
  `(select pg_catalog.string_agg(o, ', ' order by o collate "C") from pg_catalog.unnest(${column}) o)`;

// A default collation is not named; statistics targets are -1 or null where none is set, by version.
const columnText = `pg_catalog.concat_ws(' ',
    pg_catalog.format_type(a.atttypid, a.atttypmod),
    (select 'collate ' || pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(k.collname)
       from pg_catalog.pg_collation k join pg_catalog.pg_namespace cn on cn.oid = k.collnamespace
      where k.oid = a.attcollation and k.oid <> t.typcollation),
    ${words('a.attnotnull', 'not null')},
    case when a.attgenerated <> '' then 'generated always as (' || pg_catalog.pg_get_expr(d.adbin, d.adrelid) || ')'
           || case a.attgenerated when 's' then ' stored' else ' virtual' end
         when d.adbin is not null then 'default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid) end,
    case a.attidentity when 'a' then 'generated always as identity'
      when 'd' then 'generated by default as identity' end,
    case when a.attstorage <> t.typstorage then 'storage ' || case a.attstorage when 'p' then 'plain'
      when 'e' then 'external' when 'm' then 'main' else 'extended' end end,
    case a.attcompression when 'p' then 'compression pglz' when 'l' then 'compression lz4' end,
    case when a.attstattarget >= 0 then 'statistics ' || a.attstattarget end,
    'options (' || ${options('a.attfdwoptions')} || ')')`;

const columns = (comments: boolean) => `(
  select pg_catalog.jsonb_object_agg('column ' || pg_catalog.quote_ident(a.attname), ${columnText})
      ${
        comments
          ? `|| coalesce(pg_catalog.jsonb_object_agg('comment on column ' || pg_catalog.quote_ident(a.attname),
        pg_catalog.col_description(a.attrelid, a.attnum))
        filter (where pg_catalog.col_description(a.attrelid, a.attnum) is not null), '{}')`
          : ''
      }
      || pg_catalog.jsonb_build_object('column order', pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', '
        order by a.attnum))
    from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)`;

const tableIdentity = named('n.nspname', 'c.relname');

/** One query per kind of object, the same for every version from 14 to 18. */
export function objectQueries(scope: ObjectScope): string[] {
  const facts: Facts[] = [
    {
      kind: literal('schema'),
      catalog: 'pg_namespace',
      oid: 'n.oid',
      schema: 'n.nspname',
      identity: 'pg_catalog.quote_ident(n.nspname)',
      properties: {},
      owner: 'n.nspowner',
      acl: 'n.nspacl',
      from: `from pg_catalog.pg_namespace n where ${userSchema} and ${notMember('pg_namespace', 'n.oid')}`,
    },
    {
      kind: literal('extension'),
      catalog: 'pg_extension',
      oid: 'x.oid',
      schema: null,
      identity: 'pg_catalog.quote_ident(x.extname)',
      properties: { version: 'x.extversion', schema: 'pg_catalog.quote_ident(n.nspname)' },
      from: 'from pg_catalog.pg_extension x join pg_catalog.pg_namespace n on n.oid = x.extnamespace',
    },
    {
      kind: literal('collation'),
      catalog: 'pg_collation',
      oid: 'k.oid',
      schema: 'n.nspname',
      identity: named('n.nspname', 'k.collname'),
      properties: {
        provider: `case k.collprovider when 'i' then 'icu' when 'c' then 'libc' when 'b' then 'builtin' else 'default' end`,
        locale: `coalesce(f.facts ->> 'colllocale', f.facts ->> 'colliculocale', k.collcollate)`,
        ctype: 'k.collctype',
        deterministic: 'k.collisdeterministic::text',
        rules: `f.facts ->> 'collicurules'`,
      },
      owner: 'k.collowner',
      from: `from pg_catalog.pg_collation k join pg_catalog.pg_namespace n on n.oid = k.collnamespace,
        lateral (select pg_catalog.to_jsonb(k) as facts) f
        where ${userSchema} and ${notMember('pg_collation', 'k.oid')}`,
    },
    {
      // Not the row types of tables, nor array and multirange types, which come with their element's.
      kind: `case t.typtype when 'd' then 'domain' else 'type' end`,
      catalog: 'pg_type',
      oid: 't.oid',
      schema: 'n.nspname',
      identity: named('n.nspname', 't.typname'),
      properties: {
        kind: `case t.typtype when 'e' then 'enum' when 'c' then 'composite' when 'r' then 'range'
          when 'd' then 'domain' when 'p' then 'shell' else 'base' end`,
        labels: `(select pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
          from pg_catalog.pg_enum e where e.enumtypid = t.oid)`,
        attributes: `(select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || ' '
            || pg_catalog.format_type(a.atttypid, a.atttypmod)
            || case when a.attcollation <> b.typcollation then ' collate ' || a.attcollation::pg_catalog.regcollation::text
               else '' end, ', ' order by a.attnum)
          from pg_catalog.pg_attribute a join pg_catalog.pg_type b on b.oid = a.atttypid
          where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)`,
        base: `case when t.typtype = 'd' then pg_catalog.format_type(t.typbasetype, t.typtypmod) end`,
        'not null': words('t.typnotnull', 'yes'),
        default: 't.typdefault',
        collation: `case when t.typtype = 'd' and t.typcollation <> coalesce(bt.typcollation, 0)
          then t.typcollation::pg_catalog.regcollation::text end`,
        checks: `(select pg_catalog.string_agg(pg_catalog.quote_ident(k.conname) || ' '
            || pg_catalog.pg_get_constraintdef(k.oid), ', ' order by k.conname collate "C")
          from pg_catalog.pg_constraint k where k.contypid = t.oid and k.contype = 'c')`,
        subtype: `(select pg_catalog.concat_ws(' ', pg_catalog.format_type(r.rngsubtype, null),
            nullif(r.rngcollation::pg_catalog.regcollation::text, '-'), o.opcname,
            nullif(r.rngcanonical::text, '-'), nullif(r.rngsubdiff::text, '-'))
          from pg_catalog.pg_range r join pg_catalog.pg_opclass o on o.oid = r.rngsubopc where r.rngtypid = t.oid)`,
      },
      owner: 't.typowner',
      acl: 't.typacl',
      from: `from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
        left join pg_catalog.pg_class c on c.oid = t.typrelid
        left join pg_catalog.pg_type bt on bt.oid = t.typbasetype
        where ${userSchema} and t.typtype <> 'm' and (c.oid is null or c.relkind = 'c')
          and not (t.typelem <> 0 and t.typlen = -1 and t.typcategory = 'A')
          and ${notMember('pg_type', 't.oid')}`,
    },
    {
      kind: `case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end`,
      catalog: 'pg_proc',
      oid: 'p.oid',
      schema: 'n.nspname',
      identity: `${named('n.nspname', 'p.proname')} || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')'`,
      properties: {
        definition: `case when p.prokind <> 'a' then pg_catalog.pg_get_functiondef(p.oid) end`,
        aggregate: `(select pg_catalog.concat_ws(' ', 'sfunc', g.aggtransfn::text, 'stype',
            pg_catalog.format_type(g.aggtranstype, null), 'final', nullif(g.aggfinalfn::text, '-'),
            'combine', nullif(g.aggcombinefn::text, '-'), 'initial', g.agginitval, 'kind', g.aggkind,
            'result', pg_catalog.pg_get_function_result(p.oid), p.proparallel)
          from pg_catalog.pg_aggregate g where g.aggfnoid = p.oid)`,
      },
      owner: 'p.proowner',
      acl: 'p.proacl',
      from: `from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where ${userSchema} and ${notMember('pg_proc', 'p.oid')}
          and not exists (select from pg_catalog.pg_depend i where i.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
            and i.objid = p.oid and i.deptype = 'i')`,
    },
    {
      kind: literal('sequence'),
      catalog: 'pg_class',
      oid: 'c.oid',
      schema: 'n.nspname',
      identity: tableIdentity,
      properties: {
        type: 'pg_catalog.format_type(s.seqtypid, null)',
        start: 's.seqstart::text',
        increment: 's.seqincrement::text',
        minimum: 's.seqmin::text',
        maximum: 's.seqmax::text',
        cache: 's.seqcache::text',
        cycle: words('s.seqcycle', 'yes'),
        'owned by': `(select ${named('tn.nspname', 't.relname')} || '.' || pg_catalog.quote_ident(a.attname)
          from pg_catalog.pg_depend o
          join pg_catalog.pg_class t on t.oid = o.refobjid
          join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
          join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = o.refobjsubid
          where o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and o.objid = c.oid
            and o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and o.refobjsubid > 0
            and o.deptype in ('a', 'i') limit 1)`,
      },
      owner: 'c.relowner',
      acl: 'c.relacl',
      from: `from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        join pg_catalog.pg_sequence s on s.seqrelid = c.oid
        where ${userSchema} and c.relpersistence <> 't' and ${notMember('pg_class', 'c.oid')}`,
    },
    {
      kind: `case c.relkind when 'f' then 'foreign table' else 'table' end`,
      catalog: 'pg_class',
      oid: 'c.oid',
      schema: 'n.nspname',
      identity: tableIdentity,
      properties: {
        persistence: words(`c.relpersistence = 'u'`, 'unlogged'),
        'partitioned by': `case when c.relkind = 'p' then pg_catalog.pg_get_partkeydef(c.oid) end`,
        'partition of': `(select ${named('pn.nspname', 'p.relname')} || ' ' || pg_catalog.pg_get_expr(c.relpartbound, c.oid)
          from pg_catalog.pg_inherits i join pg_catalog.pg_class p on p.oid = i.inhparent
          join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
          where c.relispartition and i.inhrelid = c.oid)`,
        inherits: `(select pg_catalog.string_agg(${named('pn.nspname', 'p.relname')}, ', ' order by i.inhseqno)
          from pg_catalog.pg_inherits i join pg_catalog.pg_class p on p.oid = i.inhparent
          join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
          where not c.relispartition and i.inhrelid = c.oid)`,
        'row type': `case when c.reloftype <> 0 then pg_catalog.format_type(c.reloftype, null) end`,
        'access method': `(select m.amname from pg_catalog.pg_am m where m.oid = c.relam and m.amname <> 'heap')`,
        'storage options': options('c.reloptions'),
        'replica identity': `case c.relreplident when 'f' then 'full' when 'n' then 'nothing' when 'i' then
          'index ' || (select pg_catalog.quote_ident(x.relname) from pg_catalog.pg_index i
            join pg_catalog.pg_class x on x.oid = i.indexrelid where i.indrelid = c.oid and i.indisreplident limit 1) end`,
        'row security': `nullif(pg_catalog.concat_ws(', ', ${words('c.relrowsecurity', 'enabled')},
          ${words('c.relforcerowsecurity', 'forced')}), '')`,
        server: `(select pg_catalog.concat_ws(' ', pg_catalog.quote_ident(s.srvname), ${options('f.ftoptions')})
          from pg_catalog.pg_foreign_table f join pg_catalog.pg_foreign_server s on s.oid = f.ftserver
          where f.ftrelid = c.oid)`,
        columns: columns(scope.comments),
      },
      owner: 'c.relowner',
      acl: 'c.relacl',
      from: `from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where ${userSchema} and c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'
          and ${notMember('pg_class', 'c.oid')}`,
    },
    {
      kind: `case c.relkind when 'v' then 'view' else 'materialized view' end`,
      catalog: 'pg_class',
      oid: 'c.oid',
      schema: 'n.nspname',
      identity: tableIdentity,
      properties: {
        definition: 'pg_catalog.pg_get_viewdef(c.oid)',
        options: options('c.reloptions'),
        populated: words('not c.relispopulated', 'no'),
        columns: columns(scope.comments),
      },
      owner: 'c.relowner',
      acl: 'c.relacl',
      from: `from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where ${userSchema} and c.relkind in ('v', 'm') and c.relpersistence <> 't'
          and ${notMember('pg_class', 'c.oid')}`,
    },
    {
      // NOT NULL is said with the column; what a table inherits is its parent's.
      kind: literal('constraint'),
      catalog: 'pg_constraint',
      oid: 'k.oid',
      schema: 'n.nspname',
      identity: `${tableIdentity} || ': ' || pg_catalog.quote_ident(k.conname)`,
      properties: { definition: 'pg_catalog.pg_get_constraintdef(k.oid)' },
      from: `from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where ${userSchema} and k.contype in ('c', 'f', 'p', 'u', 'x') and c.relpersistence <> 't'
          and not (k.contype = 'f' and k.conparentid <> 0) and not (k.contype = 'c' and not k.conislocal)
          and ${notMember('pg_class', 'c.oid')}`,
    },
    {
      kind: literal('index'),
      catalog: 'pg_class',
      oid: 'x.oid',
      schema: 'n.nspname',
      identity: named('n.nspname', 'x.relname'),
      properties: {
        definition: 'pg_catalog.pg_get_indexdef(x.oid)',
        state: `nullif(pg_catalog.concat_ws(', ', ${words('not i.indisvalid', 'invalid')},
          ${words('not i.indisready', 'not ready')}), '')`,
        clustered: words('i.indisclustered', 'yes'),
        statistics: `(select pg_catalog.string_agg(a.attnum || ': ' || a.attstattarget, ', ' order by a.attnum)
          from pg_catalog.pg_attribute a where a.attrelid = x.oid and a.attstattarget >= 0)`,
        'partition of': `(select ${named('pn.nspname', 'p.relname')} from pg_catalog.pg_inherits h
          join pg_catalog.pg_class p on p.oid = h.inhparent join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
          where h.inhrelid = x.oid)`,
      },
      from: `from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid
        join pg_catalog.pg_class c on c.oid = i.indrelid join pg_catalog.pg_namespace n on n.oid = x.relnamespace
        where ${userSchema} and c.relkind in ('r', 'p', 'm') and c.relpersistence <> 't'
          and not exists (select from pg_catalog.pg_constraint k where k.conindid = x.oid and k.conrelid = c.oid
            and k.contype in ('p', 'u', 'x'))
          and ${notMember('pg_class', 'c.oid')}`,
    },
    {
      kind: literal('statistics'),
      catalog: 'pg_statistic_ext',
      oid: 's.oid',
      schema: 'n.nspname',
      identity: named('n.nspname', 's.stxname'),
      properties: { definition: 'pg_catalog.pg_get_statisticsobjdef(s.oid)' },
      owner: 's.stxowner',
      from: `from pg_catalog.pg_statistic_ext s join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
        where ${userSchema} and ${notMember('pg_statistic_ext', 's.oid')}`,
    },
    {
      kind: literal('trigger'),
      catalog: 'pg_trigger',
      oid: 'g.oid',
      schema: 'n.nspname',
      identity: `${tableIdentity} || ': ' || pg_catalog.quote_ident(g.tgname)`,
      properties: { definition: 'pg_catalog.pg_get_triggerdef(g.oid)', enabled: enabledText('g.tgenabled') },
      from: `from pg_catalog.pg_trigger g join pg_catalog.pg_class c on c.oid = g.tgrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where ${userSchema} and not g.tgisinternal and g.tgparentid = 0 and ${notMember('pg_class', 'c.oid')}
          and ${notMember('pg_trigger', 'g.oid')}`,
    },
    {
      kind: literal('rule'),
      catalog: 'pg_rewrite',
      oid: 'w.oid',
      schema: 'n.nspname',
      identity: `${tableIdentity} || ': ' || pg_catalog.quote_ident(w.rulename)`,
      properties: { definition: 'pg_catalog.pg_get_ruledef(w.oid)', enabled: enabledText('w.ev_enabled') },
      from: `from pg_catalog.pg_rewrite w join pg_catalog.pg_class c on c.oid = w.ev_class
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where ${userSchema} and w.rulename <> '_RETURN' and ${notMember('pg_class', 'c.oid')}`,
    },
    {
      kind: literal('policy'),
      catalog: 'pg_policy',
      oid: 'l.oid',
      schema: 'n.nspname',
      identity: `${tableIdentity} || ': ' || pg_catalog.quote_ident(l.polname)`,
      properties: {
        command: `case l.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
          when 'd' then 'delete' else 'all' end`,
        kind: `case when l.polpermissive then 'permissive' else 'restrictive' end`,
        roles: `(select pg_catalog.string_agg(case r when 0 then 'public' else pg_catalog.pg_get_userbyid(r)::text end, ', '
          order by case r when 0 then 'public' else pg_catalog.pg_get_userbyid(r)::text end collate "C")
          from pg_catalog.unnest(l.polroles) r)`,
        using: 'pg_catalog.pg_get_expr(l.polqual, l.polrelid)',
        'with check': 'pg_catalog.pg_get_expr(l.polwithcheck, l.polrelid)',
      },
      from: `from pg_catalog.pg_policy l join pg_catalog.pg_class c on c.oid = l.polrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where ${userSchema} and ${notMember('pg_class', 'c.oid')}`,
    },
    {
      kind: literal('event trigger'),
      catalog: 'pg_event_trigger',
      oid: 'v.oid',
      schema: null,
      identity: 'pg_catalog.quote_ident(v.evtname)',
      properties: {
        event: 'v.evtevent',
        function: 'v.evtfoid::pg_catalog.regprocedure::text',
        tags: options('v.evttags'),
        enabled: enabledText('v.evtenabled'),
      },
      owner: 'v.evtowner',
      from: `from pg_catalog.pg_event_trigger v where ${notMember('pg_event_trigger', 'v.oid')}`,
    },
    // Rarely made by hand: told whether they are there.
    ...existence('operator', 'pg_operator', 'oprnamespace'),
    ...existence('operator', 'pg_opclass', 'opcnamespace'),
    ...existence('operator', 'pg_opfamily', 'opfnamespace'),
    ...existence('cast', 'pg_cast', null),
    ...existence('language', 'pg_language', null),
    ...existence('text search', 'pg_ts_config', 'cfgnamespace'),
    ...existence('text search', 'pg_ts_dict', 'dictnamespace'),
    ...existence('foreign-data wrapper', 'pg_foreign_data_wrapper', null),
    ...existence('server', 'pg_foreign_server', null),
  ];
  return facts.map((one) => query(one, scope));
}

function enabledText(letter: string): string {
  return `case ${letter} when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' end`;
}

function existence(kind: ObjectKind, catalog: string, namespace: string | null): Facts[] {
  const schema = namespace === null ? null : 'n.nspname';
  const join = namespace === null ? '' : `join pg_catalog.pg_namespace n on n.oid = o.${namespace}`;
  const where = namespace === null ? 'o.oid >= 16384' : userSchema;
  return [
    {
      kind: literal(kind),
      catalog,
      oid: 'o.oid',
      schema,
      // Of a text search configuration: `configuration public.own`.
      identity: `(select pg_catalog.ltrim(pg_catalog.replace(i.type, '${kind}', '') || ' ' || i.identity)
        from pg_catalog.pg_identify_object('pg_catalog.${catalog}'::pg_catalog.regclass, o.oid, 0) i)`,
      properties: {},
      // What came with another object (the cast of a range to its multirange) is told with that one.
      from: `from pg_catalog.${catalog} o ${join} where ${where} and ${notMember(catalog, 'o.oid')}
        and not exists (select from pg_catalog.pg_depend e
          where e.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and e.objid = o.oid and e.deptype = 'i')`,
    },
  ];
}

// One statement reads this many sequences.
const sequencesAtOnce = 500;

/** All objects of a side, in its open transaction. */
export async function fetchSchemaObjects(session: Session, scope: ObjectScope): Promise<SchemaObject[]> {
  const objects: SchemaObject[] = [];
  for (const sql of objectQueries(scope)) {
    const rows = await session.query(sql, [], `reading the schema of the ${session.side} failed`);
    for (const row of rows) {
      const { columns: own, ...properties } = JSON.parse(row['properties'] ?? '{}') as Record<
        string,
        unknown
      > & {
        readonly columns?: Record<string, string> | null;
      };
      objects.push({
        kind: row['kind'] as ObjectKind,
        classOid: Number(row['class_oid']),
        oid: Number(row['oid']),
        schema: row['schema'] ?? null,
        identity: row['identity'] ?? '',
        properties: { ...(properties as Record<string, string | null>), ...own },
      });
    }
  }
  return scope.sequenceValues ? await withSequenceValues(session, objects) : objects;
}

async function withSequenceValues(
  session: Session,
  objects: readonly SchemaObject[],
): Promise<SchemaObject[]> {
  const sequences = objects.filter(({ kind }) => kind === 'sequence');
  const values = new Map<string, string>();
  for (let from = 0; from < sequences.length; from += sequencesAtOnce) {
    const selects = sequences
      .slice(from, from + sequencesAtOnce)
      .map(
        ({ identity, oid }) =>
          `select ${oid}::pg_catalog.oid as oid, last_value::text, is_called::text from ${identity}`,
      );
    for (const row of await session.query(selects.join(' union all '), [], 'could not read the sequences')) {
      values.set(
        row['oid'] ?? '',
        `${row['last_value']}${row['is_called'] === 'true' ? '' : ' (not called)'}`,
      );
    }
  }
  return objects.map((object) =>
    object.kind === 'sequence'
      ? { ...object, properties: { ...object.properties, value: values.get(String(object.oid)) ?? null } }
      : object,
  );
}
