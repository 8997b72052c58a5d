/** Neon: what is different there, on either side (docs/neon.md). Pure. */
import { pass, warn, type Finding } from './finding.js';
import { major } from './connections.js';
import { numberSetting, type ServerFacts } from './server-facts.js';

/** Whether a server is Neon's: by its name, or by the role that its customers are members of. */
export function isNeon({ host, role }: Pick<ServerFacts, 'host' | 'role'>): boolean {
  return /\.neon\.(?:tech|build)\.?$/i.test(host) || role.neonMember !== null;
}

/** The target's line; null where it is no Neon. */
export function judgeNeonTarget(facts: ServerFacts): Finding | null {
  if (!isNeon(facts)) return null;
  const { role } = facts;
  if (role.neonMember === false) {
    return warn(
      'target.neon',
      'Neon',
      `role "${role.name}" was made by SQL and is no member of neon_superuser: extensions, publications and other roles' objects may be refused to it`,
      'Use a role made in the console, by the API or the CLI.',
    );
  }
  return pass(
    'target.neon',
    'Neon',
    `direct host, version ${major(facts.version)}, ${numberSetting(facts, 'max_connections') ?? '?'} connections; a larger compute for the time of the copy makes it faster`,
  );
}

/** Lines of the source; none where it is no Neon. */
export function judgeNeonSource(facts: ServerFacts, follow: boolean): Finding[] {
  if (!isNeon(facts) || !follow) return [];
  return [
    warn(
      'stream.neon',
      'Neon',
      'a slot that nobody reads for about 40 hours is removed, and so are the slots of a branch that is restored',
      'Do not leave a stopped run for that long, and restore no branch meanwhile.',
    ),
  ];
}
