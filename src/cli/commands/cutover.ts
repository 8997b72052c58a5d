import type { Command } from '../command.js';
import { cutoverOptions } from '../cutover-options.js';

/** Switches to the target, beside a run that follows in another terminal. */
export const command: Command = {
  path: 'cutover',
  group: 'K',
  summary: 'stop writes on the source, compare both sides, open the target',
  options: [
    'source',
    'target',
    'dir',
    'table-jobs',
    'freeze',
    'verify',
    'max-pause',
    'max-lag',
    'sequence-headroom',
    'accept-missing',
    'copy-again',
    'before-freeze',
    'after',
    'on-undo',
    'hook-timeout',
    'cutover-dry-run',
    'resume',
    'abort',
  ],
  needs: ['source', 'target'],
  undoneByStop:
    'if the cutover had begun, the source may be frozen: `walferry cutover --abort` undoes it, `--resume` goes on',
  run: async (context) => {
    const { settings, stdout } = context;
    const options = cutoverOptions(context);
    const { LockWatch } = await import('../../follow/lock-watch.js');
    await using _locks = new LockWatch(options);
    if (settings.cutover.dryRun) {
      const { planCutover, planJson, planText } = await import('../../cutover/plan.js');
      const { expectReady } = await import('../../cutover/checks.js');
      const plan = await planCutover(options);
      await stdout(settings.json ? planJson(plan) : planText(plan));
      expectReady(plan.checks);
      return;
    }
    const { runCutover } = await import('../../cutover/run.js');
    const { reportJson, reportText } = await import('../../cutover/report.js');
    const report = await runCutover(options);
    if (report !== null) await stdout(settings.json ? reportJson(report) : reportText(report));
  },
};
