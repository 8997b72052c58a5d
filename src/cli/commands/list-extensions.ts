import { Failure } from '../../failure.js';
import type { Command } from '../command.js';
import {
  availableJson,
  availableText,
  extensionsJson,
  extensionsText,
  requirementsJson,
  requirementsText,
} from '../list-output.js';
import { onSource } from '../source-lists.js';

/** The installed extensions; or what the server could install; or the versions that the target would have to offer. */
export const command: Command = {
  path: 'list extensions',
  group: 'L',
  summary: 'extensions of the source',
  options: ['source', 'dir', 'snapshot', 'available-versions', 'list-requirements', 'force'],
  needs: ['source'],
  run: async (context) => {
    const { availableVersions, requirementsList, json } = context.settings;
    if (availableVersions && requirementsList) {
      throw new Failure('usage', 'Options --available-versions and --requirements exclude each other');
    }
    const { listAvailableExtensions, listExtensions } = await import('../../postgres/catalog-lists.js');
    if (availableVersions) {
      const available = await onSource(context, listAvailableExtensions);
      await context.stdout(json ? availableJson(available) : availableText(available));
      return;
    }
    const extensions = await onSource(context, listExtensions);
    const [asJson, asText] = requirementsList
      ? [requirementsJson, requirementsText]
      : [extensionsJson, extensionsText];
    await context.stdout(json ? asJson(extensions) : asText(extensions));
  },
};
