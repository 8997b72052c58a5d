import { Failure } from '../../failure.js';
import { checkOptions } from '../check-options.js';
import type { Command } from '../command.js';
import { command as clone } from './clone.js';

// What only says how a run goes on once it has begun.
const notAsked = new Set([
  ...['plan', 'skip-check', 'all-databases', 'fail-fast', 'create-slot'],
  ...['host', 'port', 'monitor', 'heartbeat'],
]);

/** Tells what would end a clone, or a live migration, before it begins; changes nothing on either side. */
export const command: Command = {
  path: 'check',
  group: 'K',
  summary: 'tell what would end a clone, before it begins (exit 25 when something would)',
  options: clone.options.filter((id) => !notAsked.has(id)),
  needs: ['source', 'target'],
  run: async (context) => {
    const { settings, stdout, terminal, log } = context;
    const { check } = await import('../../check/check.js');
    const { checkJson, checkText } = await import('../../check/report.js');
    const { LockWatch } = await import('../../follow/lock-watch.js');
    await using _locks = new LockWatch({ source: context.source(), target: context.target(), log });
    const report = await check(await checkOptions(context));
    await stdout(settings.json ? checkJson(report) : checkText(report, terminal));
    const failed = report.findings.filter(({ verdict }) => verdict === 'fail').length;
    if (failed === 0) return;
    throw new Failure(
      'check-failed',
      `${failed === 1 ? '1 thing' : `${failed} things`} would end this run: ${settings.json ? 'see the findings' : 'see above'}`,
    );
  },
};
