/** What the source's objects need that the target may lack: collations, rights of a superuser, roles, encodings. */
import { attemptStatement } from '../clone/problems.js';
import { listLabels } from '../clone/requirements.js';
import { Failure } from '../failure.js';
import type { CatalogObject, Dependency } from '../model/object-filter.js';
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import { fetchDependencies } from '../postgres/filter-facts.js';
import { userSchema } from '../postgres/schema.js';
import type { Session } from '../postgres/connect.js';
import { counted, fail, pass, some, warn, type Finding } from './finding.js';
import type { RunWish, SourceView } from './options.js';
import type { ServerFacts } from './server-facts.js';
import { trialSchema } from './target.js';

// The system's own collations that something of the user's depends on.
const usedCollationsQuery = `
  select distinct l.collname as name, d.classid as class, d.objid as object,
    pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) as description
  from pg_catalog.pg_collation l
  join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_collation'::regclass and d.refobjid = l.oid
    and d.deptype = 'n'
  where l.collnamespace = 'pg_catalog'::regnamespace and d.objid >= 16384
  order by 1, 4`;

const systemCollationsQuery = `
  select l.collname as name from pg_catalog.pg_collation l, pg_catalog.pg_database d
  where l.collnamespace = 'pg_catalog'::regnamespace and d.datname = pg_catalog.current_database()
    and l.collencoding in (-1, d.encoding)`;

// The provider's columns changed their names in 15 and 17.
const ownCollationsQuery = `
  select l.oid, n.nspname as schema, l.collname as name, l.collprovider as provider,
    l.collisdeterministic as deterministic,
    coalesce(f.facts ->> 'colllocale', f.facts ->> 'colliculocale') as locale,
    f.facts ->> 'collcollate' as collate, f.facts ->> 'collctype' as ctype
  from pg_catalog.pg_collation l
  join pg_catalog.pg_namespace n on n.oid = l.collnamespace,
    lateral (select pg_catalog.to_jsonb(l) as facts) f
  where l.oid >= 16384 and ${userSchema} and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_collation'::regclass and d.objid = l.oid and d.deptype = 'e')
  order by 2, 3`;

const collationClass = 3456;
// Each is a statement of its own.
const collationsTried = 100;

/** Collations, the system's and the user's: the latter are made in the trial's schema. */
export async function checkCollations(
  target: Session,
  view: SourceView,
  wish: RunWish,
  trial: boolean,
): Promise<Finding[]> {
  const used = await view.session.query(usedCollationsQuery);
  const kept = used.filter((row) => view.keeps(Number(row['class']), Number(row['object'])));
  const problems: string[] = [];
  if (kept.length > 0) {
    const there = new Set((await target.query(systemCollationsQuery)).map((row) => row['name']));
    const missing = new Map<string, string[]>();
    for (const row of kept) {
      const name = row['name'] ?? '';
      if (!there.has(name)) missing.set(name, [...(missing.get(name) ?? []), row['description'] ?? '']);
    }
    for (const [name, uses] of missing) {
      problems.push(`the target's system has no collation ${quoteIdentifier(name)}, used by ${some(uses)}`);
    }
  }
  const own = wish.restore.skipCollations === true ? [] : await view.session.query(ownCollationsQuery);
  const ownKept = own.filter((row) => view.keeps(collationClass, Number(row['oid'])));
  for (const row of trial ? ownKept.slice(0, collationsTried) : []) {
    const words = await attemptStatement(target, collationStatement(row));
    const name = `${quoteIdentifier(row['schema'] ?? '')}.${quoteIdentifier(row['name'] ?? '')}`;
    if (words !== null) problems.push(`collation ${name} cannot be made: ${words}`);
  }
  if (problems.length > 0) {
    const failure = new Failure('target-setup', problems.slice(0, 5).join('; '), {
      remedy:
        'Choose a target whose operating system has these locales, or give the columns another collation on the source: alter table … alter column … type text collate …;',
    });
    return [fail('objects.collations', 'collations', failure)];
  }
  if (kept.length + ownKept.length === 0) return [];
  const names = [...new Set([...kept, ...ownKept].map((row) => row['name'] ?? ''))];
  return [pass('objects.collations', 'collations', `the target has ${some(names)}`)];
}

type CollationRow = Readonly<Record<string, string | null>>;

function collationStatement(row: CollationRow): string {
  const literal = (text: string | null | undefined) => quoteLiteral(text ?? '').trim();
  const provider = row['provider'] === 'i' ? 'icu' : row['provider'] === 'b' ? 'builtin' : 'libc';
  // ICU's locale stood in collcollate before 15.
  const locale = row['locale'] ?? row['collate'];
  const words =
    provider === 'libc'
      ? `lc_collate = ${literal(row['collate'])}, lc_ctype = ${literal(row['ctype'])}`
      : `locale = ${literal(locale)}`;
  const name = `${trialSchema}.${quoteIdentifier(row['oid'] ?? '')}`;
  return `create collation ${name} (provider = ${provider}, ${words}, deterministic = ${row['deterministic'] === 't'})`;
}

const isMember = (catalog: string, alias: string) => `exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.${catalog}'::regclass and d.objid = ${alias}.oid and d.deptype = 'e')`;

/** A table of an access method that is not there is made all the same. */
const ofTables = 'whose tables get the default one';

const ofUser = (catalog: string, alias: string) =>
  `${alias}.oid >= 16384 and not ${isMember(catalog, alias)}`;

const everyOne = (catalog: string, note = 'null', condition = 'true') => `
    select 'pg_catalog.${catalog}'::regclass::oid as class, x.oid, ${note} as note
    from pg_catalog.${catalog} x where ${ofUser(catalog, 'x')} and ${condition}
      -- A range type brings its constructors, and the cast to its multirange.
      and not exists (select from pg_catalog.pg_depend i
        where i.classid = 'pg_catalog.${catalog}'::regclass and i.objid = x.oid and i.deptype = 'i')`;

const languageOf = '(select l.lanname from pg_catalog.pg_language l where l.oid = x.prolang)';
const isOfUntrusted =
  'exists (select from pg_catalog.pg_language l where l.oid = x.prolang and not l.lanpltrusted)';
const keepsInternalState = `exists (select from pg_catalog.pg_aggregate a where a.aggfnoid = x.oid
  and 'pg_catalog.internal'::regtype in (a.aggtranstype, a.aggmtranstype))`;

// What only a superuser can create, whatever the rights of a role; a cast and a transform also who owns a type of it.
// Arrays come with their types.
const superuserObjectsQuery = `
  select o.class, o.oid, o.note, i.type || ' ' || i.identity as identity from (${[
    everyOne(
      'pg_proc',
      `case when x.proleakproof then 'leakproof' when x.prosupport <> 0 then 'with a support function'
        else 'in language ' || ${languageOf} end`,
      `x.prokind <> 'a' and (x.proleakproof or x.prosupport <> 0 or ${isOfUntrusted})`,
    ),
    everyOne('pg_proc', `'whose state is internal'`, `x.prokind = 'a' and ${keepsInternalState}`),
    everyOne(
      'pg_type',
      'null',
      `x.typcategory <> 'A' and (x.typtype = 'b' or x.typtype = 'p' and not x.typisdefined)`,
    ),
    everyOne('pg_opclass'),
    everyOne('pg_opfamily'),
    everyOne('pg_am', `case x.amtype when 't' then '${ofTables}' end`),
    everyOne('pg_cast', 'null', `(x.castmethod = 'b' or x.castsource < 16384 and x.casttarget < 16384)`),
    everyOne('pg_transform', 'null', 'x.trftype < 16384'),
    everyOne('pg_language'),
    everyOne('pg_ts_parser'),
    everyOne('pg_ts_template'),
    everyOne('pg_foreign_data_wrapper'),
  ].join(' union all ')}) o,
    lateral pg_catalog.pg_identify_object(o.class, o.oid, 0) i
  order by 4`;

// Without a table or an index a run ends; what else is refused is reported.
const neededKindsQuery = `
  select c.oid, n.nspname as schema, t.relname as name from pg_catalog.pg_class c
  left join pg_catalog.pg_index i on i.indexrelid = c.oid
  join pg_catalog.pg_class t on t.oid = coalesce(i.indrelid, c.oid)
  join pg_catalog.pg_namespace n on n.oid = t.relnamespace
  where c.oid = any ($1::oid[]) and c.relkind in ('r', 'p', 'i', 'I')`;

const relationClass = 1259;
const transformClass = 3576;

/** Objects of the source that our role cannot make on the target, which lacks them, and whether a table needs them. */
export async function checkSuperuserObjects(
  target: Session,
  view: SourceView,
  facts: ServerFacts,
): Promise<Finding[]> {
  if (facts.role.superuser) return [];
  const rows = await view.session.query(superuserObjectsQuery);
  if (rows.length === 0) return [];
  // What somebody has made there stays as it is.
  const there = new Set((await target.query(superuserObjectsQuery)).map((row) => row['identity']));
  const objects = rows
    .filter((row) => !there.has(row['identity'] ?? ''))
    .map((row) => ({
      classOid: Number(row['class']),
      oid: Number(row['oid']),
      label: [row['identity'], row['note']].filter((part) => part !== null).join(', '),
      spared: row['note'] === ofTables || Number(row['class']) === transformClass,
    }))
    .filter(({ classOid, oid }) => view.keeps(classOid, oid));
  if (objects.length === 0) return [];
  const dependencies = await fetchDependencies(view.session, objects);
  const relations = dependencies
    .flatMap(({ object, inside }) => [object, ...(inside === null ? [] : [inside])])
    .filter(({ classOid, oid }) => classOid === relationClass && view.keeps(classOid, oid));
  const list = `{${relations.map(({ oid }) => oid).join(',')}}`;
  const tables = new Map(
    (await view.session.query(neededKindsQuery, [list])).map((row) => [
      Number(row['oid']),
      relationLabel({ schema: row['schema'] ?? '', name: row['name'] ?? '' }),
    ]),
  );
  return judgeSuperuserObjects(objects, dependencies, tables);
}

type Labelled = CatalogObject & {
  readonly label: string;
  /** What depends on it is made without it. */
  readonly spared: boolean;
};

/** Pure. `tables`: those tables and indexes among the dependent objects that are copied, as the table's name. */
export function judgeSuperuserObjects(
  objects: readonly Labelled[],
  dependencies: readonly Dependency[],
  tables: ReadonlyMap<number, string>,
): Finding[] {
  const id = 'objects.superuser';
  const title = 'superuser objects';
  const needing = new Map(
    objects.map((object) => [object, object.spared ? [] : tablesBehind(object, dependencies, tables)]),
  );
  const isNeeded = (object: Labelled) => (needing.get(object) ?? []).length > 0;
  const needed = objects.filter(isNeeded);
  const others = objects.filter((object) => !isNeeded(object));
  const findings: Finding[] = [];
  if (needed.length > 0) {
    const named = [...new Set([...needing.values()].flat())].toSorted();
    const failure = new Failure(
      'target-rights',
      `only a superuser can make ${listLabels(needed.map(({ label }) => label))}, which tables need (${listLabels(named)})`,
      { remedy: 'Leave these tables out with --filters, or have a superuser make it on the target first.' },
    );
    findings.push(fail(id, title, failure));
  }
  if (others.length > 0) {
    findings.push(
      warn(
        id,
        title,
        `only a superuser can make ${listLabels(others.map(({ label }) => label))}: no table needs it, and what is refused is listed at the end`,
        'Have somebody run that SQL on the target afterwards.',
      ),
    );
  }
  return findings;
}

/** The tables that come to need the object, over any number of links. */
function tablesBehind(
  from: CatalogObject,
  dependencies: readonly Dependency[],
  tables: ReadonlyMap<number, string>,
): string[] {
  const key = ({ classOid, oid }: CatalogObject) => `${classOid} ${oid}`;
  const found: string[] = [];
  const pending = [from];
  const seen = new Set<string>();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (seen.has(key(next))) continue;
    seen.add(key(next));
    const table = next.classOid === relationClass ? tables.get(next.oid) : undefined;
    if (table !== undefined) found.push(table);
    for (const { object, needs, inside } of dependencies) {
      if (key(needs) === key(next)) pending.push(object, ...(inside === null ? [] : [inside]));
    }
  }
  return found;
}

// Owners, and who was granted something, of what is copied.
const rolesQuery = `
  with objects as (
    select c.relowner as owner, c.relacl as acl from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and ${userSchema} and not ${isMember('pg_class', 'c')}
    union all
    select n.nspowner, n.nspacl from pg_catalog.pg_namespace n where ${userSchema} and n.oid >= 16384
    union all
    select p.proowner, p.proacl from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where ${userSchema} and not ${isMember('pg_proc', 'p')}
    union all
    select t.typowner, t.typacl from pg_catalog.pg_type t
    join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where ${userSchema} and t.typtype in ('e', 'd', 'r') and not ${isMember('pg_type', 't')})
  select distinct 'owner' as kind, pg_catalog.pg_get_userbyid(owner) as name from objects
  union
  select 'grantee', pg_catalog.pg_get_userbyid(a.grantee)
  from objects, lateral pg_catalog.aclexplode(acl) a where a.grantee <> 0
  order by 1, 2`;

// To give an object to another role asks for membership; from 16 on for one WITH SET.
const targetRolesQuery = (serverVersion: number) => `
  select r.rolname as name, pg_catalog.pg_has_role(r.oid, '${serverVersion >= 160_000 ? 'set' : 'member'}') as member
  from pg_catalog.pg_roles r`;

/** Roles that own or are granted what is copied. */
export async function checkRoles(target: Session, view: SourceView, wish: RunWish): Promise<Finding[]> {
  const { noOwner, noAcl, roles } = wish.restore;
  if (noOwner && noAcl) return [];
  const used = await view.session.query(rolesQuery);
  const there = new Map(
    (await target.query(targetRolesQuery(target.serverVersion))).map((row) => [
      row['name'] ?? '',
      row['member'] === 't',
    ]),
  );
  const wanted = used.filter((row) => (row['kind'] === 'owner' ? !noOwner : !noAcl));
  const names = (rows: typeof wanted) => [...new Set(rows.map((row) => row['name'] ?? ''))];
  const missing =
    roles === null || roles === undefined ? names(wanted.filter((row) => !there.has(row['name'] ?? ''))) : [];
  const foreign = names(
    wanted.filter((row) => row['kind'] === 'owner' && there.get(row['name'] ?? '') === false),
  );
  if (missing.length + foreign.length === 0) return [];
  const reasons = [
    ...(missing.length > 0 ? [`the target has no role ${some(missing)}`] : []),
    ...(foreign.length > 0 ? [`our role is no member of ${some(foreign)}`] : []),
  ];
  return [
    warn(
      'objects.roles',
      'roles',
      `${reasons.join('; ')}: ownership and grants are refused one by one, and listed at the end`,
      missing.length > 0
        ? 'Leave them out with --no-owner --no-acl, or make the roles first (--roles).'
        : 'Leave ownership out with --no-owner.',
    ),
  ];
}

const tablespacesQuery = `
  select c.oid, t.spcname as name from pg_catalog.pg_class c
  join pg_catalog.pg_tablespace t on t.oid = c.reltablespace
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where ${userSchema} and t.spcname not in ('pg_default', 'pg_global') order by 2`;

// Of the database's own nobody asks for a right.
const targetTablespacesQuery = `
  select t.spcname as name, pg_catalog.has_tablespace_privilege(t.oid, 'create') or t.oid = d.dattablespace as usable
  from pg_catalog.pg_tablespace t, pg_catalog.pg_database d where d.datname = pg_catalog.current_database()`;

/** Tablespaces that the target lacks: what is in them goes to the default one. One that is kept from us ends the run. */
export async function checkTablespaces(target: Session, view: SourceView, wish: RunWish): Promise<Finding[]> {
  if (wish.restore.noTablespaces) return [];
  const placed = (await view.session.query(tablespacesQuery)).filter((row) =>
    view.keeps(relationClass, Number(row['oid'])),
  );
  const used = [...new Set(placed.map((row) => row['name'] ?? ''))];
  if (used.length === 0) return [];
  const rows = await target.query(targetTablespacesQuery);
  const there = new Map(rows.map((row) => [row['name'] ?? '', row['usable'] === 't']));
  const missing = used.filter((name) => !there.has(name));
  const kept = used.filter((name) => there.get(name) === false);
  const [first] = kept;
  if (first !== undefined) {
    const failure = new Failure('target-rights', `our role may make nothing in ${some(kept)} on the target`, {
      remedy: `grant create on tablespace ${quoteIdentifier(first)} to …; or use the default one, with --no-tablespaces`,
    });
    return [fail('objects.tablespaces', 'tablespaces', failure)];
  }
  if (missing.length === 0)
    return [pass('objects.tablespaces', 'tablespaces', `the target has ${some(used)}`)];
  return [
    warn(
      'objects.tablespaces',
      'tablespaces',
      `the target has no ${counted(missing.length, 'tablespace')} ${some(missing)}: what is there goes to the default one`,
      'Say that you know with --no-tablespaces, or make them first.',
    ),
  ];
}

/** How the two databases write text. Pure. */
export function judgeEncodings(source: ServerFacts, target: ServerFacts): Finding {
  const id = 'objects.encoding';
  const [from, to] = [source.database, target.database];
  if (from.encoding === 'SQL_ASCII' && to.encoding !== 'SQL_ASCII') {
    return warn(
      id,
      'encoding',
      `the source has none (SQL_ASCII): its bytes must be valid ${to.encoding}, or the copy stops at the first row that is not`,
      "Clean the rows first, or make the target's database with encoding SQL_ASCII.",
    );
  }
  if (from.encoding !== to.encoding && to.encoding !== 'UTF8') {
    return warn(
      id,
      'encoding',
      `the target is encoded ${to.encoding}, the source ${from.encoding}: the copy stops at the first character that the target does not have`,
      "Make the target's database with encoding UTF8.",
    );
  }
  if (from.collate !== to.collate || from.ctype !== to.ctype) {
    return warn(
      id,
      'locale',
      `the target sorts text by ${to.collate}/${to.ctype}, the source by ${from.collate}/${from.ctype}: ORDER BY, ranges and upper() may differ`,
      `create database … template template0 encoding '${from.encoding}' lc_collate '${from.collate}' lc_ctype '${from.ctype}';`,
    );
  }
  return pass(id, 'encoding', `${to.encoding}, sorted by ${to.collate}, as on the source`);
}
