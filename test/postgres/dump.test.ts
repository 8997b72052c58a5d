import { describe, expect, test } from 'vitest';
import { isOfNewerProgram, readDumpList, readRestoreErrors } from '../../src/postgres/dump.js';

describe('the table of contents of a dump', () => {
  test('entries have their catalog, kind and dependencies', () => {
    const listing = [
      ';',
      '; Archive created at 2026-11-22 21:39:59 UTC',
      ';     dbname: postgres',
      ';',
      '217; 1259 16386 TABLE public t postgres',
      '218; 2606 16390 FK CONSTRAINT public t t_fkey postgres',
      ';\tdepends on: 217 217',
      '3457; 0 0 COMMENT public TABLE t postgres',
      ';\tdepends on: 217',
      '3452; 0 0 STDSTRINGS - STDSTRINGS ',
    ].join('\n');

    expect(readDumpList(listing)).toEqual([
      {
        dumpId: 217,
        catalogOid: 1259,
        oid: 16386,
        kind: 'TABLE',
        tag: 'public t postgres',
        dependencies: [],
      },
      {
        dumpId: 218,
        catalogOid: 2606,
        oid: 16390,
        kind: 'FK CONSTRAINT',
        tag: 'public t t_fkey postgres',
        dependencies: [217, 217],
      },
      {
        dumpId: 3457,
        catalogOid: 0,
        oid: 0,
        kind: 'COMMENT',
        tag: 'public TABLE t postgres',
        dependencies: [217],
      },
      { dumpId: 3452, catalogOid: 0, oid: 0, kind: 'STDSTRINGS', tag: '- STDSTRINGS', dependencies: [] },
    ]);
  });

  test.each([
    ['1; 1259 9 TABLE ATTACH t postgres', 'TABLE', 'a table in the schema ATTACH'],
    ['1; 0 0 TABLE ATTACH public t postgres', 'TABLE ATTACH', 'a partition that is attached'],
    ['1; 1259 9 MATERIALIZED VIEW DATA m postgres', 'MATERIALIZED VIEW', 'a view in the schema DATA'],
    ['1; 0 9 MATERIALIZED VIEW DATA public m postgres', 'MATERIALIZED VIEW DATA', 'its contents'],
    ['1; 1259 9 SEQUENCE OWNED BY postgres', 'SEQUENCE', 'a sequence BY in the schema OWNED'],
    ['1; 2620 9 TRIGGER public t x postgres', 'TRIGGER', 'a trigger'],
    ['1; 0 0 USER MAPPING - USER MAPPING public SERVER s postgres', 'USER MAPPING', 'a user mapping'],
    ['1; 3466 9 EVENT TRIGGER - x postgres', 'EVENT TRIGGER', 'an event trigger'],
  ])('%s is %s: %s', (line, kind) => {
    expect(readDumpList(line)[0]?.kind).toBe(kind);
  });
});

describe('what pg_restore could not do', () => {
  test('each error has its entry, words and statement', () => {
    const output = [
      'pg_restore: connecting to database for restore',
      'pg_restore: creating FUNCTION "app.f()"',
      'pg_restore: while PROCESSING TOC:',
      'pg_restore: from TOC entry 495; 1255 19405 FUNCTION f() postgres',
      'pg_restore: error: could not execute query: ERROR:  function "f" already exists',
      'HINT:  Use another name.',
      'Command was: CREATE FUNCTION app.f() RETURNS integer',
      '    AS $$begin',
      'end$$;',
      '',
      '',
      'pg_restore: creating ACL "TABLE a"',
      'pg_restore: from TOC entry 3458; 0 0 ACL TABLE a postgres',
      'pg_restore: error: could not execute query: ERROR:  role "x" does not exist',
      'Command was: GRANT SELECT ON TABLE public.a TO x;',
      'pg_restore: error: could not execute query: ERROR:  role "y" does not exist',
      'Command was: GRANT SELECT ON TABLE public.a TO y;',
      'pg_restore: warning: errors ignored on restore: 3',
      '',
    ].join('\n');

    expect(readRestoreErrors(output)).toEqual([
      {
        dumpId: 495,
        message: 'function "f" already exists\nHINT:  Use another name.',
        command: 'CREATE FUNCTION app.f() RETURNS integer\n    AS $$begin\nend$$;',
      },
      {
        dumpId: 3458,
        message: 'role "x" does not exist',
        command: 'GRANT SELECT ON TABLE public.a TO x;',
      },
      {
        dumpId: 3458,
        message: 'role "y" does not exist',
        command: 'GRANT SELECT ON TABLE public.a TO y;',
      },
    ]);
  });

  test('an error that no entry caused has none', () => {
    expect(readRestoreErrors('pg_restore: error: connection to server failed: no\n')).toEqual([
      { dumpId: null, message: 'connection to server failed: no', command: null },
    ]);
  });

  test('a setting of a newer pg_restore that an older server does not know is no error of the dump', () => {
    const output = [
      'pg_restore: while INITIALIZING:',
      'pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"',
      'Command was: SET transaction_timeout = 0;',
      '',
      'pg_restore: creating TABLE "public.t"',
      'pg_restore: from TOC entry 200; 1259 16385 TABLE t postgres',
      'pg_restore: error: could not execute query: ERROR:  relation "t" already exists',
      'Command was: CREATE TABLE public.t (id integer);',
      '',
    ].join('\n');
    const errors = readRestoreErrors(output);
    expect(errors.map(isOfNewerProgram)).toEqual([true, false]);
  });
});
