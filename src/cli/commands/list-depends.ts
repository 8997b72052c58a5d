import { Failure } from '../../failure.js';
import type { Command } from '../command.js';
import { dependsJson, dependsText, type ListedDependent } from '../list-output.js';
import { chooseListed, onSource } from '../source-lists.js';

/** The objects that fall with the tables that the filters leave out. */
export const command: Command = {
  path: 'list depends',
  group: 'L',
  summary: 'what falls with the tables that filters leave out',
  options: ['source', 'dir', 'snapshot', 'filters', 'list-skipped', 'force'],
  needs: ['source'],
  run: async (context) => {
    const { settings } = context;
    if (!settings.listSkipped) {
      throw new Failure('usage', 'Options --filters and --list-skipped are mandatory');
    }
    const { fetchObjectNames } = await import('../../postgres/filter-facts.js');
    const { relationLabel } = await import('../../model/relation.js');
    const quoted = (name: string) => relationLabel({ schema: name, name: 'x' }).slice(0, -2);
    const dependents = await onSource(context, async (session): Promise<ListedDependent[]> => {
      const { filter } = await chooseListed(context, session);
      const fallen = filter?.fallen() ?? [];
      const names = await fetchObjectNames(session, fallen);
      return fallen.map(({ classOid, oid, relation }, index) => ({
        schema: quoted(relation.schema),
        table: quoted(relation.name),
        catalog: classOid,
        oid,
        type: names[index]?.type ?? '',
        identity: names[index]?.identity ?? '',
      }));
    });
    await context.stdout(settings.json ? dependsJson(dependents) : dependsText(dependents));
  },
};
