/** Settings → comparisons, by what the run in the work directory copies and whether it follows. */
import type { DatabasePair } from '../compare/all-databases.js';
import type { CompareDataOptions } from '../compare/options.js';
import type { CompareSchemaOptions } from '../compare/schema.js';
import { describePart } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';
import type { CommandContext } from './command.js';

type Context = Pick<CommandContext, 'settings' | 'log' | 'signal'>;

/** A comparison of the data of one pair of databases. */
export async function compareDataOptions(
  { settings, log, signal }: Context,
  { source, target, directory }: DatabasePair,
): Promise<CompareDataOptions> {
  const { loadComparedScope } = await import('../compare/scope.js');
  const scope = await loadComparedScope(directory, { source, target, log, signal });
  const { keeps, parts, following, interrupted } = scope;
  if (keeps !== null) log.info(`only the tables that the run in ${directory} copies are compared`);
  for (const part of parts) {
    const { rowFilter, columns } = part;
    if (rowFilter === null && columns === null) continue;
    log.info(
      `of ${relationLabel(part)} is compared what is published: ${describePart({ ...part, root: null })}`,
    );
  }
  if (following !== null) {
    log.info(
      `the run in ${directory} applies changes: each table is compared once the target has caught up with it`,
    );
  }
  if (interrupted) {
    log.warn(
      `no run applies changes in ${directory}, and the end of its stream is not reached: what the source has written since shows as differences`,
    );
  }
  return {
    source,
    target,
    jobs: settings.tableJobs,
    depth: settings.rows ? 'rows' : 'checksums',
    keeps,
    parts,
    following,
    directory,
    log,
    signal,
  };
}

/** A comparison of the schemas of one pair of databases. */
export async function compareSchemaOptions(
  { settings, log, signal }: Context,
  { source, target, directory }: DatabasePair,
): Promise<CompareSchemaOptions> {
  const { loadComparedScope } = await import('../compare/scope.js');
  const { filter } = await loadComparedScope(directory, { source, target, log, signal });
  if (filter !== null) log.info(`what ${filter.file} leaves out is not compared`);
  return {
    source,
    target,
    filter,
    scope: {
      comments: !settings.noComments,
      owners: settings.compareOwners,
      acls: settings.comparePrivileges,
      sequenceValues: settings.sequenceValues,
    },
    log,
    signal,
  };
}
