/**
 * Commands that their first word tells: for these the tree, which is a file for each command, need not be loaded. All
 * others, and whatever begins with an option, are found by dispatch.ts; test/cli/tree.test.ts checks that both agree.
 */
import type { Command } from './command.js';

/** How each is loaded. */
export const directCommands: Readonly<Record<string, () => Promise<{ readonly command: Command }>>> = {
  check: () => import('./commands/check.js'),
  clone: () => import('./commands/clone.js'),
  fork: () => import('./commands/clone.js'),
  cutover: () => import('./commands/cutover.js'),
  follow: () => import('./commands/follow.js'),
  monitor: () => import('./commands/monitor.js'),
  ping: () => import('./commands/ping.js'),
  snapshot: () => import('./commands/snapshot.js'),
};

/** The command of a call's first word; null where the tree has to be asked. */
export async function loadDirectCommand(word: string): Promise<Command | null> {
  const load = Object.hasOwn(directCommands, word) ? directCommands[word] : undefined;
  return load === undefined ? null : (await load()).command;
}
