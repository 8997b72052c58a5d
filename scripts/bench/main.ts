/**
 * `npm run bench [clone] [compare] [copy] [follow] [-- --rounds N --scale X]`: starts its own servers, measures, and writes a results file, as
 * JSON and as a page, into scripts/bench/results. Absolute times say little about another machine or another hour;
 * the ratios within one run are what counts.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { cloneCases, workloads as cloneWorkloads } from './clone.js';
import { compareCases } from './compare.js';
import { copyCases, copyRows } from './copy.js';
import { cutoverCases } from './cutover.js';
import { farCases, followCases, tlsCases, workloads } from './follow.js';
import { latencyCases } from './latency.js';
import { measure, type Case, type CaseResult } from './measure.js';
import { receiveJournalCases } from './receive-journal.js';
import { receiveCases } from './receive.js';
import { watchedCases } from './watched.js';
import { execute, serverSettings, startServers, type BenchServers } from './servers.js';

type Benchmark = {
  readonly what: string;
  readonly cases: (servers: BenchServers, scale: number) => Promise<readonly Case[]> | readonly Case[];
};

const benchmarks: Readonly<Record<string, Benchmark>> = {
  ...Object.fromEntries(
    Object.entries(cloneWorkloads).map(([name, workload]): [string, Benchmark] => [
      `clone-${name}`,
      {
        what: `a copy: ${workload.what}; 2 jobs each`,
        cases: (servers, scale) => cloneCases(workload, servers, scale),
      },
    ]),
  ),
  copy: { what: `one table of ${copyRows} rows, COPY to COPY in one process`, cases: copyCases },
  compare: {
    what: 'two equal tables of narrow and of wide rows compared, 0.62 GB on each side at scale 1',
    cases: compareCases,
  },
  receive: {
    what: 'one backlog of 100,000 transactions of two changes each, received and not looked into',
    cases: receiveCases,
  },
  'receive-journal': {
    what: '50,000 transactions of 4 changes each, received, decoded and written to transform files with fsync',
    cases: receiveJournalCases,
  },
  watched: {
    what: 'a copy of a database like pgbench that is looked at, or not; 2 jobs each',
    cases: watchedCases,
  },
  latency: {
    what: 'lag from COMMIT on the source to the row on the target, 200 small transactions a second',
    cases: latencyCases,
  },
  cutover: {
    what: 'the write pause of a cutover under load, 2 GB at scale 1',
    cases: cutoverCases,
  },
  ...drain('follow', followCases),
  ...drain('follow-bulk', followCases),
  ...drain('follow-large', followCases),
  ...drain('follow-tls', tlsCases),
  ...drain('follow-far', farCases),
};

function drain(name: keyof typeof workloads, cases: typeof followCases): Record<string, Benchmark> {
  const workload = workloads[name];
  return {
    [name]: { what: `draining ${workload.what}`, cases: (servers, scale) => cases(servers, workload, scale) },
  };
}

type Result = {
  readonly benchmark: string;
  readonly what: string;
  readonly date: string;
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly rounds: number;
  readonly scale: number;
  readonly cases: readonly CaseResult[];
  /** Of the medians, to the first case: 2 means that the first case is twice as fast. */
  readonly ratios: Readonly<Record<string, number>>;
};

async function main(args: readonly string[]): Promise<number> {
  const { names, without, rounds, scale } = readArguments(args);
  const all = Object.keys(benchmarks);
  // `clone` is all of its workloads.
  const wanted = names.flatMap((name) =>
    benchmarks[name] === undefined ? all.filter((one) => one.startsWith(`${name}-`)) : [name],
  );
  if (names.length > wanted.length || !Number.isInteger(rounds) || rounds < 1 || !(scale > 0)) {
    console.error(
      `usage: npm run bench -- [${all.join('] [')}] [clone] [--rounds N] [--scale X] [--without CASE]`,
    );
    return 1;
  }
  await using servers = await startServers();
  for (const name of wanted.length === 0 ? all : wanted) {
    const benchmark = benchmarks[name];
    if (benchmark === undefined) continue;
    console.log(`${name}: ${benchmark.what}`);
    const possible = await benchmark.cases(servers, scale);
    const prepared = possible.filter((one) => !without.some((words) => one.name.startsWith(words)));
    const cases = await measure(prepared, rounds, (line) => console.log(`  ${line}`));
    const result = await describe(name, benchmark.what, { rounds, scale }, cases, servers, args);
    const file = await save(result);
    console.log(`\n${page(result)}\nwritten to ${file}.json and .md\n`);
  }
  return 0;
}

function readArguments(args: readonly string[]): {
  readonly names: readonly string[];
  /** Beginnings of the names of cases that are left out. */
  readonly without: readonly string[];
  readonly rounds: number;
  readonly scale: number;
} {
  const names: string[] = [];
  const without: string[] = [];
  const numbers: Record<string, number> = { '--rounds': 3, '--scale': 1 };
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? '';
    if (word in numbers) numbers[word] = Number(args[(at += 1)]);
    else if (word === '--without') without.push(args[(at += 1)] ?? '');
    else names.push(word);
  }
  return { names, without, rounds: numbers['--rounds'] ?? 3, scale: numbers['--scale'] ?? 1 };
}

async function describe(
  name: string,
  what: string,
  { rounds, scale }: { readonly rounds: number; readonly scale: number },
  cases: readonly CaseResult[],
  { source }: BenchServers,
  args: readonly string[],
): Promise<Result> {
  const [row] = await execute(source.uri({ database: 'postgres' }), 'show server_version');
  const first = cases[0]?.medianMs ?? Number.NaN;
  return {
    benchmark: name,
    what,
    date: new Date().toISOString().slice(0, 10),
    command: ['npm run bench', ...(args.length === 0 ? [] : ['--', ...args])].join(' '),
    versions: {
      walferry: gitRevision(),
      PostgreSQL: String(row?.['server_version']),
      'Node.js': process.versions.node,
    },
    machine: `${os.cpus().length} × ${os.cpus()[0]?.model ?? 'unknown'}, ${Math.round(os.totalmem() / 1024 ** 3)} GiB, ${os.platform()}`,
    settings: serverSettings,
    rounds,
    scale,
    cases,
    ratios: Object.fromEntries(cases.slice(1).map((one) => [one.name, one.medianMs / first])),
  };
}

function gitRevision(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

const inSeconds = (ms: number | undefined) => (ms === undefined ? undefined : (ms / 1000).toFixed(2));

/** What the page shows of a case; columns without any value are left out. */
const pageColumns: readonly {
  readonly title: string;
  readonly of: (one: CaseResult) => string | undefined;
}[] = [
  { title: 'median', of: (one) => inSeconds(one.medianMs) },
  { title: 'min', of: (one) => inSeconds(one.minMs) },
  { title: 'max', of: (one) => inSeconds(one.maxMs) },
  { title: 'p50 ms', of: ({ p50Ms }) => p50Ms?.toFixed(1) },
  { title: 'p99 ms', of: ({ p99Ms }) => p99Ms?.toFixed(1) },
  { title: 'draining', of: (one) => inSeconds(one.drainMs) },
  { title: 'client CPU', of: (one) => inSeconds(one.cpuMs) },
  { title: 'source CPU', of: (one) => inSeconds(one.sourceCpuMs) },
  { title: 'target CPU', of: (one) => inSeconds(one.targetCpuMs) },
  {
    title: 'peak MB',
    of: ({ peakBytes }) => (peakBytes === undefined ? undefined : String(Math.round(peakBytes / 1024 ** 2))),
  },
];

/** The results as a page: also what is printed. */
function page(result: Result): string {
  const versions = Object.entries(result.versions).map(([name, version]) => `${name} ${version}`);
  const settings = Object.entries(result.settings).map(([name, value]) => `${name} = ${value}`);
  const first = result.cases[0];
  const columns = pageColumns.filter(({ of }) => result.cases.some((one) => of(one) !== undefined));
  const cells = (list: readonly string[]) => `| ${list.join(' | ')} |`;
  const ratioWords = (one: CaseResult) => {
    const ratio = result.ratios[one.name];
    if (ratio === undefined || first === undefined) return '';
    const draining = (one.drainMs ?? Number.NaN) / (first.drainMs ?? Number.NaN);
    const words = `${first.name} is ${ratio.toFixed(2)} × as fast`;
    return Number.isNaN(draining) ? words : `${words}, draining ${draining.toFixed(2)} ×`;
  };
  return [
    `# ${result.benchmark}, ${result.date}`,
    '',
    `${result.what}; scale ${result.scale}, ${result.rounds} rounds in turns, every outcome verified equal.`,
    `${versions.join(', ')}; ${result.machine}.`,
    `Both servers on this machine: ${settings.join(', ')}.`,
    '',
    cells(['seconds', ...columns.map(({ title }) => title), 'against the first']),
    `|${'---|'.repeat(columns.length + 2)}`,
    ...result.cases.map((one) =>
      cells([
        one.name.replaceAll('|', String.raw`\|`),
        ...columns.map(({ of }) => of(one) ?? ''),
        ratioWords(one),
      ]),
    ),
    '',
    ...result.cases.flatMap(({ name, stepsMs = {} }) => {
      const steps = Object.entries(stepsMs).map(([step, ms]) => `${step} ${Math.round(ms)}`);
      return steps.length === 0 ? [] : [`${name}, medians of the steps in ms: ${steps.join(', ')}.`, ''];
    }),
    `\`${result.command}\``,
    '',
  ].join('\n');
}

async function save(result: Result): Promise<string> {
  const directory = 'scripts/bench/results';
  await mkdir(directory, { recursive: true });
  const file = path.join(directory, `${result.date}-${result.benchmark}`);
  await writeFile(`${file}.json`, `${JSON.stringify(result, null, 2)}\n`);
  await writeFile(`${file}.md`, page(result));
  return file;
}

process.exitCode = await main(process.argv.slice(2));
