import type { Command } from '../command.js';
import { stepsSummary } from '../output.js';
import { paceText, progressJson, progressText } from '../progress-output.js';
import { loadSummaryJson } from '../summary-output.js';

/** Reads the work directory only: it asks no server anything, and disturbs no run. */
export const command: Command = {
  path: 'list progress',
  group: 'L',
  summary: 'how far the clone in the work directory is',
  options: ['dir', 'summary'],
  needs: [],
  run: async ({ settings, log, stdout }) => {
    if (settings.summary && settings.json) {
      await stdout(await loadSummaryJson(settings.directory));
      return;
    }
    const { closeCatalog } = await import('../../catalog/database.js');
    const { requireCatalog } = await import('../../catalog/work-directory.js');
    const { loadCloneSummary } = await import('../../clone/summary.js');
    const { loadJobs } = await import('../../follow/clone-run.js');
    const { copyPace, loadCloneStanding } = await import('../../monitor/clone-progress.js');
    const catalog = requireCatalog(settings.directory);
    try {
      const jobs = loadJobs(catalog);
      if (settings.summary) {
        await stdout(stepsSummary(loadCloneSummary(catalog, jobs).steps));
        return;
      }
      const standing = loadCloneStanding(catalog);
      const nowMs = Date.now();
      const pace = copyPace(standing, nowMs);
      await stdout(settings.json ? progressJson(standing, pace, jobs, nowMs) : progressText(standing));
      const line = paceText(pace);
      if (line !== null) log.info(line);
    } finally {
      closeCatalog(catalog);
    }
  },
};
