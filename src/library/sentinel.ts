/** The sentinel of a run, from wherever the caller is: in the same process, or in another one on the same directory. */
import { command as getCommand } from '../cli/commands/stream-sentinel-get.js';
import { command as setEndposCommand } from '../cli/commands/stream-sentinel-set-endpos.js';
import { controlTarget } from '../cli/control.js';
import { formatLsn, readLsn, type Lsn } from '../model/lsn.js';
import type { Sentinel } from '../model/progress.js';
import { call, type CallOptions } from './call.js';
import type { SentinelSettings } from './settings.js';

/** How far the stream of a work directory is. Rejects with a Failure when there is none. */
export function sentinel(settings: SentinelSettings, options: CallOptions = {}): Promise<Sentinel> {
  return call(getCommand, settings, options, async (context) => {
    const { fetchSentinel } = await import('../follow/sentinel-commands.js');
    const { settings: read, log } = context;
    return await fetchSentinel({ directory: read.directory, control: await controlTarget(context), log });
  });
}

/**
 * Sets the end position of the run in a work directory, which then applies everything up to there and ends; resolves
 * with it. `current` is where the source stands now, and needs `source`.
 */
export function setEndpos(
  endpos: Lsn | string,
  settings: SentinelSettings & { readonly source?: string },
  options: CallOptions = {},
): Promise<Lsn> {
  const asked = endpos === 'current' ? { ...settings, current: true } : settings;
  const words = endpos === 'current' ? [] : [typeof endpos === 'bigint' ? formatLsn(endpos) : endpos];
  return call(setEndposCommand, asked, { ...options, arguments: words }, async (context) => {
    const { markEndpos, setSentinel } = await import('../follow/sentinel-commands.js');
    const { settings: read, log, signal } = context;
    const place = { directory: read.directory, control: await controlTarget(context), log };
    const [lsn] = context.arguments;
    const position = lsn === undefined ? await markEndpos(place, context.source(), signal) : readLsn(lsn);
    await setSentinel(place, { endpos: position });
    return position;
  });
}
