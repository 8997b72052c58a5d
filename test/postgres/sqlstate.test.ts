import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import {
  errorKind,
  loginFailure,
  LoginProblem,
  serverFailure,
  sqlState,
} from '../../src/postgres/sqlstate.js';

function serverError(code: string, fields: Partial<pg.DatabaseError> = {}): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError(fields.message ?? 'words', 0, 'error'), { code }, fields);
}

function nodeError(code: string, message = 'words'): Error {
  return Object.assign(new Error(message), { code });
}

describe('errors are told apart by SQLSTATE, and by whether there was a session', () => {
  test.each([
    ['28000', 'login', 'login'],
    ['28P01', 'login', 'login'],
    ['3D000', 'login', 'statement'],
    ['42501', 'rights', 'rights'],
    ['08006', 'unreachable', 'disconnected'],
    ['08P01', 'setup', 'statement'],
    ['57P01', 'unreachable', 'disconnected'],
    ['57P02', 'unreachable', 'disconnected'],
    ['57P03', 'unreachable', 'disconnected'],
    ['57P04', 'login', 'setup'],
    ['57P05', 'unreachable', 'disconnected'],
    ['25P03', 'disconnected', 'disconnected'],
    ['53100', 'disk-full', 'disk-full'],
    ['53300', 'setup', 'setup'],
    ['53400', 'setup', 'setup'],
    ['25006', 'setup', 'setup'],
    ['57014', 'setup', 'statement'],
    ['23505', 'setup', 'statement'],
    ['40P01', 'setup', 'statement'],
    ['55000', 'setup', 'statement'],
    ['XX000', 'setup', 'statement'],
  ])('%s', (code, login, session) => {
    expect(errorKind(serverError(code), 'login')).toBe(login);
    expect(errorKind(serverError(code), 'session')).toBe(session);
  });

  test('a setting for logical decoding is known in every language', () => {
    const error = serverError('55000', { message: 'logische Dekodierung erfordert wal_level >= logical' });
    expect(errorKind(error, 'session')).toBe('setup');
  });
});

describe("errors of the network are told by Node's codes", () => {
  test.each([
    [nodeError('ECONNREFUSED'), 'unreachable', 'disconnected'],
    [nodeError('ECONNRESET'), 'unreachable', 'disconnected'],
    [nodeError('EPIPE'), 'unreachable', 'disconnected'],
    [nodeError('ENOENT'), 'unreachable', null],
    [new Error('Connection terminated unexpectedly'), 'unreachable', 'disconnected'],
    [
      new Error('Client has encountered a connection error and is not queryable'),
      'unreachable',
      'disconnected',
    ],
    [nodeError('DEPTH_ZERO_SELF_SIGNED_CERT'), 'tls', 'tls'],
    [nodeError('ERR_TLS_CERT_ALTNAME_INVALID'), 'tls', 'tls'],
    [nodeError('EPROTO'), 'tls', 'tls'],
    [new Error('The server does not support SSL connections'), 'tls', 'tls'],
    [new Error('SASL: SCRAM-SERVER-FINAL-MESSAGE: server signature does not match'), 'login', 'login'],
    [new LoginProblem('setup', 'words'), 'setup', 'setup'],
    [new TypeError('x is not a function'), null, null],
    ['text', null, null],
  ])('%s', (error, login, session) => {
    expect(errorKind(error, 'login')).toBe(login);
    expect(errorKind(error, 'session')).toBe(session);
  });
});

describe('a failure', () => {
  test('names side, action, words and SQLSTATE, and keeps its cause', () => {
    const error = serverError('42P01', { message: 'relation "t" does not exist' });
    const failure = serverFailure(error, 'source', 'could not list the tables');
    expect(failure.message).toBe(
      'source: could not list the tables: relation "t" does not exist (SQLSTATE 42P01)',
    );
    expect(failure.code).toBe('source-statement');
    expect(failure.cause).toBe(error);
    expect(sqlState(failure)).toBe('42P01');
  });

  test('holds no values of rows', () => {
    const words = (code: string, fields: Partial<pg.DatabaseError>) =>
      serverFailure(serverError(code, fields), 'target', '').message;
    const shown = [
      words('22P02', {
        message: 'invalid input syntax for type integer: "canary"',
        where: 'COPY t, line 1, column a: "canary"',
      }),
      words('22008', { message: 'date/time field value out of range: "canary ""quoted"" canary"' }),
      words('23505', { message: 'duplicate key value', detail: 'Key (a)=(canary) already exists.' }),
      words('P0001', {
        message: 'canary',
        hint: 'canary',
        where: 'PL/pgSQL function f(text) line 3 at RAISE\nSQL statement "select f(\'canary\')"',
      }),
      words('P0001', { message: 'canary' }),
    ];
    expect(shown.join('\n')).not.toContain('canary');
    expect(shown[0]).toBe('target: invalid input syntax for type integer: "…" (SQLSTATE 22P02)');
    expect(shown[3]).toBe('target: PL/pgSQL function f(text) line 3 raised an exception (SQLSTATE P0001)');
  });

  test("advises with the server's hint where nothing better is known", () => {
    const hint = 'Increase max_replication_slots or free one.';
    expect(serverFailure(serverError('53400', { hint }), 'source', '').remedy).toBe(hint);
    expect(serverFailure(serverError('P0001', { hint }), 'source', '').remedy).toBe('');
    expect(serverFailure(serverError('57P01', { hint }), 'source', '').remedy).toMatch(/--resume/);
  });

  test("of a server's disk says which server", () => {
    const failure = serverFailure(serverError('53100', { message: 'could not extend file' }), 'target', '');
    expect(failure.code).toBe('disk-full');
    expect(failure.message).toMatch(/^target: /);
    expect(failure.remedy).toMatch(/on the target server/);
  });

  test('stays what it is', () => {
    const failure = new Failure('stopped', 'stopped as asked');
    expect(serverFailure(failure, 'source', 'x')).toBe(failure);
    expect(loginFailure(failure, 'source', 'x', null)).toBe(failure);
  });

  test('of something unknown is internal', () => {
    expect(serverFailure(new TypeError('oh'), 'source', 'x')).toMatchObject({
      code: 'internal',
      message: 'source: x: oh',
    });
    expect(loginFailure('oh', 'source', 'x', null)).toMatchObject({ code: 'internal', message: 'x: oh' });
  });

  test('of a login tells the note only where a password was refused', () => {
    const words = (code: string) =>
      loginFailure(serverError(code), 'source', 'cannot connect', 'a note').message;
    expect(words('28P01')).toBe('cannot connect: words (SQLSTATE 28P01); a note');
    expect(words('57P03')).toBe('cannot connect: words (SQLSTATE 57P03)');
  });
});
