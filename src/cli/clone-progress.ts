import type { CloneProgress } from '../clone/options.js';
import { prettyDuration, prettySize } from './output.js';
import type { ProgressLine } from './progress-line.js';

/** Shows what is copied, how fast, and when it will be done. */
export function cloneProgress(line: ProgressLine): (progress: CloneProgress) => void {
  return (progress) => line.show(cloneProgressText(progress));
}

/** One line. The time left follows from the bytes; it is left out while there is nothing to go by. */
export function cloneProgressText({ step, tables, indexes, bytes, bytesPerSecond }: CloneProgress): string {
  if (step !== 'copy') return `clone: ${step}`;
  const left = Math.max(0, bytes.total - bytes.done);
  const eta = bytesPerSecond > 0 ? `, ${prettyDuration((left / bytesPerSecond) * 1000).trim()} left` : '';
  return (
    `copying: ${tables.done}/${tables.total} tables, ${indexes.done}/${indexes.total} indexes, ` +
    `${prettySize(bytes.done)} of about ${prettySize(bytes.total)}, ${prettySize(Math.round(bytesPerSecond))}/s${eta}`
  );
}
