import type { OpenedSource } from '../apply/apply.js';
import type { StreamMeter } from './stream-meter.js';

/** The applier's source, with an eye on the commits that pass. */
export function meteredReader(source: OpenedSource, meter: StreamMeter): OpenedSource {
  return {
    get level() {
      return source.level;
    },
    next: async (signal) => {
      const batch = await source.next(signal);
      if (batch !== null) meter.reading(batch, source.level);
      return batch;
    },
    close: async () => source.close?.(),
  };
}
