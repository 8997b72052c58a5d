/** A program that looks at a run fifty times a second, as a monitor would that is in a hurry. */
import path from 'node:path';

/**
 * Its text, for `node --input-type=module --eval`. Arguments: the run's work directory, and the address of its port;
 * where that is empty, the directory is read. It runs until it is ended.
 */
export const looker = `
  const [directory, address] = process.argv.slice(1);
  const { readStatus } = await import('${path.resolve('dist/src/monitor/status.js')}');
  for (;;) {
    const next = performance.now() + 20;
    try {
      if (address === '') readStatus(directory);
      else await (await fetch('http://' + address + '/v1/status')).text();
    } catch {}
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
  }`;

/** Where the run listens that is looked at over its port. */
export const lookedAt = '127.0.0.1:5499';
