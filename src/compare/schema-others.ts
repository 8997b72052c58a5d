/** The queries for what is no relation: schemas, extensions, types, functions, and event triggers. */
import { userSchema } from '../postgres/schema-scope.js';
import { offeredVersion } from './schema-objects.js';
import { enabledText, literal, named, notMember, options, words, type Facts } from './schema-query.js';

/** One of each kind. */
export function otherFacts(): Facts[] {
  return [
    {
      kind: literal('schema'),
      catalog: 'pg_namespace',
      oid: 'n.oid',
      schema: 'n.nspname',
      identity: 'pg_catalog.quote_ident(n.nspname)',
      properties: {},
      owner: 'n.nspowner',
      acl: { column: 'n.nspacl', kind: "'n'" },
      from: `from pg_catalog.pg_namespace n where ${userSchema} and ${notMember('pg_namespace', 'n.oid')}`,
    },
    {
      kind: literal('extension'),
      catalog: 'pg_extension',
      oid: 'x.oid',
      schema: null,
      identity: 'pg_catalog.quote_ident(x.extname)',
      properties: {
        version: 'x.extversion',
        schema: 'pg_catalog.quote_ident(n.nspname)',
        [offeredVersion]: `(select a.default_version from pg_catalog.pg_available_extensions a where a.name = x.extname)`,
      },
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
        // Of ICU's, 14 repeats the locale here.
        ctype: `case k.collprovider when 'c' then k.collctype end`,
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
      acl: { column: 't.typacl', kind: "'T'" },
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
      acl: { column: 'p.proacl', kind: "'f'" },
      from: `from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where ${userSchema} and ${notMember('pg_proc', 'p.oid')}
          and not exists (select from pg_catalog.pg_depend i where i.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
            and i.objid = p.oid and i.deptype = 'i')`,
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
  ];
}
