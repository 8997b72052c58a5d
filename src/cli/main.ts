#!/usr/bin/env node
/**
 * The program. Only what every call needs is loaded here: `--version` answers from this file and version.ts alone.
 */
import { versionText } from './version.js';

const argv = process.argv.slice(2);
const [first, second] = argv;
const json = second === '--json' || second === '-J';

// A reader that went away (`walferry help | head`) is no reason to fail.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
});
// Nor is a log that cannot be written, whatever the reason (a full disk): a cutover has a source to put back.
process.stderr.on('error', () => {});

if (
  ['--version', '-V', 'version'].includes(first ?? '') &&
  (argv.length === 1 || (json && argv.length === 2))
) {
  process.stdout.write(versionText(json));
} else {
  // The command line, with its connection strings, disappears from the process list (ps, /proc).
  process.title =
    `walferry ${first?.startsWith('-') === false && /^[a-z-]+$/.test(first) ? first : ''}`.trim();
  if (!('navigator' in globalThis)) {
    // As Node has it from 21 on. Without it pg makes a Response to see where it runs, and Node loads all of `fetch` for
    // that, which takes longer than everything else that is loaded.
    const [major] = process.versions.node.split('.');
    Object.defineProperty(globalThis, 'navigator', {
      value: { userAgent: `Node.js/${major}` },
      configurable: true,
    });
  }
  const { run } = await import('./run.js');
  const status = await run({
    argv,
    script: process.argv[1] ?? 'walferry',
    environment: process.env,
    stdout: process.stdout,
    stderr: process.stderr,
    exitNow: (code) => process.exit(code),
  });
  // A connection that a command left open must not keep a finished program alive.
  process.exit(status);
}
