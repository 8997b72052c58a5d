/** The version, read from package.json: the one place where it is written. */
import { readFileSync } from 'node:fs';

/** From dist/src/cli and from src/cli (tests run the sources). */
const candidates = ['../../../package.json', '../../package.json'];

/** For example `0.1.0`. */
export function programVersion(): string {
  for (const path of candidates) {
    try {
      const read = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as Record<
        string,
        unknown
      >;
      if (read['name'] === 'walferry' && typeof read['version'] === 'string') return read['version'];
    } catch {
      // Not there: the other one is.
    }
  }
  throw new Error('package.json of walferry was not found');
}

const servers = ['14', '15', '16', '17', '18'];

/** What `walferry version` prints. */
export function versionText(json: boolean): string {
  const version = programVersion();
  if (json) {
    const object = { walferry: version, node: process.versions.node, postgres: servers };
    return `${JSON.stringify(object, null, 4)}\n`;
  }
  const list = `${servers.slice(0, -1).join(', ')}, and ${servers.at(-1)}`;
  return `walferry version ${version}\nrunning on Node.js ${process.versions.node}\ncompatible with Postgres ${list}\n`;
}
