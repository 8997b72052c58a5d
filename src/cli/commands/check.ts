import { Failure } from '../../failure.js';
import { wishOf } from '../check-options.js';
import { cloneRunOptions } from '../clone-options.js';
import type { Command } from '../command.js';
import { command as clone } from './clone.js';

// What only says how a run goes on once it has begun.
const notAsked = new Set(['plan', 'skip-check', 'all-databases', 'host', 'port', 'fail-fast', 'create-slot']);

/** Tells what would end a clone, or a live migration, before it begins; changes nothing on either side. */
export const command: Command = {
  path: 'check',
  group: 'K',
  summary: 'tell what would end a clone, before it begins (exit 25 when something would)',
  options: clone.options.filter((id) => !notAsked.has(id)),
  needs: ['source', 'target'],
  run: async (context) => {
    const { settings, stdout, terminal, log } = context;
    if (settings.allDatabases) {
      throw new Failure('usage', 'check looks at one database: name each in --source and --target');
    }
    const { check, failureOf } = await import('../../check/check.js');
    const { checkJson, checkText } = await import('../../check/report.js');
    const options = await cloneRunOptions(context);
    const { directory, journalDirectory, request } = options;
    const report = await check({
      ...wishOf(context, options),
      place: { directory, journalDirectory, ...request },
    });
    await stdout(settings.json ? checkJson(report) : checkText(report, terminal));
    const failure = failureOf(report.findings);
    if (failure === null) return;
    const failed = report.findings.filter(({ verdict }) => verdict === 'fail').length;
    log.debug(failure.message);
    throw new Failure(
      'check-failed',
      `${failed === 1 ? '1 thing' : `${failed} things`} would end this run: ${settings.json ? 'see the findings' : 'see above'}`,
    );
  },
};
