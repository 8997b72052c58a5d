import { describe, expect, test } from 'vitest';
import { readRestoreScript, splitRestoreScript } from '../../src/postgres/restore-script.js';

describe('a script', () => {
  const script = (first: string, last: string, encoding = 'UTF8', strings = 'on') =>
    [
      '-- PostgreSQL database dump',
      ...(first === '' ? [] : [first]),
      `SET client_encoding = '${encoding}';`,
      `SET standard_conforming_strings = ${strings};`,
      'CREATE FUNCTION f() AS $$',
      String.raw`\restrict other`,
      '$$;',
      ...(last === '' ? [] : [last]),
    ].join('\n');

  test("is sent without psql's own commands, whatever a function says", () => {
    expect(readRestoreScript(script(String.raw`\restrict aB3`, String.raw`\unrestrict aB3`))).toBe(
      script('', ''),
    );
  });

  test('of an older pg_restore, which has none, is sent as it is', () => {
    expect(readRestoreScript(script('', ''))).toBe(script('', ''));
  });

  test('of a newer pg_restore leaves out a setting that older servers do not know, but in functions', () => {
    const body =
      "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\nCREATE FUNCTION f() AS $$\nSET transaction_timeout = 0;\n$$;";
    expect(readRestoreScript(`SET transaction_timeout = 0;\n${body}`)).toBe(body);
  });

  test('of another encoding, or with other rules for strings, is not sent', () => {
    expect(readRestoreScript(script('', '', 'SQL_ASCII'))).toBeNull();
    expect(readRestoreScript(script('', '', 'UTF8', 'off'))).toBeNull();
    const inFunction = '$$;\nSET standard_conforming_strings = on;\n$$;';
    expect(readRestoreScript(script('', inFunction, 'UTF8', 'off'))).toBeNull();
  });
});

describe('the pieces of a script', () => {
  const head = (name: string, kind: string) =>
    `--\n-- Name: ${name}; Type: ${kind}; Schema: public; Owner: -\n--\n\n`;
  const beginning = "SET client_encoding = 'UTF8';\n\n";
  const table = `${head('a; Type: VIEW', 'TABLE')}CREATE TABLE a ();\n\nSET default_tablespace = x;\n\n`;
  const comment = `${head('TABLE a', 'COMMENT')}COMMENT ON TABLE a IS 'b';\n\n--\n-- PostgreSQL database dump complete\n--\n`;

  test('are the entries, in their order, and together the script', () => {
    expect(splitRestoreScript(`${beginning}${table}${comment}`, ['TABLE', 'COMMENT'])).toEqual([
      `${beginning}${table}`,
      comment,
    ]);
  });

  test.each([
    ['an entry without statements', ['TABLE', 'COMMENT', 'DEFAULT']],
    ['another order', ['COMMENT', 'TABLE']],
    ['a text that looks like the head of an entry', ['TABLE']],
  ])('are not known: %s', (_what, kinds) => {
    expect(splitRestoreScript(`${beginning}${table}${comment}`, kinds)).toBeNull();
  });
});
