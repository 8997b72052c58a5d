import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { besideSkippedExtensions, parseFilters, readFilters } from '../../src/filter/parse.js';
import { filterText, filterType } from '../../src/filter/scope.js';
import { filterSections, type FilterRule, type NameMatch } from '../../src/model/object-filter.js';

const exact = (name: string): NameMatch => ({ kind: 'exact', name });
const pattern = (text: string): NameMatch => ({ kind: 'pattern', pattern: text });

/** The one entry of a section. */
function entry(section: string, line: string): FilterRule {
  const { rules, problems } = parseFilters(`[${section}]\n${line}`);
  expect(problems).toEqual([]);
  expect(rules).toHaveLength(1);
  return rules[0] as FilterRule;
}

describe('a qualified name', () => {
  test.each<[string, NameMatch, NameMatch]>([
    // Unquoted: split at the first dot, each half taken literally.
    ['public.audit_log', exact('public'), exact('audit_log')],
    ['public.MyTable', exact('public'), exact('MyTable')],
    ['public.Q t', exact('public'), exact('Q t')],
    ['public.a.b', exact('public'), exact('a.b')],
    ['\t  public.t \r', exact('public'), exact('t')],
    // Quoted: dots, doubled quotes, blanks; each half for itself.
    ['"Audit"."Log 2024"', exact('Audit'), exact('Log 2024')],
    ['"a.b"."c.d"', exact('a.b'), exact('c.d')],
    ['"a""b"."""c"""', exact('a"b'), exact('"c"')],
    ['public."Q t"', exact('public'), exact('Q t')],
    ['"Audit".log', exact('Audit'), exact('log')],
    ['public." t "', exact('public'), exact(' t ')],
    ['public."a=b"', exact('public'), exact('a=b')],
    ['public.";x"', exact('public'), exact(';x')],
    // Patterns, in either half.
    ['public.~/^tmp_/', exact('public'), pattern('^tmp_')],
    ['~/^stage/.~/_raw$/', pattern('^stage'), pattern('_raw$')],
    ['~/^app/.orders', pattern('^app'), exact('orders')],
    ['~/^app/."Or.ders"', pattern('^app'), exact('Or.ders')],
    ['"a.b".~/x.y/', exact('a.b'), pattern('x.y')],
    // All delimiters; the pattern may hold them, and dots, where that can be told.
    ['public.~[x]', exact('public'), pattern('x')],
    ['public.~{x}', exact('public'), pattern('x')],
    ['public.~(x)', exact('public'), pattern('x')],
    ['public.~<x>', exact('public'), pattern('x')],
    ['public.~"x"', exact('public'), pattern('x')],
    ["public.~'x'", exact('public'), pattern('x')],
    ['public.~|x|', exact('public'), pattern('x')],
    ['public.~#x#', exact('public'), pattern('x')],
    ['public.~$x$', exact('public'), pattern('x')],
    ['public.~[^[a-z]+$]', exact('public'), pattern('^[a-z]+$')],
    ['~[[a-z]].~(a|(b.c))', pattern('[a-z]'), pattern('a|(b.c)')],
    ['~/a.b/.t', pattern('a.b'), exact('t')],
    [String.raw`~/a\/.b/.t`, pattern(String.raw`a\/.b`), exact('t')],
    ['public.~/a/b/', exact('public'), pattern('a/b')],
    ['public.~/a=b/', exact('public'), pattern('a=b')],
    ['public.~/ x /', exact('public'), pattern(' x ')],
  ])('%s', (line, schema, name) => {
    expect(entry('exclude-table', line)).toMatchObject({ schema, name, section: 'exclude-table', line: 2 });
    expect(entry('exclude-index', line)).toMatchObject({ schema, name });
  });
});

test.each<[string, NameMatch]>([
  ['public', exact('public')],
  ['Public', exact('public')],
  ['"Public"', exact('Public')],
  ['"a.b"', exact('a.b')],
  ['~/^Sales_/', pattern('^Sales_')],
  ['~[a.b]', pattern('a.b')],
  ['my schema', exact('my schema')],
])('a schema: %s', (line, schema) => {
  expect(entry('include-only-schema', line)).toMatchObject({ schema, name: null });
});

test.each<[string, NameMatch]>([
  ['uuid-ossp', exact('uuid-ossp')],
  ['"uuid-ossp"', exact('uuid-ossp')],
  ['~/^pg_/', pattern('^pg_')],
])('an extension: %s', (line, name) => {
  expect(entry('exclude-extension', line)).toMatchObject({ schema: null, name });
});

describe('a section', () => {
  test('has any case and blanks, comes in any order, and may come twice', () => {
    const { rules, problems } = parseFilters(
      '\uFEFF; first\n[Exclude-Table-Data]\n a.b\r\n\r\n[ EXCLUDE-TABLE ]\n  ; c\na.c\n[exclude-table-data]\na.d',
    );
    expect(problems).toEqual([]);
    expect(rules.map(({ section, entry: text, line }) => [section, text, line])).toEqual([
      ['exclude-table-data', 'a.b', 3],
      ['exclude-table', 'a.c', 7],
      ['exclude-table-data', 'a.d', 9],
    ]);
  });

  test('without entries has no effect, which is said', () => {
    const { warnings, problems } = parseFilters('[include-only-table]\n; nothing\n[exclude-table]\na.b');
    expect(problems).toEqual([]);
    expect(warnings).toEqual([{ line: 1, message: '[include-only-table] is empty and has no effect' }]);
  });
});

test('what stands behind an equals sign is ignored, as by the peer, and said', () => {
  const { rules, warnings } = parseFilters('[exclude-table]\na.b = yes\n"a"."b" =\na.~/x/=1');
  expect(rules.map(({ name }) => name)).toEqual([exact('b'), exact('b'), pattern('x')]);
  expect(warnings.map(({ line }) => line)).toEqual([2, 3, 4]);
});

test.each<[string, string, RegExp]>([
  ['exclude-table', 'orders', /schema\.table/],
  ['exclude-index', 'orders_idx', /schema\.index/],
  ['exclude-table', '.orders', /schema is missing/],
  ['exclude-table', 'public.', /name is missing/],
  ['exclude-table', 'public. = x', /name is missing/],
  ['exclude-table', '"public.orders', /closing quote/],
  ['exclude-table', 'public."orders', /closing quote/],
  ['exclude-table', '"public"orders', /schema\.table/],
  ['exclude-table', 'public."orders"x', /behind the closing quote/],
  ['exclude-table', 'public.or"ders', /quote in the middle/],
  ['exclude-table', 'pub"lic.orders', /quote in the middle/],
  ['exclude-table', '"".orders', /empty name/],
  ['exclude-table', 'public.""', /empty name/],
  ['exclude-table', 'public.~/x', /"\/" is missing/],
  ['exclude-table', 'public.~[x', /"\]" is missing/],
  ['exclude-table', '~/x.orders', /"\/" is missing/],
  ['exclude-table', '~/x/', /schema\.table/],
  ['exclude-table', 'public.~//', /empty pattern/],
  ['exclude-table', 'public.~xax', /a pattern is written ~\/re\//],
  ['exclude-table', 'public.~', /a pattern is written ~\/re\//],
  ['exclude-table', '# a comment', /begin with ";"/],
  ['exclude-schema', '# a comment', /begin with ";"/],
  ['exclude-schema', 'public.orders', /a schema is expected/],
  ['exclude-schema', '=', /name is missing/],
])('refused in [%s]: %s', (section, line, problem) => {
  const { problems, rules } = parseFilters(`[${section}]\n${line}`);
  expect(rules).toEqual([]);
  expect(problems).toEqual([{ line: 2, message: expect.stringMatching(problem) }]);
});

test('every problem is told at once, with its line', () => {
  const text =
    'orphan\n[nonsense]\nany.thing\n[exclude-table]\nno_dot\na.b\n[exclude-schema\n[exclude-index] x\na."b';
  const thrown = (() => {
    try {
      return readFilters(text, 'dir/f.ini');
    } catch (error) {
      return error;
    }
  })();
  expect(thrown).toBeInstanceOf(Failure);
  expect((thrown as Failure).code).toBe('usage');
  expect((thrown as Failure).message.split('\n')).toEqual([
    'dir/f.ini:1: "orphan" stands before the first section',
    expect.stringMatching(/^dir\/f\.ini:2: unknown section \[nonsense\]; there are include-only-schema/),
    'dir/f.ini:5: a table is written schema.table: no_dot',
    'dir/f.ini:7: "]" is missing behind [exclude-schema',
    `dir/f.ini:8: a section's name ends its line: [exclude-index] x`,
  ]);
});

describe('combinations', () => {
  const entryOf = { schema: '~/s/', table: 'a.~/t/', extension: '~/e/' } as const;
  test.each(['schema', 'table', 'extension'] as const)(
    'include-only and exclude of a %s are refused',
    (kind) => {
      const { problems } = parseFilters(
        `[exclude-${kind}]\n${entryOf[kind]}\n[include-only-${kind}]\n${entryOf[kind]}`,
      );
      expect(problems).toEqual([
        { line: 4, message: `[include-only-${kind}] and [exclude-${kind}] exclude each other` },
      ]);
    },
  );

  test.each([
    '[include-only-schema]\na\n[exclude-table]\na.b\n[exclude-table-data]\na.c\n[exclude-index]\na.d',
    '[include-only-schema]\na\n[include-only-table]\na.b',
    '[include-only-table]\na.b\n[exclude-table-data]\na.c\n[exclude-index]\na.d',
    '[include-only-table]\n[exclude-table]\na.b',
  ])('allowed: %j', (text) => {
    expect(parseFilters(text).problems).toEqual([]);
  });

  test('include-only-table and exclude-schema are both applied, which is said', () => {
    const { problems, warnings } = parseFilters('[include-only-table]\na.b\n[exclude-schema]\nc');
    expect(problems).toEqual([]);
    expect(warnings).toEqual([{ line: 4, message: expect.stringContaining('are both applied') }]);
  });
});

test('--skip-extensions contradicts an inclusion, and makes an exclusion redundant', () => {
  const beside = (text: string) => besideSkippedExtensions(readFilters(text, 'f'));
  expect(() => beside('[include-only-extension]\ncitext')).toThrow(/contradicts --skip-extensions/);
  expect(beside('[exclude-extension]\ncitext').warnings).toEqual([expect.stringContaining('no effect')]);
  expect(beside('[exclude-schema]\na').warnings).toEqual([]);
});

describe('any file', () => {
  const name = fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => !/[\n\0]/.test(text));
  const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;

  test('names every name in quotes exactly', () => {
    fc.assert(
      fc.property(name, name, fc.boolean(), (schema, table, newline) => {
        const rule = parseFilters(
          `[exclude-table]\n${quote(schema)}.${quote(table)}${newline ? '\r\n' : ''}`,
        );
        expect(rule.problems).toEqual([]);
        expect(rule.rules[0]).toMatchObject({ schema: exact(schema), name: exact(table) });
      }),
    );
  });

  test('is read or refused, line by line, and never crashes', () => {
    const line = fc.oneof(
      fc.constantFrom(...filterSections.map((section) => `[${section}]`)),
      fc.string({ unit: fc.constantFrom(...'a.~"/[]={};#| \t\\'.split('')) }),
      fc.string({ unit: fc.constantFrom('\0', '\r', '\u2028', '\uD800', 'é', '"', '~', '.') }),
    );
    const isWhole = ({ section, schema, name: last }: FilterRule) =>
      (schema === null) === section.endsWith('extension') && (last === null) === section.endsWith('schema');
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
        const text = lines.join('\n');
        const { rules, problems } = parseFilters(text);
        const lastLine = Math.max(0, ...[...rules, ...problems].map((one) => one.line));
        return rules.every(isWhole) && lastLine <= text.split('\n').length;
      }),
    );
  }, 30_000);

  test('has one text, whatever its order, comments and spelling', () => {
    const one = '[exclude-table]\npublic.b\n"public"."a"\npublic.~/x/\n[exclude-schema]\nZ';
    const other = '[EXCLUDE-SCHEMA]\n"z"\n;\n[exclude-table]\n\npublic.~[x]\npublic.a\npublic.b\npublic.b\n';
    const texts = [one, other].map((text) => filterText(parseFilters(text).rules));
    expect(texts[0]).toBe(texts[1]);
    expect(JSON.parse(texts[0] ?? '')).toEqual({
      type: 'SOURCE_FILTER_TYPE_EXCL',
      'exclude-schema': ['z'],
      'exclude-table': ['public.a', 'public.b'],
      'exclude-table-pattern': ['public.~/x/'],
    });
  });
});

test.each([
  ['', 'NONE'],
  ['[exclude-index]\na.b', 'EXCL_INDEX'],
  ['[exclude-index]\na.b\n[exclude-table-data]\na.b', 'EXCL'],
  ['[include-only-schema]\na', 'EXCL'],
  ['[include-only-table]\na.b\n[exclude-index]\na.b', 'INCL'],
  ['[exclude-extension]\na', 'NONE'],
])('the type of %j', (text, type) => {
  expect(filterType(parseFilters(text).rules)).toBe(`SOURCE_FILTER_TYPE_${type}`);
});
