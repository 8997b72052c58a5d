/**
 * `npm run demo` begins here, in plain JavaScript: on a fresh clone neither the dependencies nor a build exist.
 * Installs and builds what is missing, then runs main.ts.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const oldest = 20;
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** @param {string} what @param {string[]} npmArguments */
function npm(what, npmArguments) {
  console.log(`${what} …`);
  const { status } = spawnSync('npm', npmArguments, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) {
    console.error(`npm ${npmArguments.join(' ')} failed`);
    process.exit(1);
  }
}

if (Number(process.versions.node.split('.')[0]) < oldest) {
  console.error(`Node.js ${oldest} or later is needed; this is ${process.versions.node}`);
  process.exit(1);
}
if (!existsSync(path.join(root, 'node_modules/.package-lock.json'))) npm('installing dependencies', ['ci']);
npm('building', ['run', '--silent', 'build']);
npm('building the demo', ['run', '--silent', 'build:scripts']);
process.chdir(root);
await import('../../build/scripts/demo/main.js');
