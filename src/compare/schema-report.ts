/** What `compare schema` prints. Pure. */
import type { ObjectDifference, PropertyDifference, SchemaComparison } from './schema-difference.js';

/** Grouped by object, the source's lines against the target's; nothing where the schemas are equal. */
export function schemaText(comparison: SchemaComparison): string {
  return comparison.differences.map((difference) => objectText(difference)).join('');
}

function objectText({ kind, identity, difference, properties }: ObjectDifference): string {
  const what =
    difference === 'missing'
      ? 'missing on the target'
      : difference === 'extra'
        ? 'on the target only'
        : 'different';
  return `${kind} ${identity}: ${what}\n${properties.map(propertyText).join('')}`;
}

function propertyText({ name, source, target }: PropertyDifference): string {
  if (source?.includes('\n') === true || target?.includes('\n') === true) {
    const lines = changedLines(source ?? '', target ?? '').map((line) => `        ${line}\n`);
    return `    ${name} (- source, + target)\n${lines.join('')}`;
  }
  return `    ${name}\n        source: ${source ?? '(none)'}\n        target: ${target ?? '(none)'}\n`;
}

/** The lines between the first and the last one that differ. */
function changedLines(source: string, target: string): string[] {
  const [one, other] = [source.split('\n'), target.split('\n')];
  let before = 0;
  while (before < Math.min(one.length, other.length) && one[before] === other[before]) before += 1;
  let after = 0;
  while (
    after < Math.min(one.length, other.length) - before &&
    one[one.length - 1 - after] === other[other.length - 1 - after]
  ) {
    after += 1;
  }
  const part = (lines: readonly string[], mark: string) =>
    lines.slice(before, lines.length - after).map((line) => `${mark} ${line}`);
  return [...part(one, '-'), ...part(other, '+')];
}

/** `{database, objects, differences}`. */
export function schemaJson(comparison: SchemaComparison): string {
  return `${JSON.stringify(jsonOf(comparison), null, 2)}\n`;
}

/** Of several databases: an array of them. */
export function allSchemasJson(comparisons: readonly SchemaComparison[]): string {
  return `${JSON.stringify(comparisons.map(jsonOf), null, 2)}\n`;
}

function jsonOf({ database, counts, differences }: SchemaComparison): unknown {
  return { database, objects: counts, differences };
}

/** The peer's summary of several databases: how many objects each side has. */
export function countsTable(comparisons: readonly SchemaComparison[]): string {
  const kinds = ['table', 'index', 'constraint', 'sequence'] as const;
  const header = ['Database', ...kinds.flatMap((kind) => [`${kind} source`, `${kind} target`])];
  const rows = comparisons.map(({ database, counts }) => [
    database,
    ...kinds.flatMap((kind) => {
      const found = counts.find((one) => one.kind === kind);
      return [String(found?.source ?? 0), String(found?.target ?? 0)];
    }),
  ]);
  const widths = header.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `${cells.map((cell, at) => cell.padStart(widths[at] ?? 0)).join(' | ')}\n`;
  return `${line(header)}${widths.map((width) => '-'.repeat(width)).join('-+-')}\n${rows.map(line).join('')}\n`;
}
