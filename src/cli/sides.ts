/** Settings → the two servers: the connection strings read, and all that is wrong with any setting told together. */
import { asFailure, Failure } from '../failure.js';
import type { Side } from '../failure.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { Secrets } from './secrets.js';
import type { SettingsResult } from './settings.js';

/** Null: not given. */
export type Sides = Readonly<Record<Side, Conninfo | null>>;

/** Reads the connection strings; throws everything that is wrong with the settings and with them, together. */
export async function readSides(
  read: SettingsResult,
  environment: NodeJS.ProcessEnv,
  secrets: Secrets,
): Promise<Sides> {
  const problems = [...read.problems];
  const sides: Record<Side, Conninfo | null> = { source: null, target: null };
  for (const side of ['source', 'target'] as const) {
    const text = read.settings[side];
    // `--target -` is no server: SQL is printed.
    if (text === null || text === '-') continue;
    const { readConninfo } = await import('../postgres/connection-string.js');
    try {
      const conninfo = readConninfo(text, environment);
      secrets.add(conninfo.password);
      sides[side] = conninfo;
    } catch (error) {
      // What cannot be read cannot be searched for its password either: none of it is repeated.
      const message = asFailure(error).message.replaceAll(text, '****');
      problems.push(`${read.from[side]}: ${message}`);
    }
  }
  if (problems.length > 0) {
    throw new Failure('usage', problems.join('\n'));
  }
  return sides;
}

/** How what is known and not there is refused. */
export function notBuiltSentence(what: string): string {
  return `${what} is not built yet`;
}

/** Throws `usage` when the side was not given. */
export function sideOf(sides: Sides, side: Side): Conninfo {
  const conninfo = sides[side];
  if (conninfo === null) throw new Failure('usage', `Option --${side} is mandatory`);
  return conninfo;
}
