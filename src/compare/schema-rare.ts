/** The queries for what is rarely made by hand, and what hangs on roles: named as `pg_identify_object` does. */
import { userSchema } from '../postgres/schema-scope.js';
import type { ObjectKind, ObjectScope } from './schema-objects.js';
import { literal, notMember, options, words, type Facts } from './schema-query.js';

/** One of each kind. */
export function rareFacts(scope: ObjectScope): Facts[] {
  return [
    rare('access method', 'pg_am', null, {
      handler: 'o.amhandler::text',
      type: `case o.amtype when 't' then 'table' else 'index' end`,
    }),
    {
      ...operators({
        function: 'o.oprcode::text',
        commutator: nameOrNull('o.oprcom::pg_catalog.regoperator::text', 'o.oprcom'),
        negator: nameOrNull('o.oprnegate::pg_catalog.regoperator::text', 'o.oprnegate'),
        restrict: nameOrNull('o.oprrest::text', 'o.oprrest'),
        join: nameOrNull('o.oprjoin::text', 'o.oprjoin'),
        merges: words('o.oprcanmerge', 'yes'),
        hashes: words('o.oprcanhash', 'yes'),
      }),
      owner: 'o.oprowner',
    },
    {
      ...rare('operator', 'pg_opclass', 'opcnamespace', {
        type: 'pg_catalog.format_type(o.opcintype, null)',
        storage: `case when o.opckeytype <> 0 then pg_catalog.format_type(o.opckeytype, null) end`,
        family: identified('pg_opfamily', 'i.identity', 'o.opcfamily'),
        default: words('o.opcdefault', 'yes'),
      }),
      owner: 'o.opcowner',
    },
    {
      ...rare('operator', 'pg_opfamily', 'opfnamespace', {
        operators: `(select pg_catalog.string_agg(pg_catalog.concat_ws(' ', m.amopstrategy,
            m.amopopr::pg_catalog.regoperator::text, case when m.amoppurpose = 'o' then 'for order by' end), ', '
            order by m.amopstrategy, m.amopopr::pg_catalog.regoperator::text collate "C")
          from pg_catalog.pg_amop m where m.amopfamily = o.oid)`,
        functions: `(select pg_catalog.string_agg(pg_catalog.concat_ws(' ', m.amprocnum,
            m.amproclefttype::pg_catalog.regtype::text, m.amprocrighttype::pg_catalog.regtype::text, m.amproc::text), ', '
            order by m.amprocnum, m.amproclefttype::pg_catalog.regtype::text collate "C",
              m.amprocrighttype::pg_catalog.regtype::text collate "C")
          from pg_catalog.pg_amproc m where m.amprocfamily = o.oid)`,
      }),
      owner: 'o.opfowner',
    },
    rare('cast', 'pg_cast', null, {
      used: `case o.castcontext when 'a' then 'in assignments' when 'i' then 'implicitly' else 'explicitly' end`,
      by: `case o.castmethod when 'f' then o.castfunc::pg_catalog.regprocedure::text when 'i' then 'input and output'
        else 'no function' end`,
    }),
    {
      ...rare('language', 'pg_language', null, { trusted: words('o.lanpltrusted', 'yes') }),
      owner: 'o.lanowner',
      acl: { column: 'o.lanacl', kind: "'l'" },
    },
    {
      ...rare('transform', 'pg_transform', null, {
        'from SQL': nameOrNull('o.trffromsql::pg_catalog.regprocedure::text', 'o.trffromsql'),
        'to SQL': nameOrNull('o.trftosql::pg_catalog.regprocedure::text', 'o.trftosql'),
      }),
      // The servers' own words for it are not the same in 15 and 18.
      identity: `'for ' || pg_catalog.format_type(o.trftype, null) || ' language ' || (
        select pg_catalog.quote_ident(l.lanname) from pg_catalog.pg_language l where l.oid = o.trflang)`,
    },
    {
      ...rare('conversion', 'pg_conversion', 'connamespace', {
        from: 'pg_catalog.pg_encoding_to_char(o.conforencoding)',
        to: 'pg_catalog.pg_encoding_to_char(o.contoencoding)',
        function: 'o.conproc::text',
        default: words('o.condefault', 'yes'),
      }),
      owner: 'o.conowner',
    },
    {
      ...rare('text search', 'pg_ts_config', 'cfgnamespace', {
        parser: identified('pg_ts_parser', 'i.identity', 'o.cfgparser'),
        mappings: `(select pg_catalog.string_agg(w.words, '; ' order by w.words collate "C") from (
          select t.alias || ' ' || pg_catalog.string_agg(m.mapdict::pg_catalog.regdictionary::text, ', '
              order by m.mapseqno) as words
          from pg_catalog.pg_ts_config_map m
          join pg_catalog.ts_token_type(o.cfgparser) t on t.tokid = m.maptokentype
          where m.mapcfg = o.oid group by t.alias) w)`,
      }),
      owner: 'o.cfgowner',
    },
    {
      ...rare('text search', 'pg_ts_dict', 'dictnamespace', {
        template: identified('pg_ts_template', 'i.identity', 'o.dicttemplate'),
        options: 'o.dictinitoption',
      }),
      owner: 'o.dictowner',
    },
    {
      ...rare('foreign-data wrapper', 'pg_foreign_data_wrapper', null, {
        handler: nameOrNull('o.fdwhandler::pg_catalog.regproc::text', 'o.fdwhandler'),
        validator: nameOrNull('o.fdwvalidator::pg_catalog.regproc::text', 'o.fdwvalidator'),
        options: options('o.fdwoptions'),
      }),
      owner: 'o.fdwowner',
      acl: { column: 'o.fdwacl', kind: "'F'" },
    },
    {
      ...rare('server', 'pg_foreign_server', null, {
        wrapper: `(select pg_catalog.quote_ident(w.fdwname) from pg_catalog.pg_foreign_data_wrapper w where w.oid = o.srvfdw)`,
        type: 'o.srvtype',
        version: 'o.srvversion',
        options: options('o.srvoptions'),
      }),
      owner: 'o.srvowner',
      acl: { column: 'o.srvacl', kind: "'S'" },
    },
    {
      // That it is there: its options hold a password, and are kept from most.
      ...rare('user mapping', 'pg_user_mapping', null, {}),
      from: `from (select m.umid as oid from pg_catalog.pg_user_mappings m) o where true`,
    },
    ...(scope.acls
      ? [
          {
            ...rare('default privileges', 'pg_default_acl', null, {}),
            identity: identified('pg_default_acl', 'i.identity'),
            owner: 'o.defaclrole',
            // Those of a schema begin with nothing, as columns do; the others with the server's own, which since 17 have
            // MAINTAIN.
            acl: {
              column: 'o.defaclacl',
              kind: `case when o.defaclnamespace <> 0 then 'c' when o.defaclobjtype = 'S' then 's' else o.defaclobjtype end`,
            },
          },
        ]
      : []),
  ];
}

/** What the server calls an object of a catalog. */
const identified = (catalog: string, text: string, oid = 'o.oid') => `(select ${text}
  from pg_catalog.pg_identify_object('pg_catalog.${catalog}'::pg_catalog.regclass, ${oid}, 0) i)`;

/** The name of what a column points at by its oid; null where it points at nothing. */
const nameOrNull = (name: string, oid: string) => `case when ${oid}::pg_catalog.oid <> 0 then ${name} end`;

/** A name without a function is none yet: another operator named it as its counterpart, and no dump makes it. */
function operators(properties: Facts['properties']): Facts {
  const facts = rare('operator', 'pg_operator', 'oprnamespace', properties);
  return { ...facts, from: `${facts.from} and o.oprcode <> 0` };
}

function rare(
  kind: ObjectKind,
  catalog: string,
  namespace: string | null,
  properties: Facts['properties'],
): Facts {
  const join = namespace === null ? '' : `join pg_catalog.pg_namespace n on n.oid = o.${namespace}`;
  const where = namespace === null ? 'o.oid >= 16384' : userSchema;
  return {
    kind: literal(kind),
    catalog,
    oid: 'o.oid',
    schema: namespace === null ? null : 'n.nspname',
    // Of a text search configuration: `configuration public.own`.
    identity: identified(
      catalog,
      `pg_catalog.ltrim(pg_catalog.replace(i.type, '${kind}', '') || ' ' || i.identity)`,
    ),
    properties,
    // What came with another object (the cast of a range to its multirange) is told with that one.
    from: `from pg_catalog.${catalog} o ${join} where ${where} and ${notMember(catalog, 'o.oid')}
        and not exists (select from pg_catalog.pg_depend e
          where e.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and e.objid = o.oid and e.deptype = 'i')`,
  };
}
