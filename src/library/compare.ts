/** `compare schema` and `compare data` as one function. */
import { compareDataOptions, compareSchemaOptions } from '../cli/compare-options.js';
import { command as dataCommand } from '../cli/commands/compare-data.js';
import type { DataComparison } from '../compare/comparison.js';
import type { SchemaComparison } from '../compare/schema-difference.js';
import { call, type CallOptions } from './call.js';
import type { CompareSettings } from './settings.js';

export type Comparison = {
  /**
   * Whether neither schemas nor data differ, as far as every row that might was looked at. Rows that changed at every
   * look were not compared: see `data`.
   */
  readonly equal: boolean;
  readonly schema: SchemaComparison;
  readonly data: DataComparison;
};

/**
 * Compares both sides, also while a run in the work directory applies changes. Resolves with what was found; rejects
 * with a Failure where it could not be found out.
 */
export function compare(settings: CompareSettings, options: CallOptions = {}): Promise<Comparison> {
  return call(dataCommand, settings, options, async (context) => {
    const { sidesDiffer } = await import('../compare/comparison.js');
    const { compareData } = await import('../compare/data.js');
    const { compareSchema } = await import('../compare/schema.js');
    const { schemasDiffer } = await import('../compare/schema-difference.js');
    const pair = {
      source: context.source(),
      target: context.target(),
      directory: context.settings.directory,
    };
    const schema = await compareSchema(await compareSchemaOptions(context, pair));
    const data = await compareData({
      ...(await compareDataOptions(context, pair)),
      onProgress: (progress) => context.tell({ kind: 'compare-progress', progress }),
    });
    return { equal: sidesDiffer(data) === null && schemasDiffer(schema) === null, schema, data };
  });
}
