import { describe, expect, test } from 'vitest';
import { propertyMoment, propertyStatement, whyNotCarried } from '../../src/clone/database-properties.js';
import { citusStatements } from '../../src/clone/extension-hooks.js';
import { orderByReferences } from '../../src/clone/extensions.js';
import { propertySteps } from '../../src/clone/large-objects.js';
import { printProblems } from '../../src/clone/problems.js';
import { isServiceRole, readRoleScript } from '../../src/clone/roles.js';
import { skippedEntries } from '../../src/clone/skipped.js';

describe('the script of pg_dumpall', () => {
  test('is read statement by statement, whatever names, passwords and comments hold', () => {
    const script = `--
-- PostgreSQL database cluster dump
--

\\restrict abc;def

SET standard_conforming_strings = on;

CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 3 PASSWORD 'SCRAM-SHA-256$4096:a;b''c$d:e' VALID UNTIL '2030-01-01 00:00:00+00';
COMMENT ON ROLE app IS 'a ; "b"
-- no comment';
CREATE ROLE "Odd ""q""; name";
ALTER ROLE app SET search_path TO 'x', 'y';

-- User Config "app"
GRANT app TO "Odd ""q""; name" WITH ADMIN OPTION GRANTED BY postgres;
GRANT SET ON PARAMETER work_mem TO app;
\\unrestrict abc
`;
    expect(readRoleScript(script)).toEqual([
      { kind: 'create', role: 'app' },
      {
        kind: 'attributes',
        role: 'app',
        attributes: [
          'NOSUPERUSER',
          'INHERIT',
          'NOCREATEROLE',
          'NOCREATEDB',
          'LOGIN',
          'NOREPLICATION',
          'NOBYPASSRLS',
          'CONNECTION LIMIT 3',
          "PASSWORD 'SCRAM-SHA-256$4096:a;b''c$d:e'",
          "VALID UNTIL '2030-01-01 00:00:00+00'",
        ],
      },
      { kind: 'other', role: 'app', sql: `COMMENT ON ROLE app IS 'a ; "b"\n-- no comment'` },
      { kind: 'create', role: 'Odd "q"; name' },
      { kind: 'other', role: 'app', sql: "ALTER ROLE app SET search_path TO 'x', 'y'" },
      {
        kind: 'membership',
        role: 'app',
        member: 'Odd "q"; name',
        sql: 'GRANT app TO "Odd ""q""; name" WITH ADMIN OPTION GRANTED BY postgres',
        withoutGrantor: 'GRANT app TO "Odd ""q""; name" WITH ADMIN OPTION',
        grantor: 'postgres',
        options: { admin: true, inherit: null, set: null },
      },
      { kind: 'other', role: 'app', sql: 'GRANT SET ON PARAMETER work_mem TO app' },
    ]);
  });

  test.each<[string, boolean]>([
    ['pg_monitor', true],
    ['rds_superuser', true],
    ['rdsadmin', true],
    ['neon_superuser', true],
    ['cloud_admin', true],
    ['cloudsqlsuperuser', true],
    ['azure_pg_admin', true],
    ['neondb_owner', false],
    ['postgres', false],
    ['rdsmail', false],
    ['app', false],
  ])('the role %s is a service’s own: %s', (name, expected) => {
    expect(isServiceRole(name)).toBe(expected);
  });
});

describe('a setting of the database', () => {
  test.each<[string, string | null, string, string, string]>([
    ['a plain one', null, 'work_mem', '64MB', `alter database "d ""b" set "work_mem" to '64MB';`],
    ['of a role', 'R', 'work_mem', '1', `alter role "R" in database "d ""b" set "work_mem" to '1';`],
    [
      'a list',
      null,
      'search_path',
      '"$user", public, "a,""b"',
      `alter database "d ""b" set "search_path" to '$user', 'public', 'a,"b';`,
    ],
    ['an empty list', null, 'search_path', '""', `alter database "d ""b" set "search_path" to '';`],
    [
      'of an extension',
      null,
      'app.tenant',
      "o'x\\",
      `alter database "d ""b" set "app"."tenant" to E'o''x\\\\';`,
    ],
    [
      'a list that is one value',
      null,
      'DateStyle',
      'ISO, DMY',
      `alter database "d ""b" set "DateStyle" to 'ISO, DMY';`,
    ],
  ])('%s', (_what, role, name, value, expected) => {
    expect(propertyStatement({ role, name, value }, 'd "b')).toBe(expected);
  });

  test.each<[string, string | null, string, boolean]>([
    ['default_transaction_read_only', null, 'on', false],
    ['default_transaction_read_only', null, 'yes', false],
    ['default_transaction_read_only', null, 'off', true],
    ['default_transaction_read_only', null, 'f', true],
    // For reports: meant to last.
    ['default_transaction_read_only', 'reader', 'on', true],
    ['default_transaction_deferrable', null, 'on', true],
  ])('%s of %s = %s is carried: %s', (name, role, value, carried) => {
    expect(whyNotCarried({ role, name, value }) === null).toBe(carried);
  });

  test.each<[string, 'before' | 'after']>([
    ['work_mem', 'before'],
    ['lc_monetary', 'before'],
    ['search_path', 'before'],
    ['default_transaction_read_only', 'after'],
    ['default_tablespace', 'after'],
    ['role', 'after'],
  ])('%s is set %s the rows', (name, expected) => {
    expect(propertyMoment({ role: null, name, value: '' })).toBe(expected);
  });
});

describe('extensions', () => {
  const entry = (
    dumpId: number,
    kind: string,
    catalogOid: number,
    oid: number,
    dependencies: number[] = [],
  ) => ({
    dumpId,
    kind,
    catalogOid,
    oid,
    tag: 'x',
    dependencies,
  });
  const entries = [
    entry(1, 'SCHEMA', 2615, 100),
    entry(2, 'SCHEMA', 2615, 101),
    entry(3, 'EXTENSION', 3079, 200, [1]),
    entry(4, 'COMMENT', 0, 0, [3]),
    entry(5, 'COLLATION', 3456, 300, [2]),
    entry(6, 'TABLE', 1259, 400, [2]),
    entry(7, 'COMMENT', 0, 0, [6]),
  ];

  test.each<[string, Parameters<typeof skippedEntries>[1], number[]]>([
    ['nothing', {}, []],
    ['extensions, with the schemas that are theirs alone', { skipExtensions: true }, [1, 3, 4]],
    ['their comments', { skipExtensionComments: true }, [4]],
    ['collations', { skipCollations: true }, [5]],
  ])('left out: %s', (_what, choices, expected) => {
    expect(skippedEntries(entries, choices, new Set([100]))).toEqual(expected);
  });

  test('configuration tables come after those that they refer to, also in a circle; sequences last', () => {
    const tables = [
      { oid: 1, kind: 'sequence' },
      { oid: 2, kind: 'table' },
      { oid: 3, kind: 'table' },
      { oid: 4, kind: 'table' },
    ];
    const order = orderByReferences(
      tables,
      new Map([
        [2, [4]],
        [4, [3]],
        [3, [2]],
      ]),
    );
    expect(order.map(({ oid }) => oid)).toEqual([3, 4, 2, 1]);
  });

  test('Citus: the first table of a group makes its shards, the others go with it, reference tables last', () => {
    const table = { type: 'distributed', column: 'id', colocation: 1, shards: 32 } as const;
    expect(
      citusStatements([
        { ...table, name: 'public.a' },
        { ...table, name: 'public.b', column: 'a_id' },
        { ...table, name: 'public.c', colocation: 2, shards: 8 },
        { name: 'public.ref', type: 'reference', column: null, colocation: 3, shards: 1 },
      ]),
    ).toEqual([
      `select create_distributed_table('public.a', 'id', shard_count := 32, colocate_with := 'none');`,
      `select create_distributed_table('public.b', 'a_id', colocate_with := 'public.a');`,
      `select create_distributed_table('public.c', 'id', shard_count := 8, colocate_with := 'none');`,
      `select create_reference_table('public.ref');`,
    ]);
  });
});

describe('a large object', () => {
  const choices = { noOwner: false, noAcl: false, noComments: false, role: 'me' };
  const object = { oid: '7', owner: 'me', comment: null, privileges: null };
  const own = ['SELECT', 'UPDATE'].map((privilege) => ({ grantee: 'me', privilege, grantable: false }));

  test.each<[string, Partial<typeof object> | object, Partial<typeof choices>, string[]]>([
    ['with nothing to it', {}, {}, []],
    ['with a comment', { comment: "it's" }, {}, ["comment on large object 7 is 'it''s';"]],
    ['with a comment that is not wanted', { comment: 'x' }, { noComments: true }, []],
    ['of somebody else', { owner: 'O' }, {}, ['alter large object 7 owner to "O";']],
    ['of somebody else, without owners', { owner: 'O' }, { noOwner: true }, []],
    [
      'with rights',
      {
        privileges: [
          ...own,
          { grantee: null, privilege: 'SELECT', grantable: false },
          { grantee: 'R', privilege: 'UPDATE', grantable: true },
        ],
      },
      {},
      [
        'grant SELECT on large object 7 to public;',
        'grant UPDATE on large object 7 to "R" with grant option;',
      ],
    ],
    ['with rights that are not wanted', { privileges: own }, { noAcl: true }, []],
    [
      'whose owner has lost one',
      { privileges: own.slice(0, 1) },
      {},
      ['revoke UPDATE on large object 7 from "me";'],
    ],
  ])('%s', (_what, changes, choice, expected) => {
    const steps = propertySteps({ ...object, ...changes }, { ...choices, ...choice });
    expect(steps.map(({ sql }) => sql)).toEqual(expected);
  });
});

test('what was refused is a script: a statement each, and a comment where there is none', () => {
  expect(
    printProblems([
      { object: 'ACL x', message: 'no\nright', sql: 'GRANT a TO b;\n' },
      { object: 'roles', message: 'without passwords', sql: null },
    ]),
  ).toBe(`-- Refused to the role of --target; to be run by somebody who may.

-- ACL x: no
-- right
GRANT a TO b;

-- roles: without passwords
`);
});
