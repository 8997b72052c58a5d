/**
 * `npm run check`: runs the npm scripts that it is given side by side, since the unit tests wait in part for time to pass.
 * What each printed is shown whole when it has ended; it ends well when all of them do.
 */
import { spawn } from 'node:child_process';
import process from 'node:process';

/** @param {string} script */
async function run(script) {
  const begun = Date.now();
  const child = spawn('npm', ['run', '--silent', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  /** @type {Buffer[]} */
  const printed = [];
  child.stdout.on('data', (chunk) => printed.push(chunk));
  child.stderr.on('data', (chunk) => printed.push(chunk));
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  process.stdout.write(Buffer.concat(printed));
  const seconds = Math.round((Date.now() - begun) / 1000);
  console.log(`${code === 0 ? 'passed' : 'FAILED'} in ${seconds} s: npm run ${script}\n`);
  return code === 0;
}

const passed = await Promise.all(process.argv.slice(2).map(run));
process.exitCode = passed.every(Boolean) ? 0 : 1;
