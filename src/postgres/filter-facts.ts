/**
 * What a filter is decided by, asked from the source: what the rules match, and what depends on it. A handful of
 * queries whatever the number of rules and objects; all of them in the caller's open transaction, so that with an
 * imported snapshot the answers are the snapshot's. Names are matched as they are, patterns by the server's own `~`.
 */
import { Failure } from '../failure.js';
import type {
  CatalogObject,
  Dependency,
  FilterFacts,
  FilterIndex,
  FilterRelation,
  FilterRule,
  FilterSection,
  ObjectName,
} from '../model/object-filter.js';
import type { Session, TextRow } from './connect.js';
import { notOfExtension, userSchema } from './schema-scope.js';
import { sqlState } from './sqlstate.js';

/** The rules as a relation `r`: position, and for both halves an exact name or a pattern, both null where there is none. */
const rulesRelation = `
  pg_catalog.json_to_recordset($1::json) as r(position int, schema_name text, schema_pattern text, name text, pattern text)`;

/** Whether a rule's half matches; a half that is not there matches everything. */
function matches(column: string, name: string, pattern: string): string {
  return `(case when r.${name} is not null then ${column} = r.${name}
    when r.${pattern} is not null then ${column} ~ r.${pattern} else true end)`;
}

const schemaMatches = matches('n.nspname::text', 'schema_name', 'schema_pattern');
const classMatches = matches('c.relname::text', 'name', 'pattern');

const schemaMatchesQuery = `
  select r.position, n.oid
  from ${rulesRelation}
  join pg_catalog.pg_namespace n on ${schemaMatches}
  where ${userSchema} order by 1, 2`;

// A view is left out where its name is written; patterns speak of tables.
const relationMatchesQuery = `
  select r.position, c.oid
  from ${rulesRelation}
  join pg_catalog.pg_namespace n on ${schemaMatches}
  join pg_catalog.pg_class c on c.relnamespace = n.oid and ${classMatches}
  where (c.relkind in ('r', 'p', 'm', 'f') or c.relkind = 'v' and r.name is not null and r.schema_name is not null)
    and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension} order by 1, 2`;

const indexMatchesQuery = `
  select r.position, c.oid, n.nspname as schema, c.relname as name,
    (select k.oid from pg_catalog.pg_constraint k
      where k.conindid = c.oid and k.contype in ('p', 'u', 'x') and k.conrelid = i.indrelid) as constraint_oid,
    i.indrelid as table_oid,
    (select pg_catalog.string_agg(a.relid::pg_catalog.oid::text, ',')
      from pg_catalog.pg_partition_ancestors(c.oid) a where a.relid <> c.oid) as above
  from ${rulesRelation}
  join pg_catalog.pg_namespace n on ${schemaMatches}
  join pg_catalog.pg_class c on c.relnamespace = n.oid and ${classMatches}
  join pg_catalog.pg_index i on i.indexrelid = c.oid
  where c.relkind in ('i', 'I') and ${userSchema} and ${notOfExtension} order by 1, 2`;

const extensionMatchesQuery = `
  select r.position, x.oid
  from ${rulesRelation}
  join pg_catalog.pg_extension x on ${matches('x.extname::text', 'name', 'pattern')} order by 1, 2`;

/** Which query finds what the rules of a section match. */
const matchQueries: Readonly<Record<FilterSection, string>> = {
  'include-only-schema': schemaMatchesQuery,
  'exclude-schema': schemaMatchesQuery,
  'include-only-table': relationMatchesQuery,
  'exclude-table': relationMatchesQuery,
  'exclude-table-data': relationMatchesQuery,
  'exclude-index': indexMatchesQuery,
  'include-only-extension': extensionMatchesQuery,
  'exclude-extension': extensionMatchesQuery,
};

const schemasQuery = `select n.oid, n.nspname as name from pg_catalog.pg_namespace n where ${userSchema} order by 1`;

const relationsQuery = `
  select c.oid, n.nspname as schema, c.relname as name, c.relkind as kind,
    case when c.relispartition then (select h.inhparent from pg_catalog.pg_inherits h where h.inhrelid = c.oid) end
      as partition_of
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'm', 'f', 'v') and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension}
  order by 1`;

const relationKinds: Readonly<Record<string, FilterRelation['kind']>> = {
  r: 'table',
  p: 'partitioned',
  m: 'materialized',
  f: 'foreign',
  v: 'view',
};

const sequencesQuery = `
  select c.oid, n.nspname as schema, c.relname as name,
    (select d.refobjid from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
        and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')) as owner,
    (select pg_catalog.string_agg(distinct a.adrelid::text, ',')
      from pg_catalog.pg_depend d
      join pg_catalog.pg_attrdef a on a.oid = d.objid
      where d.classid = 'pg_catalog.pg_attrdef'::regclass
        and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = c.oid) as used_by
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'S' and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension}
  order by 1`;

const extensionsQuery = `
  select x.oid, x.extname as name, n.nspname as schema
  from pg_catalog.pg_extension x join pg_catalog.pg_namespace n on n.oid = x.extnamespace order by 1`;

/**
 * Everything that depends on $1 (catalogs) and $2 (OIDs), over any number of links. An extension and its members stay
 * whatever is said of a schema. A view is known by its rule, an index by its constraint: what the rule or the index
 * depends on, they depend on (the `i` links, which lead from the part to the whole).
 */
const dependenciesQuery = `
  with recursive reached(class, oid) as (
    select * from unnest($1::oid[], $2::oid[])
    union
    select x.class, x.oid
    from reached r
    cross join lateral (
      select d.classid, d.objid
      from pg_catalog.pg_depend d
      where d.refclassid = r.class and d.refobjid = r.oid and d.deptype in ('n', 'a', 'i', 'P', 'S')
        and d.classid <> 'pg_catalog.pg_extension'::regclass
      union all
      select d.refclassid, d.refobjid
      from pg_catalog.pg_depend d
      where d.classid = r.class and d.objid = r.oid and d.deptype = 'i'
        and r.class in ('pg_catalog.pg_rewrite'::regclass, 'pg_catalog.pg_class'::regclass)
        and d.refclassid in ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_constraint'::regclass)
        and d.refobjsubid = 0
    ) x(class, oid)
    where not exists (
      select from pg_catalog.pg_depend e where e.classid = x.class and e.objid = x.oid and e.deptype = 'e')
  ), edge as (
    select d.classid as class, d.objid as oid, d.refclassid as needs_class, d.refobjid as needs_oid,
      d.deptype <> 'n' as part
    from pg_catalog.pg_depend d
    join reached r on r.class = d.classid and r.oid = d.objid
    join reached n on n.class = d.refclassid and n.oid = d.refobjid
    where d.deptype in ('n', 'a', 'i', 'P', 'S')
    union
    select d.refclassid, d.refobjid, d.classid, d.objid, false
    from pg_catalog.pg_depend d
    join reached r on r.class = d.classid and r.oid = d.objid
    where d.deptype = 'i' and d.refobjsubid = 0
      and (d.classid = 'pg_catalog.pg_rewrite'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
        or d.classid = 'pg_catalog.pg_class'::regclass and d.refclassid = 'pg_catalog.pg_constraint'::regclass)
  )
  select e.*,
    case when e.class = 'pg_catalog.pg_attrdef'::regclass or k.conrelid <> 0 then 'pg_catalog.pg_class'::regclass::oid
      when k.contypid <> 0 then 'pg_catalog.pg_type'::regclass::oid end as inside_class,
    coalesce(a.adrelid, nullif(k.conrelid, 0), k.contypid) as inside_oid
  from edge e
  left join pg_catalog.pg_attrdef a on e.class = 'pg_catalog.pg_attrdef'::regclass and a.oid = e.oid
    and exists (select from pg_catalog.pg_class c where c.oid = a.adrelid and c.relkind <> 'v')
  left join pg_catalog.pg_constraint k on e.class = 'pg_catalog.pg_constraint'::regclass and k.oid = e.oid
    and k.contype = 'c' and k.convalidated`;

const identifyQuery = `
  select o.position, i.type, i.identity
  from unnest($1::oid[], $2::oid[]) with ordinality as o(class, oid, position),
    lateral pg_catalog.pg_identify_object(o.class, o.oid, 0) i
  order by 1`;

/** What the source holds and the rules match. Throws `usage` with every pattern that is no regular expression. */
export async function fetchFilterFacts(session: Session, rules: readonly FilterRule[]): Promise<FilterFacts> {
  await expectValidPatterns(session, rules);
  const matched = new Map<number, number[]>();
  const indexes = new Map<number, FilterIndex>();
  for (const query of new Set(Object.values(matchQueries))) {
    const own = [...rules.entries()].filter(([, rule]) => matchQueries[rule.section] === query);
    if (own.length === 0) continue;
    for (const row of await session.query(query, [rulesJson(own)])) {
      const position = Number(row['position']);
      const oid = Number(row['oid']);
      const others = matched.get(position);
      if (others === undefined) matched.set(position, [oid]);
      else others.push(oid);
      if (query === indexMatchesQuery) indexes.set(oid, readIndex(row));
    }
  }
  const schemas = await session.query(schemasQuery);
  const relations = await session.query(relationsQuery);
  const sequences = await session.query(sequencesQuery);
  const extensions = await session.query(extensionsQuery);
  return {
    matches: matched,
    indexes: [...indexes.values()],
    schemas: schemas.map((row) => ({ oid: Number(row['oid']), name: row['name'] ?? '' })),
    relations: relations.map((row) => ({
      ...readName(row),
      kind: relationKinds[row['kind'] ?? ''] ?? 'table',
      partitionOf: readOid(row['partition_of']),
    })),
    sequences: sequences.map((row) => ({
      ...readName(row),
      owner: readOid(row['owner']),
      usedBy: readOids(row['used_by']),
    })),
    extensions: extensions.map(readName),
  };
}

function readName(row: TextRow): { oid: number; schema: string; name: string } {
  return { oid: Number(row['oid']), schema: row['schema'] ?? '', name: row['name'] ?? '' };
}

function readIndex(row: TextRow): FilterIndex {
  return {
    ...readName(row),
    constraintOid: readOid(row['constraint_oid']),
    table: Number(row['table_oid']),
    above: readOids(row['above']),
  };
}

function readOid(text: string | null | undefined): number | null {
  return text === null || text === undefined ? null : Number(text);
}

function readOids(text: string | null | undefined): number[] {
  return (text ?? '').split(',').filter(Boolean).map(Number);
}

function rulesJson(rules: readonly (readonly [number, FilterRule])[]): string {
  return JSON.stringify(
    rules.map(([position, { schema, name }]) => ({
      position,
      ...(schema?.kind === 'exact' ? { schema_name: schema.name } : {}),
      ...(schema?.kind === 'pattern' ? { schema_pattern: schema.pattern } : {}),
      ...(name?.kind === 'exact' ? { name: name.name } : {}),
      ...(name?.kind === 'pattern' ? { pattern: name.pattern } : {}),
    })),
  );
}

const patternsQuery = `select pg_catalog.count(*) from pg_catalog.json_array_elements_text($1::json) p where '' ~ p`;

/** All at once where all are right; one by one to say which are not. */
async function expectValidPatterns(session: Session, rules: readonly FilterRule[]): Promise<void> {
  const patterns = rules.flatMap((rule) =>
    [rule.schema, rule.name].flatMap((match) =>
      match?.kind === 'pattern' ? { rule, pattern: match.pattern } : [],
    ),
  );
  if (patterns.length === 0) return;
  const problemOf = async (texts: readonly string[]): Promise<string | null> => {
    await session.query('savepoint walferry_pattern');
    try {
      await session.query(patternsQuery, [JSON.stringify(texts)]);
      return null;
    } catch (error) {
      if (sqlState(error) !== '2201B') throw error;
      await session.query('rollback to savepoint walferry_pattern');
      return error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    } finally {
      await session.query('release savepoint walferry_pattern').catch(() => []);
    }
  };
  if ((await problemOf(patterns.map(({ pattern }) => pattern))) === null) return;
  const problems: string[] = [];
  for (const { rule, pattern } of patterns) {
    const problem = await problemOf([pattern]);
    if (problem !== null) problems.push(`line ${rule.line}: ${problem}: ${rule.entry}`);
  }
  throw new Failure('usage', problems.join('\n'));
}

/** Everything that leads to these objects. */
export async function fetchDependencies(
  session: Session,
  objects: readonly CatalogObject[],
): Promise<Dependency[]> {
  if (objects.length === 0) return [];
  const rows = await session.query(dependenciesQuery, oidArrays(objects));
  return rows.map((row) => {
    const insideOid = readOid(row['inside_oid']);
    const insideClass = readOid(row['inside_class']);
    return {
      object: { classOid: Number(row['class']), oid: Number(row['oid']) },
      needs: { classOid: Number(row['needs_class']), oid: Number(row['needs_oid']) },
      part: row['part'] === 't',
      inside: insideOid === null || insideClass === null ? null : { classOid: insideClass, oid: insideOid },
    };
  });
}

/** What Postgres calls the objects (pg_identify_object), in the order asked for. */
export async function fetchObjectNames(
  session: Session,
  objects: readonly CatalogObject[],
): Promise<ObjectName[]> {
  if (objects.length === 0) return [];
  const names = new Map<number, ObjectName>();
  for (const row of await session.query(identifyQuery, oidArrays(objects))) {
    names.set(Number(row['position']), { type: row['type'] ?? '', identity: row['identity'] ?? '' });
  }
  return objects.map(
    (object, index) => names.get(index + 1) ?? { type: 'object', identity: String(object.oid) },
  );
}

function oidArrays(objects: readonly CatalogObject[]): [string, string] {
  const list = (values: readonly number[]) => `{${values.join(',')}}`;
  return [list(objects.map((one) => one.classOid)), list(objects.map((one) => one.oid))];
}
