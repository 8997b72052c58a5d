/** Where the status comes from that somebody looks at: the work directory of this machine, or a run that listens. */
import { fetchRunStatus, type ControlTarget } from '../control/client.js';
import { Failure } from '../failure.js';
import { readStatusAndDetails, statusVersion, type RunStatus } from './status.js';
import type { Shown } from './terminal.js';

export interface StatusSource {
  /** Throws `work-directory-broken`, `control-unreachable`, `control-refused`. */
  look(): Promise<Shown>;
}

/** As many samples as a sparkline shows. */
const sparklineMs = 600_000;

export function directorySource(directory: string): StatusSource {
  return {
    look: async () => {
      const sampleMs = Date.now() - sparklineMs;
      const known = { sampleMs, lineId: Number.MAX_SAFE_INTEGER, tables: 100 };
      const { status, details } = readStatusAndDetails(directory, known);
      return { status, tables: details.tables, samples: details.samples };
    },
  };
}

/** A run elsewhere tells its status alone; its lag over time is what was seen since the look began. */
export function remoteSource(target: ControlTarget): StatusSource {
  const samples: Shown['samples'][number][] = [];
  return {
    look: async () => {
      const status = expectStatus(await fetchRunStatus(target));
      const { stream } = status;
      samples.push({
        atMs: status.atMs,
        source: stream?.source ?? null,
        written: stream?.written?.lsn ?? null,
        applied: stream?.applied?.lsn ?? null,
        lagMs: stream?.applied?.behindMs ?? null,
        behind: stream?.applied?.behindBytes ?? null,
        copied: status.copy?.copiedBytes ?? null,
      });
      while ((samples[0]?.atMs ?? 0) < status.atMs - sparklineMs) samples.shift();
      return { status, tables: [], samples };
    },
  };
}

function expectStatus(fields: Readonly<Record<string, unknown>>): RunStatus {
  if (fields['version'] === statusVersion) return fields as unknown as RunStatus;
  throw new Failure('control-refused', 'the run that listens there is of another version of walferry', {
    remedy: 'Use the same version on both sides.',
  });
}
