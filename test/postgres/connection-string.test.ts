import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { asFailure, type Failure } from '../../src/failure.js';
import {
  clientEnvironment,
  describeConninfo,
  readConninfo,
  withDatabase,
  type Conninfo,
} from '../../src/postgres/connection-string.js';
import { readConnectionText } from '../../src/postgres/connection-string-syntax.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(path.join(os.tmpdir(), 'walferry-home-'));
});
afterEach(() => rmSync(home, { recursive: true }));

function read(text: string, environment: NodeJS.ProcessEnv = {}): Conninfo {
  return readConninfo(text, { HOME: home, ...environment });
}

function failure(text: string, environment: NodeJS.ProcessEnv = {}): Failure {
  try {
    read(text, environment);
  } catch (error) {
    const found = asFailure(error);
    expect(found.code).toBe('usage');
    return found;
  }
  throw new Error('it was accepted');
}

describe('a URI is read as libpq reads it', () => {
  test.each<[uri: string, parameters: Record<string, string>]>([
    ['postgres://', {}],
    ['postgresql://', {}],
    [
      'Postgres://source_user:source_password@source_host:5433/source_db',
      {
        user: 'source_user',
        password: 'source_password',
        host: 'source_host',
        port: '5433',
        dbname: 'source_db',
      },
    ],
    ['POSTGRESQL://h', { host: 'h' }],
    ['postgres://h/', { host: 'h' }],
    ['postgres://h:/d', { host: 'h', dbname: 'd' }],
    ['postgres://:5433/d', { port: '5433', dbname: 'd' }],
    ['postgres:///d', { dbname: 'd' }],
    ['postgres://u@', { user: 'u' }],
    ['postgres://@h', { host: 'h' }],
    ['postgres://:p@h', { password: 'p', host: 'h' }],
    ['postgres://u:@h', { user: 'u', host: 'h' }],
    ['postgres://u:a:b@h', { user: 'u', password: 'a:b', host: 'h' }],
    ['postgres://u:a?b#c@h/d', { user: 'u', password: 'a?b#c', host: 'h', dbname: 'd' }],
    [
      'postgres://%75:p%40%2F%3a%25+%C3%A9@h/d%2Fe',
      { user: 'u', password: 'p@/:%+é', host: 'h', dbname: 'd/e' },
    ],
    ['postgres://[::1]/d', { host: '::1', dbname: 'd' }],
    [
      'postgres://u@[fe80::1%25eth0]:5433?sslmode=require',
      { user: 'u', host: 'fe80::1%eth0', port: '5433', sslmode: 'require' },
    ],
    [
      'postgres://%2Fvar%2Frun%2Fpostgresql:5433/d',
      { host: '/var/run/postgresql', port: '5433', dbname: 'd' },
    ],
    ['postgres:///d?host=/tmp&port=5433&user=u', { dbname: 'd', host: '/tmp', port: '5433', user: 'u' }],
    ['postgres://h/d?host=other', { host: 'other', dbname: 'd' }],
    [
      'postgres://h/d?options=-c%20geqo%3Doff&password=p%26q',
      { host: 'h', dbname: 'd', options: '-c geqo=off', password: 'p&q' },
    ],
    ['postgres://h?ssl=true', { host: 'h', sslmode: 'require' }],
    ['postgres://h?sslmode=', { host: 'h', sslmode: '' }],
    ['postgres://h/d?', { host: 'h', dbname: 'd' }],
    ['postgres://a,b:5433,[::1]/d', { host: 'a,b,::1', port: ',5433,', dbname: 'd' }],
    ['postgres://h/d#e', { host: 'h', dbname: 'd#e' }],
  ])('%s', (uri, parameters) => {
    expect(Object.fromEntries(readConnectionText(uri).parameters)).toEqual(parameters);
  });

  test.each([
    ['postgres://u:canary/x@h/d', /"@" where host and database are expected/],
    ['postgres://u:can@ary@h/d', /"@" where host and database are expected/],
    ['postgres://u:canary%zz@h', /the password holds a "%"/],
    ['postgres://u:canary%@h', /the password holds a "%"/],
    ['postgres://u:canary%00@h', /the password holds a "%"/],
    ['postgres://u:canary%ff@h', /the password is not UTF-8/],
    ['postgres://[::1/d', /"\]" after an IPv6 address is missing/],
    ['postgres://[]/d', /IPv6 address between "\[" and "\]" is empty/],
    ['postgres://[::1]x/d', /after the "\]"/],
    ['postgres://h?sslmode', /not of the form keyword=value/],
    ['postgres://h?sslmode=a=b', /not of the form keyword=value/],
    ['postgres://h?&', /not of the form keyword=value/],
    ['postgres://h\0/d', /NUL/],
  ])('%j is refused', (uri, words) => {
    const found = failure(uri);
    expect(found.message).toMatch(words);
    expect(found.message).not.toContain('canary');
  });
});

describe('keywords and values are read as libpq reads them', () => {
  test.each<[text: string, parameters: Record<string, string>]>([
    ['', {}],
    ['  host=h  ', { host: 'h' }],
    ['host=h port=5433', { host: 'h', port: '5433' }],
    ['host = h\n\tport =5433', { host: 'h', port: '5433' }],
    [`password='a b' host=h`, { password: 'a b', host: 'h' }],
    [String.raw`password='it\'s \\ \a' host=h`, { password: String.raw`it's \ a`, host: 'h' }],
    [String.raw`password=a\ b\'c host=h`, { password: `a b'c`, host: 'h' }],
    [`password=a'b host=h`, { password: `a'b`, host: 'h' }],
    [`password='' host=h`, { password: '', host: 'h' }],
    [`password= host=h`, { password: 'host=h' }],
    [`options='-c geqo=off'`, { options: '-c geqo=off' }],
    [`host=a host=b`, { host: 'b' }],
    [`password='a'host=h`, { password: 'a', host: 'h' }],
    ['password=a\\', { password: 'a' }],
  ])('%j', (text, parameters) => {
    expect(Object.fromEntries(readConnectionText(text).parameters)).toEqual(parameters);
  });

  test.each([
    ['canary', /neither a URI .* nor a list of keyword=value/],
    ['user:canary@host/db', /neither a URI/],
    ['host=h password=some canary', /the value of "password" is followed by something/],
    ['=canary', /neither a URI/],
    [`password='canary`, /the quote around the value of "password" is not closed/],
    [String.raw`password='canary\'`, /the quote around the value of "password" is not closed/],
    [`host=h password=a canary=b`, /its name is not shown/],
    [`postgress://u:canary@h/d?sslmode=require`, /its name is not shown/],
  ])('%j is refused', (text, words) => {
    const found = failure(text);
    expect(found.message).toMatch(words);
    expect(found.message).not.toContain('canary');
  });
});

describe('parameters', () => {
  test('not known to libpq are refused by name', () => {
    expect(failure('postgres://h/d?pgbouncer=true').message).toBe(
      'connection string: "pgbouncer" is not a connection parameter that libpq knows',
    );
    expect(failure('host=h constructor=x').message).toMatch(/"constructor" is not/);
    expect(failure('postgres://h/d?__proto__=x').message).toMatch(/is not|not shown/);
  });

  test('a name that may be a piece of a password is not shown', () => {
    // The "/" and the "?" of the password were not encoded.
    expect(failure('postgres://u:pa/ss?canary=x@h/d').message).not.toContain('canary');
  });

  test('all problems are told at once', () => {
    const { message } = failure(
      'postgres://a,b:99999/d?sslmode=on&channel_binding=1&wrong=x&connect_timeout=soon',
    );
    for (const words of [
      '"sslmode" must be one of disable',
      '"channel_binding" must',
      '"wrong" is not',
      '"connect_timeout" must be a whole number',
      'several hosts',
      'the port must be',
    ]) {
      expect(message).toContain(words);
    }
  });

  test.each([
    ['sslpassword=canary', /"sslpassword" is not supported: a passphrase cannot be handed to pg_dump/],
    ['replication=database', /"replication" is not supported/],
    ['gssencmode=require', /"gssencmode" is not supported/],
    ['sslsni=0', /"sslsni" is not supported/],
    ['sslcrldir=/x', /"sslcrldir" is not supported/],
    ['scram_client_key=canary', /"scram_client_key" is not supported/],
    ['sslrootcert=system sslmode=require', /needs sslmode=verify-full/],
    ['sslnegotiation=direct', /needs sslmode=require/],
    ['channel_binding=require sslmode=disable', /channel_binding=require needs TLS/],
    ['channel_binding=require host=/tmp', /channel_binding=require needs TLS/],
    ['host=@abstract', /abstract namespace/],
    ['host=h hostaddr=1.2.3.4,5.6.7.8', /several hosts/],
    ['port=0', /the port must/],
    ['port=5432,5433', /the port must/],
  ])('%s is refused', (text, words) => {
    const { message } = failure(text);
    expect(message).toMatch(words);
    expect(message).not.toContain('canary');
  });

  test.each([
    'gssencmode=prefer',
    'sslsni=1',
    'load_balance_hosts=random',
    'client_encoding=latin1',
    'krbsrvname=x',
    'sslcompression=1',
  ])('%s is taken, and changes nothing', (text) => {
    expect(describeConninfo(read(`${text} host=h user=u`))).toBe('postgres://u@h:5432/u');
  });

  test("Neon's own string is read", () => {
    const conninfo = read(
      'postgresql://alex:AbC123dEf@ep-cool-darkness-123456.us-east-2.aws.neon.tech/dbname?sslmode=require&channel_binding=require',
    );
    expect(conninfo).toMatchObject({
      user: 'alex',
      password: 'AbC123dEf',
      port: 5432,
      database: 'dbname',
      channelBinding: 'require',
    });
    expect(conninfo.tls.mode).toBe('require');
  });
});

describe('what the string does not say', () => {
  test('has the defaults of libpq, and a connect_timeout', () => {
    const conninfo = read('postgres://');
    const user = os.userInfo().username;
    expect(conninfo).toMatchObject({
      port: 5432,
      user,
      database: user,
      password: null,
      channelBinding: 'prefer',
      connectTimeoutSeconds: 10,
      keepaliveIdleSeconds: 10,
      sessionKind: 'any',
      options: null,
    });
    expect(conninfo.tls).toEqual({
      mode: 'prefer',
      negotiation: 'postgres',
      rootCertificate: null,
      certificate: null,
      key: null,
      revoked: null,
      minVersion: null,
      maxVersion: null,
    });
  });

  test('comes from the environment, and the string wins', () => {
    const environment = {
      PGHOST: 'eh',
      PGPORT: '5433',
      PGUSER: 'eu',
      PGPASSWORD: 'ep',
      PGDATABASE: 'ed',
      PGSSLMODE: 'require',
      PGOPTIONS: '-c geqo=off',
      PGCONNECT_TIMEOUT: '3',
      PGCHANNELBINDING: 'disable',
      PGTARGETSESSIONATTRS: 'read-write',
    };
    expect(read('', environment)).toMatchObject({
      host: 'eh',
      port: 5433,
      user: 'eu',
      password: 'ep',
      database: 'ed',
      options: '-c geqo=off',
      connectTimeoutSeconds: 3,
      channelBinding: 'disable',
      sessionKind: 'primary',
    });
    expect(read('postgres://su:sp@sh:1/sd?sslmode=disable', environment)).toMatchObject({
      host: 'sh',
      port: 1,
      user: 'su',
      password: 'sp',
      database: 'sd',
    });
    expect(read('postgres://u@/', { ...environment, PGDATABASE: '' }).database).toBe('u');
    expect(failure('', { PGSSLMODE: 'on' }).message).toMatch(
      /the variable PGSSLMODE: "sslmode" must be one of/,
    );
    expect(read('sslmode=disable', { PGSSLMODE: 'on' }).tls.mode).toBe('disable');
  });

  test('comes from a service, between the string and the environment', () => {
    writeFileSync(
      path.join(home, '.pg_service.conf'),
      '# ours\n[other]\nhost=no\n\n[mine]\nhost=sh\nuser=su\n  password=a b=c\n[mine]\nuser=no\n',
    );
    const environment = { PGHOST: 'eh', PGPORT: '5433', PGUSER: 'eu' };
    expect(read('service=mine user=u', environment)).toMatchObject({
      host: 'sh',
      port: 5433,
      user: 'u',
      password: 'a b=c',
    });
    expect(read('', { ...environment, PGSERVICE: 'mine' })).toMatchObject({ host: 'sh', user: 'su' });
    expect(read('postgres://?service=mine')).toMatchObject({ host: 'sh' });
    expect(failure('service=nobody').message).toMatch(
      /the service "nobody" is in none of the service files: .*\.pg_service\.conf/,
    );

    const file = path.join(home, 'services');
    writeFileSync(file, '[bad]\nhost=h\ncanary\n[worse]\nwrong=1\n[loop]\nservice=mine\n');
    const withFile = { PGSERVICEFILE: file };
    expect(failure('service=bad', withFile).message).toMatch(
      /^line 3 of the service file \S+ is not keyword=value$/,
    );
    expect(failure('service=worse', withFile).message).toMatch(/service "worse": "wrong" is not/);
    expect(failure('service=loop', withFile).message).toMatch(/names another service/);
  });

  test('comes from ~/.postgresql where a file is there', () => {
    mkdirSync(path.join(home, '.postgresql'));
    for (const name of ['root.crt', 'postgresql.crt'])
      writeFileSync(path.join(home, '.postgresql', name), '');
    const { tls } = read('host=h');
    expect(tls.rootCertificate).toEqual({ path: path.join(home, '.postgresql/root.crt'), named: false });
    expect(tls.certificate).toEqual({ path: path.join(home, '.postgresql/postgresql.crt'), named: false });
    expect(tls.key).toEqual({ path: path.join(home, '.postgresql/postgresql.key'), named: false });
    expect(read('host=h sslcertmode=disable').tls.certificate).toBe(null);
    expect(read('host=h sslrootcert=/other').tls.rootCertificate).toEqual({ path: '/other', named: true });
  });

  test('sslrootcert=system means verify-full', () => {
    expect(read('host=h sslrootcert=system').tls).toMatchObject({
      mode: 'verify-full',
      rootCertificate: 'system',
    });
  });
});

describe('the password file', () => {
  const write = (text: string, mode = 0o600) => {
    writeFileSync(path.join(home, '.pgpass'), text);
    chmodSync(path.join(home, '.pgpass'), mode);
  };

  test.each([
    ['h:5432:d:u:secret', 'secret'],
    ['*:*:*:*:secret', 'secret'],
    ['other:*:*:*:no\nh:*:*:*:secret\n*:*:*:*:late', 'secret'],
    ['#h:5432:d:u:no\nh:5432:d:u:secret\r\n', 'secret'],
    [String.raw`h:5432:d:u:se\:cr\\et`, String.raw`se:cr\et`],
    ['h:5432:d:u:secret:and more', 'secret'],
    [String.raw`\*:5432:d:u:no`, null],
    ['h:5432:d:u:', null],
    ['h:5432:d:u', null],
    ['h:5433:d:u:no', null],
    ['', null],
  ])('%j', (text, password) => {
    write(text);
    expect(read('postgres://u@h/d').password).toBe(password);
  });

  test('knows a local socket as localhost, and other sockets by their directory', () => {
    write(String.raw`localhost:*:*:*:local` + '\n' + String.raw`/run/mine:*:*:*:mine`);
    expect(read('host=/tmp').password).toBe('local');
    expect(read('host=/run/mine').password).toBe('mine');
  });

  test('is asked for the host, not for hostaddr', () => {
    write('h:*:*:*:by name\n1.2.3.4:*:*:*:by address');
    expect(read('host=h hostaddr=1.2.3.4').password).toBe('by name');
    expect(read('hostaddr=1.2.3.4').password).toBe('by address');
  });

  test('is ignored where others may read it, and this is noted', () => {
    write('*:*:*:*:secret', 0o640);
    expect(read('host=h')).toMatchObject({ password: null, note: expect.stringContaining('chmod 0600') });
    expect(read('host=h password=p')).toMatchObject({ password: 'p', note: null });
  });

  test('may be another one', () => {
    writeFileSync(path.join(home, 'other'), '*:*:*:*:secret', { mode: 0o600 });
    expect(read('host=h', { PGPASSFILE: path.join(home, 'other') }).password).toBe('secret');
    expect(read(`host=h passfile=${path.join(home, 'other')}`).password).toBe('secret');
    expect(read(`host=h passfile=${home}`)).toMatchObject({
      password: null,
      note: expect.stringContaining('not a plain file'),
    });
  });
});

describe('for other programs', () => {
  test('every variable of libpq is set or taken away', () => {
    const environment = clientEnvironment(
      read('postgres://u:p@h:5433/d?sslmode=verify-full&sslrootcert=/ca&options=-c%20geqo%3Doff'),
    );
    expect(
      Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined)),
    ).toEqual({
      PGHOST: 'h',
      PGPORT: '5433',
      PGUSER: 'u',
      PGPASSWORD: 'p',
      PGDATABASE: 'd',
      PGOPTIONS: '-c geqo=off',
      PGCONNECT_TIMEOUT: '10',
      PGCHANNELBINDING: 'prefer',
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: '/ca',
      PGSSLCERTMODE: 'disable',
      PGGSSENCMODE: 'disable',
    });
    for (const name of [
      'PGHOSTADDR',
      'PGSERVICE',
      'PGPASSFILE',
      'PGSSLKEY',
      'PGSSLNEGOTIATION',
      'PGREQUIREAUTH',
      'PGTZ',
      'PGTARGETSESSIONATTRS',
    ]) {
      expect(environment).toHaveProperty(name, undefined);
    }
  });

  test('the same server is read again from this environment', () => {
    for (const text of [
      'postgres://u:p@h:5433/d?sslmode=require&channel_binding=require',
      'host=/tmp user=u',
      'host=h hostaddr=1.2.3.4 user=u require_auth=scram-sha-256',
    ]) {
      const conninfo = read(text);
      expect({ ...read('', clientEnvironment(conninfo)) }).toEqual({ ...conninfo });
    }
  });
});

describe('printed', () => {
  const conninfo = () =>
    read('postgres://u%40x:canary@[::1]:5433/a%20b?sslmode=require&channel_binding=require&options=canary');

  test('a connection is a URI without password and options', () => {
    const uri = 'postgres://u%40x@[::1]:5433/a%20b?sslmode=require&channel_binding=require';
    expect(describeConninfo(conninfo())).toBe(uri);
    expect(JSON.stringify({ source: conninfo() })).toBe(JSON.stringify({ source: uri }));
    expect(inspect(conninfo())).not.toContain('canary');
    expect(inspect({ source: withDatabase(conninfo(), 'e') }, { depth: 9, showHidden: true })).not.toContain(
      'canary',
    );
  });

  test('another database keeps everything else', () => {
    expect({ ...withDatabase(conninfo(), 'e') }).toEqual({ ...conninfo(), database: 'e' });
  });
});

describe('properties', () => {
  const word = fc
    .string({ unit: 'grapheme', minLength: 1 })
    .filter((text) => !text.includes('\0') && Buffer.from(text).toString() === text);
  const port = fc.integer({ min: 1, max: 65_535 });

  test('any user, password and database come through a URI as they are', () => {
    fc.assert(
      fc.property(word, word, word, port, (user, password, database, port) => {
        const uri = `postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@h:${port}/${encodeURIComponent(database)}`;
        expect(read(uri)).toMatchObject({ user, password, database, port, host: 'h' });
      }),
    );
  });

  test('and through keywords and values', () => {
    const quoted = (text: string) => `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
    fc.assert(
      fc.property(word, word, word, (user, password, dbname) => {
        const text = `user=${quoted(user)} password = ${quoted(password)}dbname=${quoted(dbname)} host=h`;
        expect(read(text)).toMatchObject({ user, password, database: dbname });
      }),
    );
  });

  test('and through a description, which never holds the password', () => {
    fc.assert(
      fc.property(word, word, port, (user, database, port) => {
        const conninfo = read(
          `postgres://${encodeURIComponent(user)}:canary@h:${port}/${encodeURIComponent(database)}`,
        );
        const again = read(describeConninfo(conninfo));
        expect({ ...again }).toEqual({ ...conninfo, password: null });
      }),
    );
  });

  test('whatever the text, it is read or refused as usage, without the password', () => {
    const piece = fc.constantFrom(
      'postgres://',
      '@',
      ':',
      '/',
      '?',
      '&',
      '=',
      ',',
      '[',
      ']',
      '%',
      '%41',
      "'",
      '\\',
      ' ',
      'host',
      'port',
      'sslmode',
      'x',
      '1',
      'password',
      '#',
      'é',
    );
    const hostile = fc
      .array(fc.oneof(piece, fc.string({ unit: 'binary', maxLength: 3 })), { maxLength: 20 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(hostile, hostile, (before, after) => {
        for (const text of [
          before + after,
          `postgres://u:canary${before}@h${after}`,
          `password='canary${before}' ${after}`,
        ]) {
          try {
            const conninfo = read(text);
            expect(conninfo.port).toBeGreaterThan(0);
            expect(describeConninfo(conninfo)).not.toContain('canary');
          } catch (error) {
            expect(error).toMatchObject({ name: 'Failure', code: 'usage' });
            expect((error as Failure).message).not.toContain('canary');
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
