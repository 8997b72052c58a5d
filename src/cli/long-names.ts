/**
 * Which option a long name means. The peer reads its command line with getopt_long, which takes a beginning of a name
 * where only one option begins so (`--split-max`): so do we. Pure.
 */
import type { Option } from './option.js';

/** What `--name` or `--name=value` means among these options. */
export type Meaning =
  /** 1. It is the name of an option, or the beginning of the names of one alone. */
  | { readonly kind: 'option'; readonly option: Option; readonly name: string }
  /** 2. Several options begin so. */
  | { readonly kind: 'several'; readonly names: readonly string[] }
  /** 3. None does. */
  | { readonly kind: 'none' };

/** Finds what the word means; a name in full is stronger than the beginning of a longer one. */
export function longOptionOf(word: string, known: readonly Option[]): Meaning {
  const name = /^--([^=]+)/.exec(word)?.[1];
  if (name === undefined) return { kind: 'none' };
  const exact = known.find((option) => option.names.includes(name));
  if (exact !== undefined) return { kind: 'option', option: exact, name };
  const begun = known.flatMap((option) => {
    const full = option.names.find((candidate) => candidate.startsWith(name));
    return full === undefined ? [] : [{ option, name: full }];
  });
  const [first, ...others] = begun;
  if (first === undefined) return { kind: 'none' };
  if (others.length > 0) return { kind: 'several', names: begun.map((one) => one.name) };
  return { kind: 'option', ...first };
}

/** The name that was probably meant by one that no option has: two letters away at most. */
export function similarName(name: string, known: readonly Option[]): string | null {
  const distances = known.flatMap(({ names }) =>
    names.map((candidate) => ({ candidate, distance: distance(name, candidate) })),
  );
  const best = distances.toSorted((one, other) => one.distance - other.distance)[0];
  return best !== undefined && best.distance <= Math.min(2, Math.floor(name.length / 3))
    ? best.candidate
    : null;
}

/** How many letters have to be put in, left out or changed (Levenshtein). */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [index, letter] of Array.from(one).entries()) {
    const next = [index + 1];
    for (const [column, theirs] of Array.from(other).entries()) {
      const changed = (row[column] ?? 0) + (letter === theirs ? 0 : 1);
      next.push(Math.min(changed, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

/** Whether some option of another command is called so. */
export function isKnownElsewhere(name: string, all: readonly Option[]): boolean {
  return all.some((option) => option.names.includes(name));
}
