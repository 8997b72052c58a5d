/** Target tables as the catalog would describe them. */
import type { TargetColumn, TargetIndex, TargetTable } from '../../src/apply/target-table.js';

/** `id!, v, g=` are columns of type text: id not null, g generated; `a@` is GENERATED ALWAYS AS IDENTITY. */
export function table(
  columns: string,
  indexes: readonly TargetIndex[] = [],
  partitioned = false,
): TargetTable {
  const list = columns.split(',').map((text): TargetColumn => {
    const column = text.trim();
    return {
      name: column.replace(/[!=@]$/, ''),
      type: 'pg_catalog.text',
      via: '',
      array: false,
      generated: column.endsWith('='),
      identityAlways: column.endsWith('@'),
      notNull: column.endsWith('!'),
    };
  });
  return {
    partitioned,
    fires: false,
    hidden: false,
    copyable: true,
    columns: new Map(list.map((column) => [column.name, column])),
    indexes,
    tied: [],
  };
}

export function unique(columns: string, more: Partial<TargetIndex> = {}): TargetIndex {
  const names = columns.split(',').map((name) => name.trim());
  return {
    columns: names,
    equals: names.map(() => 'operator(pg_catalog.=)'),
    plain: true,
    constraining: true,
    key: true,
    partial: false,
    ...more,
  };
}
