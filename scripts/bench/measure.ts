/** Takes the cases in turns, so that a machine that gets slower gets slower for all of them, and sums up. */

/** One way to do the work. */
export type Case = {
  readonly name: string;
  /**
   * Prepares, does the work, verifies the outcome, and gives the milliseconds that the work alone took. Throws when the
   * outcome is wrong.
   */
  readonly run: () => Promise<number>;
};

export type CaseResult = {
  readonly name: string;
  readonly runsMs: readonly number[];
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
};

/** All rounds of all cases, one after the other. */
export async function measure(
  cases: readonly Case[],
  rounds: number,
  log: (line: string) => void,
): Promise<CaseResult[]> {
  const runs = new Map<string, number[]>(cases.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    // Another one begins each time: what the first run of a round warms up is shared out.
    for (let index = 0; index < cases.length; index += 1) {
      const one = cases[(index + round) % cases.length];
      if (one === undefined) continue;
      const ms = await one.run();
      runs.get(one.name)?.push(ms);
      log(`round ${round + 1} of ${rounds}: ${one.name.padEnd(28)} ${(ms / 1000).toFixed(2)} s, equal`);
    }
  }
  return cases.map(({ name }) => summary(name, runs.get(name) ?? []));
}

function summary(name: string, runsMs: readonly number[]): CaseResult {
  const sorted = runsMs.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const medianMs = sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2;
  return { name, runsMs, medianMs, minMs: at(0), maxMs: at(sorted.length - 1) };
}

/** Milliseconds that the work took. */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
