import type { Command } from '../command.js';
import { sequencesJson, sequencesText } from '../list-output.js';
import { chooseListed, onSource } from '../source-lists.js';

/** Every sequence, with the table that owns it and the default that uses it. */
export const command: Command = {
  path: 'list sequences',
  group: 'L',
  summary: 'sequences of the source',
  options: ['source', 'dir', 'snapshot', 'schema-name', 'filters', 'list-skipped', 'force'],
  needs: ['source'],
  run: async (context) => {
    const { settings } = context;
    const { listSequences } = await import('../../postgres/catalog-lists.js');
    const sequences = await onSource(context, async (session) => {
      const { shows } = await chooseListed(context, session);
      const all = await listSequences(session, { schema: settings.schemaName, table: null });
      return all.filter(({ rawSchema, rawName }) =>
        shows((filter) => filter.decideSequence({ schema: rawSchema, name: rawName }).kept),
      );
    });
    await context.stdout(settings.json ? sequencesJson(sequences) : sequencesText(sequences));
  },
};
