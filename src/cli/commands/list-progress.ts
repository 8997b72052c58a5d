import type { Command } from '../command.js';
import { stepsSummary } from '../output.js';
import { paceText, progressJson, progressText } from '../progress-output.js';
import { loadProgressJson } from '../summary-output.js';

/** Reads the work directory only: it asks no server anything, and disturbs no run. */
export const command: Command = {
  path: 'list progress',
  group: 'L',
  summary: 'how far the run in the work directory is, and its stream behind',
  options: ['dir', 'summary'],
  needs: [],
  run: async ({ settings, log, stdout }) => {
    if (settings.summary && settings.json) {
      await stdout(await loadProgressJson(settings.directory));
      return;
    }
    const { closeCatalog } = await import('../../catalog/database.js');
    const { requireCatalogToRead } = await import('../../catalog/work-directory.js');
    const { loadCloneSummary } = await import('../../clone/summary.js');
    const { loadJobs } = await import('../../follow/clone-settings.js');
    const { copyPace, loadCloneStanding } = await import('../../monitor/clone-progress.js');
    const catalog = requireCatalogToRead(settings.directory);
    try {
      const jobs = loadJobs(catalog);
      if (settings.summary) {
        const { loadStatus } = await import('../../monitor/status.js');
        const { statusText } = await import('../status-output.js');
        const status = loadStatus(catalog, Date.now());
        const steps = stepsSummary(loadCloneSummary(catalog, jobs).steps);
        // Scripts read the peer's table: of a copy alone there is nothing else on stdout.
        if (status.stream === null) {
          await stdout(steps);
          if (status.state !== 'unknown') log.info(status.headline);
          for (const warning of status.warnings) log.warn(warning);
        } else await stdout(`${steps}\n${statusText(status)}`);
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
