/** What a cutover came to, as text and as JSON; the latter also lies in the work directory (`cutover.json`). */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadCutover, type CutoverRecord, type CutoverState } from '../catalog/cutover.js';
import type { Catalog } from '../catalog/database.js';
import type { Log } from '../log.js';
import { formatLsn } from '../model/lsn.js';

export type CutoverReport = {
  readonly state: CutoverState;
  readonly started_at: string;
  /** From the freeze to the moment the application may write to the target, or to now; null when nothing was frozen. */
  readonly pause_ms: number | null;
  /** The same from the start of the command before the freeze, which may stop the application; null without one. */
  readonly pause_with_command_ms: number | null;
  readonly freeze: string;
  readonly endpos: string | null;
  readonly verify: string;
  readonly source_frozen: boolean;
  readonly steps: readonly { readonly step: string; readonly ms: number | null; readonly detail: string }[];
};

export function reportOf(record: CutoverRecord): CutoverReport {
  const { state, startedAt, freeze, frozenAtMs, openAtMs, endpos, settings, steps } = record;
  const frozen = freeze !== null && freeze.kind !== 'none' && state !== 'undone';
  const command = steps.find(({ name }) => name === 'before-freeze');
  return {
    state,
    started_at: startedAt,
    pause_ms: frozenAtMs === null || openAtMs === null ? null : openAtMs - frozenAtMs,
    pause_with_command_ms:
      command === undefined || openAtMs === null ? null : openAtMs - Date.parse(command.startedAt),
    freeze: String(settings['freeze'] ?? ''),
    endpos: endpos === null ? null : formatLsn(endpos),
    verify: String(settings['verify'] ?? ''),
    source_frozen: frozen,
    steps: steps.map(({ name, ms, detail }) => ({ step: name, ms, detail })),
  };
}

export function reportJson(report: CutoverReport): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** One line a step, then the pause. */
export function reportText(report: CutoverReport): string {
  const line = (name: string, value: string, detail = '') =>
    `${name.padStart(16)}  ${value.padStart(12)}${detail === '' ? '' : `  ${detail}`}\n`;
  const ms = (value: number | null) => (value === null ? '-' : `${value} ms`);
  return [
    '\n',
    ...report.steps.map((step) => line(step.step, ms(step.ms), step.detail)),
    `${'-'.repeat(30)}\n`,
    line('write pause', ms(report.pause_ms), report.endpos === null ? '' : `end position ${report.endpos}`),
    ...(report.pause_with_command_ms === null
      ? []
      : [
          line(
            'with the command',
            ms(report.pause_with_command_ms),
            'of --before-freeze, which may stop the application',
          ),
        ]),
    '\n',
  ].join('');
}

/** Into the work directory. A report that cannot be written costs a file, not the cutover. */
export function writeReport(catalog: Catalog, log: Log): void {
  const record = loadCutover(catalog);
  if (record === null) return;
  try {
    const path = join(catalog.directory, 'cutover.json');
    writeFileSync(path, reportJson(reportOf(record)), { mode: 0o600 });
  } catch (error) {
    log.warn(`cutover.json cannot be written: ${String(error)}`);
  }
}
