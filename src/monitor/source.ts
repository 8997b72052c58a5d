/** Where the status comes from that somebody looks at: the work directory of this machine, or a run that listens. */
import { fetchShown, type ControlTarget } from '../control/client.js';
import { Failure } from '../failure.js';
import { readStatusAndDetails, statusVersion, type RunDetails, type RunStatus } from './status.js';
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

/** A run elsewhere answers with the same, one after the other. */
export function remoteSource(target: ControlTarget): StatusSource {
  return {
    look: async () => {
      const status = expectStatus(await fetchShown(target, 'status'));
      const { tables, samples } = (await fetchShown(target, 'details')) as unknown as RunDetails;
      return { status, tables, samples };
    },
  };
}

function expectStatus(fields: Readonly<Record<string, unknown>>): RunStatus {
  if (fields['version'] === statusVersion) return fields as unknown as RunStatus;
  throw new Failure('control-refused', 'the run that listens there is of another version of walferry', {
    remedy: 'Use the same version on both sides.',
  });
}
