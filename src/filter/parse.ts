/**
 * The filter file: an INI file of pgcopydb's format (reference: pgcopydb 5.1 to 5.4). Everything that is wrong with it
 * is found and reported at once, with its line. Pure.
 *
 *     [section]            any order, any case; a section may come twice, its entries add up
 *     ; a comment          first thing on its line; there are no others
 *     schema.table         split at the first dot, each half taken literally
 *     "Sche.ma"."Ta""ble"  either half, or both, in quotes
 *     ~/re/.~[re]          either half, or both, a regular expression
 *
 * A schema that stands alone, without quotes, is folded to lower case, as Postgres does; halves of a qualified name
 * are not, and extensions neither (all as in pgcopydb).
 */
import { Failure } from '../failure.js';
import {
  filterSections,
  type FilterRule,
  type FilterSection,
  type NameMatch,
} from '../model/object-filter.js';

/** Something about a line of the file. */
export type LineRemark = { readonly line: number; readonly message: string };

export type ParsedFilters = {
  readonly rules: readonly FilterRule[];
  /** Each of them means that the file cannot be used. */
  readonly problems: readonly LineRemark[];
  readonly warnings: readonly LineRemark[];
};

/** A filter file that can be used. */
export type FilterFile = {
  /** As it was named, for messages. */
  readonly file: string;
  readonly rules: readonly FilterRule[];
  readonly warnings: readonly string[];
};

/** Reads the text of a filter file. Throws `usage` with all that is wrong with it. */
export function readFilters(text: string, file: string): FilterFile {
  const { rules, problems, warnings } = parseFilters(text);
  if (problems.length > 0) {
    throw new Failure('usage', problems.map(({ line, message }) => `${file}:${line}: ${message}`).join('\n'));
  }
  return { file, rules, warnings: warnings.map(({ line, message }) => `${file}:${line}: ${message}`) };
}

/** The file beside --skip-extensions. Throws `usage` where one asks for extensions that the other leaves out. */
export function besideSkippedExtensions(filters: FilterFile): FilterFile {
  const uses = (section: FilterSection) => filters.rules.some((rule) => rule.section === section);
  if (uses('include-only-extension')) {
    throw new Failure('usage', `${filters.file}: [include-only-extension] contradicts --skip-extensions`);
  }
  if (!uses('exclude-extension')) return filters;
  const redundant = `${filters.file}: [exclude-extension] has no effect beside --skip-extensions`;
  return { ...filters, warnings: [...filters.warnings, redundant] };
}

/** Parses the text; never throws. */
export function parseFilters(text: string): ParsedFilters {
  const rules: FilterRule[] = [];
  const problems: LineRemark[] = [];
  const warnings: LineRemark[] = [];
  const opened = new Map<FilterSection, number>();
  // Entries below a header that is wrong are not wrong themselves.
  let section: FilterSection | 'unknown' | null = null;
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const line = index + 1;
    const content = raw.trim();
    if (content === '' || content.startsWith(';')) continue;
    if (content.startsWith('[')) {
      const header = readHeader(content);
      if ('problem' in header) problems.push({ line, message: header.problem });
      else if (!opened.has(header.section)) opened.set(header.section, line);
      section = 'problem' in header ? 'unknown' : header.section;
    } else if (section === null) {
      problems.push({ line, message: `"${content}" stands before the first section` });
    } else if (section !== 'unknown') {
      const entry = readEntry(content, section);
      if ('problem' in entry) {
        problems.push({ line, message: `${entry.problem}: ${content}` });
        continue;
      }
      const { schema, name, ignored } = entry;
      rules.push({ section, line, entry: content, schema, name });
      if (ignored !== '') warnings.push({ line, message: `"${ignored}" has no meaning and is ignored` });
    }
  }
  const used = new Map<FilterSection, number>();
  for (const rule of rules) if (!used.has(rule.section)) used.set(rule.section, rule.line);
  for (const [name, line] of opened) {
    if (!used.has(name)) warnings.push({ line, message: `[${name}] is empty and has no effect` });
  }
  problems.push(...refusedCombinations(used));
  const both = [used.get('include-only-table'), used.get('exclude-schema')];
  if (both[0] !== undefined && both[1] !== undefined) {
    warnings.push({
      line: Math.max(both[0], both[1]),
      message:
        '[include-only-table] and [exclude-schema] are both applied: tables of excluded schemas are left out',
    });
  }
  const byLine = (a: LineRemark, b: LineRemark) => a.line - b.line;
  return { rules, problems: problems.toSorted(byLine), warnings: warnings.toSorted(byLine) };
}

function readHeader(content: string): { readonly section: FilterSection } | { readonly problem: string } {
  const match = /^\[([^\]]*)\](.*)$/.exec(content);
  const name = (match?.[1] ?? '').trim().toLowerCase();
  if (match === null) return { problem: `"]" is missing behind ${content}` };
  if (match[2]?.trim() !== '') return { problem: `a section's name ends its line: ${content}` };
  const section = filterSections.find((one) => one === name);
  if (section !== undefined) return { section };
  return { problem: `unknown section [${name}]; there are ${filterSections.join(', ')}` };
}

/** Two ways to say the same, which would contradict each other; an entry is an entry, pattern or not. */
const exclusive: readonly (readonly [FilterSection, FilterSection])[] = [
  ['include-only-schema', 'exclude-schema'],
  ['include-only-table', 'exclude-table'],
  ['include-only-extension', 'exclude-extension'],
];

function refusedCombinations(used: ReadonlyMap<FilterSection, number>): LineRemark[] {
  return exclusive.flatMap(([one, other]) => {
    const lines = [used.get(one), used.get(other)];
    if (lines[0] === undefined || lines[1] === undefined) return [];
    return { line: Math.max(lines[0], lines[1]), message: `[${one}] and [${other}] exclude each other` };
  });
}

type Entry =
  | { readonly schema: NameMatch | null; readonly name: NameMatch | null; readonly ignored: string }
  | { readonly problem: string };

function readEntry(content: string, section: FilterSection): Entry {
  if (content.startsWith('#')) {
    return { problem: 'comments begin with ";" (a name that begins with "#" stands in quotes)' };
  }
  switch (section) {
    case 'include-only-schema':
    case 'exclude-schema': {
      const schema = readLast(content, 'schema');
      if ('problem' in schema) return schema;
      if (!schema.bare) return { schema: schema.match, name: null, ignored: schema.ignored };
      if (schema.match.kind === 'exact' && schema.match.name.includes('.')) {
        return { problem: 'a schema is expected (a name with a dot in it stands in quotes)' };
      }
      return { schema: folded(schema.match), name: null, ignored: schema.ignored };
    }
    case 'include-only-extension':
    case 'exclude-extension': {
      const name = readLast(content, 'extension');
      return 'problem' in name ? name : { schema: null, name: name.match, ignored: name.ignored };
    }
    case 'include-only-table':
    case 'exclude-table':
    case 'exclude-table-data':
      return readQualified(content, 'table');
    case 'exclude-index':
      return readQualified(content, 'index');
  }
}

function readQualified(content: string, what: 'table' | 'index'): Entry {
  const schema = readFirst(content, what);
  if ('problem' in schema) return schema;
  const rest = content.slice(schema.end + 1).trimStart();
  if (rest === '' || rest.startsWith('=')) return { problem: `the ${what}'s name is missing behind the dot` };
  const name = readLast(rest, what);
  return 'problem' in name ? name : { schema: schema.match, name: name.match, ignored: name.ignored };
}

/** ASCII letters only, as the server's own folding does in UTF-8. */
function folded(match: NameMatch): NameMatch {
  if (match.kind === 'pattern') return match;
  return { kind: 'exact', name: match.name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase()) };
}

/** The half before the dot; `end` is where the dot stands. */
function readFirst(
  content: string,
  what: string,
): { readonly match: NameMatch; readonly end: number } | { readonly problem: string } {
  const noDot = { problem: `${what === 'index' ? 'an' : 'a'} ${what} is written schema.${what}` };
  if (content.startsWith('"')) {
    const quoted = readQuoted(content);
    if ('problem' in quoted) return quoted;
    return content[quoted.end] === '.' ? quoted : noDot;
  }
  if (content.startsWith('~')) {
    const closing = closingDelimiters(content);
    if ('problem' in closing) return closing;
    // The first one that a dot follows: the expression itself may hold the delimiter.
    const at = closing.ends.find((end) => content[end + 1] === '.');
    if (at === undefined) {
      return closing.ends.length === 0
        ? { problem: `"${closing.delimiter}" is missing at the end of the pattern` }
        : noDot;
    }
    return readPattern(content, at);
  }
  const dot = content.indexOf('.');
  const equals = content.indexOf('=');
  if (dot === 0) return { problem: 'the schema is missing before the dot' };
  if (dot < 0 || (equals >= 0 && equals < dot)) return noDot;
  const name = content.slice(0, dot);
  if (name.includes('"'))
    return { problem: 'a quote in the middle of a name (put all of the name in quotes)' };
  return { match: { kind: 'exact', name }, end: dot };
}

/** The last thing on its line. `bare` is a name without quotes; `ignored` is what stands behind an equals sign. */
function readLast(
  content: string,
  what: string,
):
  | { readonly match: NameMatch; readonly bare: boolean; readonly ignored: string }
  | { readonly problem: string } {
  // pgcopydb reads entries as INI properties and forgets what follows an equals sign.
  const isEnd = (rest: string) => /^\s*(?:=.*)?$/.test(rest);
  if (content.startsWith('"')) {
    const quoted = readQuoted(content);
    if ('problem' in quoted) return quoted;
    const rest = content.slice(quoted.end);
    if (!isEnd(rest)) return { problem: `"${rest.trim()}" behind the closing quote` };
    return { match: quoted.match, bare: false, ignored: rest.trim() };
  }
  if (content.startsWith('~')) {
    const closing = closingDelimiters(content);
    if ('problem' in closing) return closing;
    const at = closing.ends.findLast((end) => isEnd(content.slice(end + 1)));
    if (at === undefined) return { problem: `"${closing.delimiter}" is missing at the end of the pattern` };
    const pattern = readPattern(content, at);
    if ('problem' in pattern) return pattern;
    return { match: pattern.match, bare: false, ignored: content.slice(pattern.end).trim() };
  }
  const equals = content.indexOf('=');
  const name = (equals < 0 ? content : content.slice(0, equals)).trimEnd();
  if (name === '') return { problem: `the ${what}'s name is missing` };
  if (name.includes('"'))
    return { problem: 'a quote in the middle of a name (put all of the name in quotes)' };
  return { match: { kind: 'exact', name }, bare: true, ignored: equals < 0 ? '' : content.slice(equals) };
}

/** A name in quotes, from the beginning; a quote inside is written twice. `end` is behind the closing quote. */
function readQuoted(
  content: string,
): { readonly match: NameMatch; readonly end: number } | { readonly problem: string } {
  const quoted = /^"((?:[^"]|"")*)"(?!")/.exec(content);
  if (quoted === null) return { problem: 'the closing quote is missing' };
  const name = (quoted[1] ?? '').replaceAll('""', '"');
  if (name === '') return { problem: 'an empty name' };
  return { match: { kind: 'exact', name }, end: quoted[0].length };
}

const delimiters: Readonly<Record<string, string>> = {
  '/': '/',
  '[': ']',
  '{': '}',
  '(': ')',
  '<': '>',
  '"': '"',
  "'": "'",
  '|': '|',
  '#': '#',
  $: '$',
};

/** Where the closing delimiter of the pattern at the beginning may stand. */
function closingDelimiters(
  content: string,
): { readonly ends: readonly number[]; readonly delimiter: string } | { readonly problem: string } {
  const delimiter = delimiters[content[1] ?? ''];
  if (delimiter === undefined) {
    return {
      problem: `a pattern is written ~/re/ (or between ${Object.entries(delimiters)
        .map((pair) => pair.join(''))
        .join(' ')})`,
    };
  }
  const ends: number[] = [];
  let escaped = false;
  for (let at = 2; at < content.length; at += 1) {
    if (!escaped && content[at] === delimiter) ends.push(at);
    escaped = !escaped && content[at] === '\\';
  }
  return { ends, delimiter };
}

function readPattern(
  content: string,
  closing: number,
): { readonly match: NameMatch; readonly end: number } | { readonly problem: string } {
  const pattern = content.slice(2, closing);
  if (pattern === '') return { problem: 'an empty pattern' };
  return { match: { kind: 'pattern', pattern }, end: closing + 1 };
}
