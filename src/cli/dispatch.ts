/**
 * Which command a command line means. Options may stand before the command's words, between and after them, and the
 * meaning of a short letter (does a value follow?) depends on the command that is yet to be found. So the line is
 * read once with each group's letters, and a reading counts when the command it finds belongs to that group.
 */
import { takesValue, type Group } from './option.js';
import { options, optionsOf, valueFollows, type KnownOption } from './options.js';

/** A command's place in the tree, as far as dispatch needs it. */
export type Place = { readonly path: string; readonly group: Group };

/** What the words of a command line mean. */
export type Dispatch =
  /** 1. A command; `rest` are its options and arguments. */
  | { readonly kind: 'command'; readonly path: string; readonly rest: readonly string[] }
  /** 2. A group whose sub-command is missing (`walferry stream`), or no word at all (path ''). */
  | { readonly kind: 'group'; readonly path: string; readonly rest: readonly string[] }
  /** 3. A word that no command of the group `path` has. */
  | { readonly kind: 'unknown'; readonly path: string; readonly word: string };

/** Reads a command line (without node and script). `places` are all commands, built or not. */
export function dispatch(argv: readonly string[], places: readonly Place[]): Dispatch {
  const byPath = new Map(places.map((place) => [place.path, place]));
  const words = wordsOf(places);
  for (const group of new Set(places.map((place) => place.group))) {
    const found = walk(argv, words, byPath, knownIn(group, places));
    if (found.kind === 'command' && byPath.get(found.path)?.group === group) return found;
  }
  return walk(argv, words, byPath, knownIn(null, places));
}

/** Path of a group (the root is '') to the words that may follow. */
function wordsOf(places: readonly Place[]): ReadonlyMap<string, ReadonlySet<string>> {
  const words = new Map<string, Set<string>>([['', new Set()]]);
  for (const { path } of places) {
    let parent = '';
    for (const word of path.split(' ')) {
      const siblings = words.get(parent) ?? new Set();
      words.set(parent, siblings.add(word));
      parent = parent === '' ? word : `${parent} ${word}`;
    }
  }
  return words;
}

/** What commands of the group know. Without a group: every long name after which a value follows. */
function knownIn(group: Group | null, places: readonly Place[]): readonly KnownOption[] {
  if (group === null) return options.filter(takesValue).map((option) => ({ option, letter: null }));
  // A command's own options may hide a group's (--endpos): take any command's view.
  const known = places.filter((place) => place.group === group).flatMap(({ path }) => optionsOf(group, path));
  return [...new Map(known.map((one) => [one.option.id, one])).values()];
}

function walk(
  argv: readonly string[],
  words: ReadonlyMap<string, ReadonlySet<string>>,
  commands: ReadonlyMap<string, Place>,
  known: readonly KnownOption[],
): Dispatch {
  let path = '';
  const rest: string[] = [];
  for (let i = 0; i < argv.length; i += 1) {
    const token = argv[i] ?? '';
    if (token === '--') {
      rest.push(...argv.slice(i));
      break;
    }
    if (token.startsWith('-') && token.length > 1) {
      rest.push(token);
      if (valueFollows(token, known) && i + 1 < argv.length) rest.push(argv[(i += 1)] ?? '');
      continue;
    }
    const next = path === '' ? token : `${path} ${token}`;
    if (words.get(path)?.has(token) === true) path = next;
    else if (commands.has(path)) rest.push(token);
    else return { kind: 'unknown', path, word: token };
  }
  return commands.has(path) ? { kind: 'command', path, rest } : { kind: 'group', path, rest };
}
