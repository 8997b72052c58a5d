import type { Command } from '../command.js';
import { collationsJson, collationsText } from '../list-output.js';
import { onSource } from '../source-lists.js';

/** The collations that the target must have too. */
export const command: Command = {
  path: 'list collations',
  group: 'L',
  summary: 'collations that the source uses, and where',
  options: ['source', 'dir', 'snapshot', 'force'],
  needs: ['source'],
  run: async (context) => {
    const { listCollations } = await import('../../postgres/catalog-lists.js');
    const collations = await onSource(context, listCollations);
    await context.stdout(context.settings.json ? collationsJson(collations) : collationsText(collations));
  },
};
