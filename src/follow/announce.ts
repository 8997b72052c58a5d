/**
 * What a run says of itself, one line per step: enough to know at 3 a.m. where it is and what to do next.
 */
import type { CloneJobs, CloneProgress } from '../clone/options.js';
import type { CloneSummary } from '../clone/summary.js';
import type { Log } from '../log.js';

/** Passes progress on, and says each new step once. */
export function announceSteps(
  log: Log,
  jobs: CloneJobs,
  onward: ((progress: CloneProgress) => void) | undefined,
): (progress: CloneProgress) => void {
  let said: CloneProgress['step'] | null = null;
  return (progress) => {
    if (progress.step !== said) {
      said = progress.step;
      const line = stepLine(progress, jobs);
      if (line !== null) log.info(line);
    }
    onward?.(progress);
  };
}

function stepLine({ step, tables, indexes }: CloneProgress, jobs: CloneJobs): string | null {
  switch (step) {
    case 'catalog':
      return "reading the source's catalogs";
    case 'dump':
      return 'dumping the schema';
    case 'pre-data':
      return 'restoring the schema without indexes, constraints and triggers';
    case 'copy':
      return `copying ${tables.total} tables with ${jobs.table} jobs, building ${indexes.total} indexes with ${jobs.index} jobs`;
    case 'post-data':
      return 'rows, indexes and their constraints are on the target';
    case 'sequences':
      return 'setting the sequences';
    case 'finalize':
      return 'adding foreign keys, triggers, rules and what else waits for the last row';
    case 'done':
      return null;
  }
}

/** What is run next, each as a command line that finds this run: its directory and its servers are not always the default. */
export type NextCommands = {
  readonly cutover: string;
  readonly setEndpos: string;
  readonly compare: string;
  readonly cleanup: string;
};

/** The copy of a clone that goes on following. */
export function announceCopied(
  log: Log,
  { tables }: CloneSummary,
  seconds: number,
  { cutover, setEndpos }: NextCommands,
): void {
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  log.info(
    `the copy is complete: ${tables.length} tables, ${rows} rows in ${seconds.toFixed(0)} s; the target now follows the source`,
  );
  log.info(`switch with: ${cutover}; or by hand, when the application has stopped writing: ${setEndpos}`);
}

/** The end of a migration. */
export function announceEnd(log: Log, { compare, cleanup }: NextCommands): void {
  log.info(
    'all changes up to the end position that was reached are on the target, with sequences, foreign keys and triggers. Next: ' +
      `${compare}; point the application to the target; ${cleanup}`,
  );
}
