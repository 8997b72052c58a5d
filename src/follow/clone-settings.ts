/**
 * What a clone's work directory is made for: the settings that every run in it must share, and what the summary wants.
 */
import { randomUUID } from 'node:crypto';
import type { Catalog } from '../catalog/database.js';
import { loadSetup, saveSetup, type RunSettings, type Setup } from '../catalog/setup.js';
import type { CloneJobs, RestoreChoices } from '../clone/options.js';
import { filterText } from '../filter/scope.js';
import { defaultPlugin } from '../model/plugin.js';
import { describeConninfo } from '../postgres/connection-string.js';
import type { CloneRunOptions } from './clone-run.js';

/** A run's own name, by which the target knows whose copy it holds. */
export function withRun(setup: Setup): Setup {
  return { ...setup, settings: { ...setup.settings, run: randomUUID() } };
}

/** What a resumed run must share, and what it need not: the job counts, for the summary. */
export function recordSetup(catalog: Catalog, setup: Setup, { table, index, restore }: CloneJobs): void {
  const jobs = { 'table-jobs': table, 'index-jobs': index, 'restore-jobs': restore };
  saveSetup(catalog, { ...setup, settings: { ...setup.settings, ...jobs } });
}

/** The job counts of the run in a work directory; 0 where none began. */
export function loadJobs(catalog: Catalog): CloneJobs {
  const settings = loadSetup(catalog)?.settings ?? {};
  const jobs = (name: string) => Number(settings[name] ?? 0);
  return { table: jobs('table-jobs'), index: jobs('index-jobs'), restore: jobs('restore-jobs') };
}

/** What this run asks of its directory. */
export function wantedSetup(options: CloneRunOptions): Setup {
  const { follow, filters, noOwner, noAcl, noComments, noTablespaces, origin } = options;
  const stream: RunSettings =
    follow === null
      ? { follow: false, origin }
      : {
          follow: true,
          origin,
          'slot-name': follow.choices.slot,
          plugin: follow.choices.plugin ?? defaultPlugin,
          publication: follow.choices.publication,
        };
  return {
    version: options.version,
    source: describeConninfo(options.source),
    target: describeConninfo(options.target),
    settings: {
      ...stream,
      filters: filters === null ? null : filterText(filters.rules),
      'no-owner': noOwner,
      'no-acl': noAcl,
      'no-comments': noComments,
      'no-tablespaces': noTablespaces,
      'skip-large-objects': options.skipLargeObjects === true,
      'skip-extensions': options.skipExtensions === true,
      'skip-collations': options.skipCollations === true,
    },
  };
}

/** Options that decide what is restored, and how. */
export function restoreChoices(options: RestoreChoices): RestoreChoices {
  return {
    noOwner: options.noOwner,
    noAcl: options.noAcl,
    noComments: options.noComments,
    noTablespaces: options.noTablespaces,
    skipLargeObjects: options.skipLargeObjects,
    skipExtensions: options.skipExtensions,
    skipExtensionComments: options.skipExtensionComments,
    skipCollations: options.skipCollations,
    skipDatabaseProperties: options.skipDatabaseProperties,
    largeObjectJobs: options.largeObjectJobs,
    roles: options.roles,
    requirements: options.requirements,
  };
}
