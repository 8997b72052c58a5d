/** Takes the cases in turns, so that a machine that gets slower gets slower for all of them, and sums up. */

/** What one run took. */
export type Sample = {
  readonly ms: number;
  /** User and system time of the programs that did the work, without the servers'. */
  readonly cpuMs?: number;
  /** The most memory that the largest of these programs had at a time. */
  readonly peakBytes?: number;
  /** Of the time, what the changes were under way: without the start and the end of programs. */
  readonly drainMs?: number;
  /** Of what was measured many times in one run: the middle, and what one of a hundred exceeds. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  /** User and system time of the servers meanwhile. */
  readonly sourceCpuMs?: number;
  readonly targetCpuMs?: number;
  /** The steps that the time is made of, in milliseconds, by their names. */
  readonly stepsMs?: Readonly<Record<string, number>>;
};

/** What a sample may have beside its time. */
export const extras = [
  'cpuMs',
  'peakBytes',
  'drainMs',
  'p50Ms',
  'p99Ms',
  'sourceCpuMs',
  'targetCpuMs',
] as const;

/** One way to do the work. */
export type Case = {
  readonly name: string;
  /** Prepares, does the work, verifies the outcome, and gives what the work alone took. Throws when it is wrong. */
  readonly run: () => Promise<number | Sample>;
};

export type CaseResult = {
  readonly name: string;
  readonly runsMs: readonly number[];
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** Medians of the rest; absent where it was not measured. */
} & Omit<Sample, 'ms'>;

/** All rounds of all cases, one after the other. */
export async function measure(
  cases: readonly Case[],
  rounds: number,
  log: (line: string) => void,
): Promise<CaseResult[]> {
  const runs = new Map<string, Sample[]>(cases.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    // Another one begins each time: what the first run of a round warms up is shared out.
    for (let index = 0; index < cases.length; index += 1) {
      const one = cases[(index + round) % cases.length];
      if (one === undefined) continue;
      const taken = await one.run();
      const sample = typeof taken === 'number' ? { ms: taken } : taken;
      runs.get(one.name)?.push(sample);
      const drain = sample.drainMs === undefined ? '' : `, draining ${(sample.drainMs / 1000).toFixed(2)} s`;
      const lag =
        sample.p99Ms === undefined
          ? ''
          : `, p50 ${sample.p50Ms?.toFixed(1)} ms, p99 ${sample.p99Ms.toFixed(1)} ms`;
      const cpu = sample.cpuMs === undefined ? '' : `, client CPU ${(sample.cpuMs / 1000).toFixed(2)} s`;
      log(
        `round ${round + 1} of ${rounds}: ${one.name.padEnd(28)} ${(sample.ms / 1000).toFixed(2)} s${drain}${lag}${cpu}, equal`,
      );
    }
  }
  return cases.map(({ name }) => summary(name, runs.get(name) ?? []));
}

function summary(name: string, samples: readonly Sample[]): CaseResult {
  const runsMs = samples.map(({ ms }) => ms);
  const medians = extras.map((extra) => [extra, median(samples.flatMap((one) => one[extra] ?? []))] as const);
  return {
    name,
    runsMs,
    medianMs: median(runsMs),
    minMs: Math.min(...runsMs),
    maxMs: Math.max(...runsMs),
    ...Object.fromEntries(medians.filter(([, value]) => !Number.isNaN(value))),
    ...stepMedians(samples),
  };
}

function stepMedians(samples: readonly Sample[]): Pick<Sample, 'stepsMs'> {
  const names = [...new Set(samples.flatMap(({ stepsMs = {} }) => Object.keys(stepsMs)))];
  if (names.length === 0) return {};
  const middle = (name: string) => median(samples.flatMap(({ stepsMs = {} }) => stepsMs[name] ?? []));
  return { stepsMs: Object.fromEntries(names.map((name) => [name, middle(name)])) };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (index: number) => sorted[index] ?? Number.NaN;
  return sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2;
}

/** Milliseconds that the work took. */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** As `time`, for work that is done in this process: with its CPU. */
export async function timeHere(work: () => Promise<unknown>): Promise<Sample> {
  const before = process.cpuUsage();
  const ms = await time(work);
  const { user, system } = process.cpuUsage(before);
  return { ms, cpuMs: (user + system) / 1000 };
}
