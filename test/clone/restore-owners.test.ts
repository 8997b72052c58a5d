import { expect, test } from 'vitest';
import { ownerStatements } from '../../src/clone/restore-owners.js';

const entry = (name: string, owner: string, ...lines: readonly string[]) =>
  ['--', `-- Name: ${name}; Type: X; Schema: public; Owner: ${owner}`, '--', '', ...lines, ''].join('\n');

const body = [
  'CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$',
  'ALTER TABLE public.t OWNER TO nobody;',
  '',
  '-- Name: t; Type: TABLE; Schema: public; Owner: x',
  '$$;',
  '',
];

test.each([
  [
    'of each entry, and of no function body',
    [
      entry('f', 'keeper', ...body, '', 'ALTER FUNCTION public.f() OWNER TO keeper;', ''),
      entry('t', 'keeper', 'CREATE TABLE public.t ();', '', '', 'ALTER TABLE public.t OWNER TO keeper;', ''),
      entry('c', 'keeper', 'COMMENT ON TABLE public.t IS $$', 'x$$;', ''),
    ],
    [
      entry('f', '-', ...body, ''),
      entry('t', '-', 'CREATE TABLE public.t ();', '', ''),
      entry('c', '-', 'COMMENT ON TABLE public.t IS $$', 'x$$;', ''),
    ],
    ['ALTER FUNCTION public.f() OWNER TO keeper;', 'ALTER TABLE public.t OWNER TO keeper;'],
  ],
  [
    'none where the name goes over several lines: what belongs together is not known',
    [
      entry(
        'a b',
        'o',
        'CREATE TABLE public."a',
        'b" ();',
        '',
        '',
        'ALTER TABLE public."a',
        'b" OWNER TO o;',
        '',
      ),
    ],
    [entry('a b', '-', 'CREATE TABLE public."a', 'b" ();', '', '')],
    null,
  ],
  [
    'none where the scripts are not of the same entries',
    [entry('a', 'o', 'x;')],
    [entry('a', '-', 'x;', 'y;')],
    null,
  ],
])('owner statements: %s', (_what, withOwners, without, expected) => {
  expect(ownerStatements(withOwners.join('\n'), without.join('\n'))).toEqual(expected);
});
