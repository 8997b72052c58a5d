/**
 * `clone-*`: a database copied by walferry, and by what PostgreSQL brings along, and by pgcopydb where it is installed.
 * Four workloads: few large tables with indexes; types of all kinds; many small tables; large values out of line.
 * `--scale` makes them larger or smaller; 1 takes a minute or two a round on a small machine.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram, runMeasured } from './client-cost.js';
import type { Case, Sample } from './measure.js';
import { serverCpuMs } from './server-cost.js';
import { createDatabase, dropDatabase, execute, expectEqual, type BenchServers } from './servers.js';

const jobs = 2;

export type Workload = {
  readonly what: string;
  /** Statements that fill the source, by scale. */
  readonly fill: (scale: number) => readonly string[];
  /** A psql for every table takes longer than all else where there are very many. */
  readonly withPsql: boolean;
};

export const workloads: Readonly<Record<string, Workload>> = {
  pgbench: {
    what: "4 tables like pgbench's, 2 more indexes on the largest, one foreign key",
    withPsql: true,
    fill: (scale) => {
      const unit = Math.round(100 * scale);
      return [
        `create table branches (bid int primary key, bbalance int, filler char(88));
         create table tellers (tid int primary key, bid int references branches, tbalance int, filler char(84));
         create table accounts (aid int primary key, bid int, abalance int, filler char(84));
         create table history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
         insert into branches select i, 0, '' from generate_series(1, ${unit}) i;
         insert into tellers select i, 1 + i % ${unit}, 0, '' from generate_series(1, ${unit * 10}) i;
         insert into accounts select i, 1 + i % ${unit}, i % 977, '' from generate_series(1, ${unit * 10_000}) i;
         insert into history select i % 10, i % ${unit}, i, i % 5000,
           timestamp '2026-01-01' + i * interval '1 second', '' from generate_series(1, ${unit * 1000}) i;
         create index accounts_bid on accounts (bid);
         create index accounts_abalance on accounts (abalance)`,
      ];
    },
  },
  mixed: {
    what: '3 tables of mixed types with several indexes each, a foreign key',
    withPsql: true,
    fill: (scale) => [
      `create table customer (id bigint primary key, name text, born date, balance numeric(14, 2), tags text[], data jsonb,
         seen timestamptz, ip inet, active bool, score double precision, token uuid unique);
       insert into customer select i, 'customer ' || i, date '1950-01-01' + i % 20000, i % 100000 / 7.0,
         array['a' || i % 10, 'b' || i % 7], jsonb_build_object('k', i, 'list', jsonb_build_array(i % 3, 'x', null)),
         timestamptz '2026-01-01' + i * interval '1 minute', ('10.0.0.' || i % 250)::inet, i % 3 = 0, i / 3.0,
         md5(i::text)::uuid from generate_series(1, ${Math.round(150_000 * scale)}) i;
       create index on customer (name); create index on customer (seen); create index on customer using gin (data);
       create table orders (id bigint primary key, customer bigint references customer, made timestamp, total numeric,
         state text, note text);
       insert into orders select i, 1 + i % ${Math.round(150_000 * scale)}, timestamp '2026-01-01' + i * interval '1 second',
         i * 1.01, (array['new', 'paid', 'sent'])[1 + i % 3], repeat('n', i % 50)
         from generate_series(1, ${Math.round(500_000 * scale)}) i;
       create index on orders (customer); create index on orders (state, made);
       create table event (at timestamptz, kind int, value real, payload bytea);
       insert into event select timestamptz '2026-01-01' + i * interval '1 second', i % 20, i / 10.0,
         decode(md5(i::text), 'hex') from generate_series(1, ${Math.round(800_000 * scale)}) i;
       create index on event (at); create index on event (kind)`,
    ],
  },
  small: {
    what: '1,500 small tables at scale 1, each with a primary key, an index and 20 rows',
    withPsql: false,
    fill: (scale) => [
      `do $$ begin
         for n in 1..${Math.round(1500 * scale)} loop
           execute format('create table small_%s (id int primary key, name text, at timestamptz default ''2026-01-01'')', n);
           execute format('insert into small_%s select i, ''name '' || i from generate_series(1, 20) i', n);
           execute format('create index on small_%s (name)', n);
         end loop;
       end $$`,
    ],
  },
  toast: {
    what: 'one table of large values out of line: text that does not compress, and bytea',
    withPsql: true,
    fill: (scale) => [
      `create table document (id int primary key, body text, scan bytea);
       alter table document alter body set storage external, alter scan set storage external;
       insert into document select i,
         (select string_agg(md5((i * 1000 + n)::text), '') from generate_series(1, 600) n),
         decode((select string_agg(md5((i * 7 + n)::text), '') from generate_series(1, 1200) n), 'hex')
         from generate_series(1, ${Math.round(5000 * scale)}) i`,
    ],
  },
};

// Plain connections: what TLS costs hides what the programs do themselves.
const parameters = { sslmode: 'disable' };

// A server's processes end a moment after their clients; between its end and that it is noticed none is counted.
const goodbyeMs = 300;

/** Fills the source and gives the cases. */
export async function cloneCases(
  workload: Workload,
  { source, target }: BenchServers,
  scale: number,
): Promise<readonly Case[]> {
  const database = await createDatabase(source, 'clone');
  const sourceUri = source.uri({ database, parameters });
  await execute(sourceUri, ...workload.fill(scale), 'vacuum analyze');
  const tables = (
    await execute(
      sourceUri,
      `select format('%I', relname) as name from pg_class where relkind = 'r'
      and relnamespace = 'public'::regnamespace order by pg_table_size(oid) desc`,
    )
  ).map((row) => String(row['name']));

  const intoNewDatabase = (name: string, script: string, environment: Record<string, string> = {}): Case => ({
    name,
    run: async (): Promise<Sample> => {
      const into = await createDatabase(target, 'clone');
      const directory = await mkdtemp(path.join(os.tmpdir(), 'walferry-bench-'));
      try {
        const targetUri = target.uri({ database: into, parameters });
        // Whatever the last run left to be written is not for this one to wait for.
        await execute(targetUri, 'checkpoint');
        const before = await Promise.all([serverCpuMs(source), serverCpuMs(target)]);
        const sample = await runMeasured(script, {
          ...environment,
          PATH: `${source.address.programs}:${process.env['PATH'] ?? ''}`,
          SOURCE: sourceUri,
          TARGET: targetUri,
          DIRECTORY: directory,
        });
        await sleep(goodbyeMs);
        const after = await Promise.all([serverCpuMs(source), serverCpuMs(target)]);
        await expectEqual({ sourceUri, targetUri });
        return { ...sample, sourceCpuMs: after[0] - before[0], targetCpuMs: after[1] - before[1] };
      } finally {
        await dropDatabase(target, into);
        await rm(directory, { recursive: true, force: true });
      }
    },
  });
  const own = `"${process.execPath}" "${path.resolve('dist/src/cli/main.js')}"`;
  const copies = tables.map(
    (name) => `psql -qXc 'copy ${name} to stdout' "$SOURCE" | psql -qXc 'copy ${name} from stdin' "$TARGET"`,
  );
  return [
    intoNewDatabase(
      'walferry clone',
      `${process.env['WALFERRY_BENCH_PROGRAM'] ?? own} clone --dir "$DIRECTORY/work" --source "$SOURCE" --target "$TARGET" --table-jobs ${jobs} --index-jobs ${jobs} --quiet >"$DIRECTORY/out"`,
    ),
    intoNewDatabase(
      'pg_dump -Fd -j, pg_restore -j',
      `pg_dump -Fd -j ${jobs} -Z0 -f "$DIRECTORY/dump" -d "$SOURCE" && pg_restore -j ${jobs} -d "$TARGET" "$DIRECTORY/dump"`,
    ),
    intoNewDatabase('pg_dump -Fc | pg_restore', 'pg_dump -Fc -Z0 -d "$SOURCE" | pg_restore -d "$TARGET"'),
    // As walferry leaves the target: with statistics.
    intoNewDatabase(
      'the same, and ANALYZE',
      `pg_dump -Fc -Z0 -d "$SOURCE" | pg_restore -d "$TARGET" && vacuumdb --quiet --analyze-only -j ${jobs} -d "$TARGET"`,
    ),
    ...(workload.withPsql
      ? [
          intoNewDatabase(
            'psql COPY | psql COPY',
            [
              'pg_dump --section=pre-data -d "$SOURCE" | psql -qX "$TARGET" >"$DIRECTORY/out"',
              ...copies,
              'pg_dump --section=post-data -d "$SOURCE" | psql -qX "$TARGET" >"$DIRECTORY/out"',
            ].join(' && '),
          ),
        ]
      : []),
    ...(findProgram('pgcopydb')
      ? [
          intoNewDatabase(
            'pgcopydb clone',
            `pgcopydb clone --dir "$DIRECTORY/work" --source "$SOURCE" --target "$TARGET" --table-jobs ${jobs} --index-jobs ${jobs} >"$DIRECTORY/out" 2>&1`,
          ),
        ]
      : []),
  ];
}
