/**
 * What comparing costs each server: the same two tables on both sides, equal, read in several depths, beside the peer's
 * own statement. Divided by the size of the tables, the CPU is the cost per GB.
 */
import { relationLabel } from '../../src/model/relation.js';
import { compareData } from '../../src/compare/data.js';
import type { CompareDepth } from '../../src/compare/options.js';
import { sidesDiffer } from '../../src/compare/comparison.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { serverCpuMs } from './server-cost.js';
import { timeHere, type Case, type Sample } from './measure.js';
import { createDatabase, execute, type BenchServers } from './servers.js';

/** At scale 1; about half of it narrow rows, half wide ones. */
const narrowRows = 3_000_000;
const wideRows = 600_000;

const tables = `
  create table narrow (id int primary key, branch int, balance int, filler char(84));
  create table wide (id uuid primary key, name text, amount numeric(12, 2), at timestamptz, tags text[], detail jsonb)`;

const fill = (scale: number) => [
  `insert into narrow select i, i % 100, i * 7 % 100000, '' from generate_series(1, ${narrowRows * scale}) i`,
  `insert into wide select md5(i::text)::uuid, 'name ' || i, i / 100.0, timestamptz '2026-01-01 00:00+00' + i * interval '1 second',
     array['a' || i % 7, 'b'], jsonb_build_object('i', i, 'text', repeat(md5(i::text), 8))
     from generate_series(1, ${wideRows * scale}) i`,
];

export async function compareCases(
  { source, target }: BenchServers,
  scale: number,
): Promise<readonly Case[]> {
  const sourceUri = source.uri({ database: await createDatabase(source, 'compare') });
  const targetUri = target.uri({ database: await createDatabase(target, 'compare') });
  for (const uri of [sourceUri, targetUri]) {
    await execute(
      uri,
      'set synchronous_commit = off',
      ...tables.split(';'),
      ...fill(scale),
      'vacuum analyze',
      'checkpoint',
    );
  }
  const [size] = await execute(
    sourceUri,
    `select sum(pg_table_size(oid))::bigint as bytes from pg_class where relname in ('narrow', 'wide')`,
  );
  console.log(`  ${(Number(size?.['bytes']) / 1024 ** 3).toFixed(2)} GB of tables on each side`);

  const measured = async (work: () => Promise<unknown>): Promise<Sample> => {
    const before = await Promise.all([serverCpuMs(source), serverCpuMs(target)]);
    const sample = await timeHere(work);
    const after = await Promise.all([serverCpuMs(source), serverCpuMs(target)]);
    return { ...sample, sourceCpuMs: after[0] - before[0], targetCpuMs: after[1] - before[1] };
  };
  const walferry = (depth: CompareDepth, jobs: number): Case => ({
    name: `${depth}, ${jobs} ${jobs === 1 ? 'job' : 'jobs'}`,
    run: () =>
      measured(async () => {
        const comparison = await compareData({
          source: readConninfo(sourceUri, {}),
          target: readConninfo(targetUri, {}),
          jobs,
          depth,
        });
        const failure = sidesDiffer(comparison);
        if (failure !== null) throw failure;
      }),
  });
  // Reference 12.2: one statement a table, on both sides.
  const peer: Case = {
    name: 'the peer’s statement, 1 job',
    run: () =>
      measured(async () => {
        for (const name of ['narrow', 'wide']) {
          const table = relationLabel({ schema: 'public', name });
          const sql = `select count(1), encode(sha256(format('%s-%s', sum(hashtext((t)::text)::bigint), count(1))::bytea), 'hex')
            from only ${table} as t`;
          const [one, other] = await Promise.all([execute(sourceUri, sql), execute(targetUri, sql)]);
          if (JSON.stringify(one) !== JSON.stringify(other)) throw new Error(`${table} differs`);
        }
      }),
  };
  return [
    walferry('checksums', 1),
    walferry('checksums', 2),
    walferry('rows', 1),
    walferry('counts', 1),
    peer,
  ];
}
