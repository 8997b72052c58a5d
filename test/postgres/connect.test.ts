import { describe, expect, test } from 'vitest';
import { readToolVersion } from '../../src/postgres/client-tools.js';
import { pooledHostProblem } from '../../src/postgres/connect-pooled-host.js';
import { sessionStatement } from '../../src/postgres/connect-settings.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { formatServerVersion, readServerVersion } from '../../src/postgres/server-facts.js';
import { tlsTries } from '../../src/postgres/tls.js';

const environment = { HOME: '/nonexistent' };

describe('TLS is tried in the order of sslmode', () => {
  test.each([
    ['host=h sslmode=disable', [false]],
    ['host=h sslmode=allow', [false, true]],
    ['host=h', [true, false]],
    ['host=h sslmode=require', [true]],
    ['host=h sslmode=verify-ca', [true]],
    ['host=h sslmode=verify-full', [true]],
    ['host=/tmp sslmode=require', [false]],
  ])('%s', (text, tries) => {
    expect(tlsTries(readConninfo(text, environment))).toEqual(tries);
  });
});

describe('a pooled host', () => {
  test.each([
    ['ep-a-1-pooler.us-east-2.aws.neon.tech', 5432, 'Use the direct host: ep-a-1.us-east-2.aws.neon.tech'],
    ['EP-A-1-POOLER.us-east-2.aws.Neon.tech', 5432, 'Use the direct host: ep-a-1.us-east-2.aws.neon.tech'],
    ['ep-a-1-pooler.neon.tech', 5432, 'Use the direct host: ep-a-1.neon.tech'],
    [
      'ep-a-1-pooler.c-2.eastus2.azure.neon.tech',
      5432,
      'Use the direct host: ep-a-1.c-2.eastus2.azure.neon.tech',
    ],
    [
      'aws-0-eu.pooler.supabase.com',
      6543,
      "Use the database's direct connection (db.<project>.supabase.co:5432).",
    ],
    ['aws-0-eu.pooler.supabase.com', 5432, null],
    ['ep-a-1.us-east-2.aws.neon.tech', 5432, null],
    ['ep-pooler-1.us-east-2.aws.neon.tech', 5432, null],
    ['pg-pooler.example.com', 5432, null],
    ['x-pooler.notneon.tech', 5432, null],
  ])('%s:%i', (host, port, remedy) => {
    expect(pooledHostProblem({ host, port })?.remedy ?? null).toBe(remedy);
  });
});

test.each([
  ['15.20 (Debian 15.20-1.pgdg12+1)', 150_020, '15.20'],
  ['14.0', 140_000, '14.0'],
  ['18beta1', 180_000, '18.0'],
  ['17devel', 170_000, '17.0'],
  ['9.6.24', 90_624, '9.6.24'],
  ['nonsense', 0, '0.0.0'],
])('server_version %s is %i', (text, version, printed) => {
  expect(readServerVersion(text)).toBe(version);
  expect(formatServerVersion(version)).toBe(printed);
});

test('settings that a server does not have yet are left out', () => {
  expect(sessionStatement(130_000, { timeZone: 'UTC', backendStart: false })).not.toMatch(
    /idle_session_timeout|transaction_timeout'/,
  );
  expect(sessionStatement(140_000, { timeZone: 'UTC', backendStart: false })).toMatch(
    /'idle_session_timeout', '0'/,
  );
  expect(sessionStatement(160_000, { timeZone: 'UTC', backendStart: false })).not.toMatch(
    /'transaction_timeout'/,
  );
  expect(sessionStatement(170_000, { timeZone: 'UTC', backendStart: false })).toMatch(
    /'transaction_timeout', '0'/,
  );
  expect(sessionStatement(170_000, { timeZone: 'server', backendStart: false })).not.toMatch(/timezone/);
  expect(sessionStatement(170_000, { timeZone: 'UTC', backendStart: false }).includes(';')).toBe(false);
});

test.each([
  ['pg_dump (PostgreSQL) 15.20 (Debian 15.20-1.pgdg12+1)\n', 150_000],
  ['pg_dump (PostgreSQL) 18beta2', 180_000],
  ['pg_dump (EnterpriseDB) 15', null],
  ['', null],
])('%j is version %s', (printed, version) => {
  expect(readToolVersion(printed)).toBe(version);
});
