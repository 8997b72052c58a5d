import type { Command } from '../command.js';
import { sequencesJson, sequencesText } from '../list-output.js';
import { onSource } from '../source-lists.js';

/** Every sequence, with the table that owns it and the default that uses it. */
export const command: Command = {
  path: 'list sequences',
  group: 'L',
  summary: 'sequences of the source',
  options: ['source', 'dir', 'snapshot', 'schema-name', 'force'],
  needs: ['source'],
  run: async (context) => {
    const { settings } = context;
    const { listSequences } = await import('../../postgres/catalog-lists.js');
    const sequences = await onSource(context, (session) =>
      listSequences(session, { schema: settings.schemaName, table: null }),
    );
    await context.stdout(settings.json ? sequencesJson(sequences) : sequencesText(sequences));
  },
};
