/** What is judged from facts, without a server. */
import { describe, expect, test } from 'vitest';
import { failureOf } from '../../src/check/check.js';
import {
  judgeClocks,
  judgeFreeConnections,
  judgeServer,
  judgeVersions,
  sessionNeeds,
} from '../../src/check/connections.js';
import { copySeconds, judgeEstimate, type Estimate } from '../../src/check/estimate.js';
import { fail, pass, sayDuration, some, warn, type Finding } from '../../src/check/finding.js';
import { judgeNeonSource, judgeNeonTarget } from '../../src/check/neon.js';
import { isOlder } from '../../src/check/extensions.js';
import { judgeEncodings, judgeSuperuserObjects } from '../../src/check/objects.js';
import type { ServerFacts } from '../../src/check/server-facts.js';
import { judgeExclusiveLocks, judgeLeftOut, judgeSource } from '../../src/check/source.js';
import {
  judgeIdentity,
  judgeRunning,
  judgeStreamSettings,
  judgeTableMakers,
  judgeUnlogged,
} from '../../src/check/stream.js';
import { judgeTimeouts, judgeWritable } from '../../src/check/target.js';
import { judgeJournalRoom, judgeSlotRoom } from '../../src/check/work-directory.js';
import { Failure } from '../../src/failure.js';
import type { PublicationFacts } from '../../src/postgres/publication.js';

type Changes = Omit<Partial<ServerFacts>, 'settings' | 'role' | 'database'> & {
  readonly settings?: Readonly<Record<string, string>>;
  readonly role?: Partial<ServerFacts['role']>;
  readonly database?: Partial<ServerFacts['database']>;
};

const settings = { max_connections: '100', superuser_reserved_connections: '3', wal_level: 'logical' };

function server({ settings: changed, role, database, ...rest }: Changes = {}): ServerFacts {
  const all = Object.entries({ ...settings, ...changed });
  return {
    side: 'target',
    host: 'db.example.org',
    version: 160_002,
    inRecovery: false,
    login: {
      tls: { protocol: 'TLSv1.3', cipher: 'x' },
      verified: true,
      method: 'scram-sha-256',
      bound: true,
    },
    connections: { all: 10, role: 1, database: 1 },
    settings: new Map(all.map(([name, value]) => [name, { now: value, start: value }])),
    roundTripMs: 24.4,
    clockAheadMs: 3,
    ...rest,
    role: {
      name: 'mover',
      superuser: false,
      replication: true,
      bypassesRowSecurity: true,
      connectionLimit: -1,
      neonMember: null,
      ...role,
    },
    database: {
      name: 'shop',
      encoding: 'UTF8',
      collate: 'C',
      ctype: 'C',
      connectionLimit: -1,
      ...database,
    },
  };
}

const brief = (finding: Finding | null) => (finding === null ? null : [finding.verdict, finding.reason]);

describe('a server', () => {
  test.each<[string, Changes, string, RegExp]>([
    ['over TLS', {}, 'pass', /16\.2 as "mover", TLSv1\.3 with channel binding, certificate checked, 24 ms/],
    [
      'on this machine',
      { host: '127.0.0.1', login: { ...server().login, tls: null } },
      'pass',
      /not encrypted/,
    ],
    ['through a socket', { host: '/run', login: { ...server().login, tls: null } }, 'pass', /not encrypted/],
    ['far away and not encrypted', { login: { ...server().login, tls: null } }, 'warn', /not encrypted/],
    ['too old', { version: 130_004 }, 'warn', /made for versions 14 to 18/],
    ['too new', { version: 190_000 }, 'warn', /made for versions 14 to 18/],
  ])('%s', (_, changes, verdict, says) => {
    expect(brief(judgeServer(server(changes)))).toEqual([verdict, expect.stringMatching(says)]);
  });

  test('older than the source is told', () => {
    const source = server({ version: 170_000 });
    expect(brief(judgeVersions(source, server()))).toEqual(['warn', expect.stringContaining('version 16')]);
    expect(judgeVersions(server(), server())).toBeNull();
  });

  test('whose clock is off is told with how much, beyond what a round trip leaves open', () => {
    expect(judgeClocks([server(), server({ clockAheadMs: 2400, roundTripMs: 900 })])).toBeNull();
    expect(brief(judgeClocks([server({ side: 'source', clockAheadMs: -7300 }), server()]))).toEqual([
      'warn',
      expect.stringContaining("the source's is 7.3 s behind this machine's"),
    ]);
  });

  test('with time limits is told that ours are off', () => {
    expect(brief(judgeTimeouts(server({ settings: { statement_timeout: '30000' } })))).toEqual([
      'pass',
      "statement_timeout = 30000 ms: switched off in the run's own sessions",
    ]);
  });

  test.each<[string, Changes, RegExp | null]>([
    ['that takes writes', { settings: { default_transaction_read_only: 'off' } }, null],
    ['whose sessions are read-only', { settings: { default_transaction_read_only: 'on' } }, /read-only/],
    ['that is a standby', { inRecovery: true }, /standby/],
  ])('%s', (_, changes, says) => {
    const finding = judgeWritable(server(changes));
    if (says === null) expect(finding).toBeNull();
    else expect(brief(finding)).toEqual(['fail', expect.stringMatching(says)]);
  });

  test('whose sessions are read-only: the remedy can be run in such a session', () => {
    const finding = judgeWritable(server({ settings: { default_transaction_read_only: 'on' } }));
    expect(finding?.remedy).toMatch(/^begin read write; alter role .* = off; commit;$/);
  });
});

describe('free connections', () => {
  const jobs = { table: 4, index: 4 };
  const needs = sessionNeeds('target', jobs, true);

  test.each<[string, Changes, string, RegExp]>([
    ['enough', {}, 'pass', /^88 free, 11 asked for$/],
    [
      'fewer than asked for',
      { connections: { all: 92, role: 1, database: 1 } },
      'warn',
      /^6 left by max_connections/,
    ],
    [
      'too few',
      { connections: { all: 97, role: 1, database: 1 } },
      'fail',
      /^1 connection left by max_connections, and a run needs 2/,
    ],
    ['a superuser has the reserved ones', { role: { superuser: true } }, 'pass', /^91 free/],
    ['version 16 reserves more', { settings: { reserved_connections: '80' } }, 'warn', /^8 left/],
    ['limited for the role', { role: { connectionLimit: 1 } }, 'fail', /connection limit of role "mover"/],
    [
      'limited for the database',
      { database: { connectionLimit: 5 } },
      'warn',
      /connection limit of database "shop"/,
    ],
    ['limits do not hold for superusers', { role: { superuser: true, connectionLimit: 1 } }, 'pass', /free/],
  ])('%s', (_, changes, verdict, says) => {
    expect(brief(judgeFreeConnections(server(changes), needs))).toEqual([
      verdict,
      expect.stringMatching(says),
    ]);
  });
});

describe('a source', () => {
  const tables = (count: number) =>
    Array.from({ length: count }, (_, oid) => ({
      ...{ oid, schema: 'public', name: `t${oid}`, kind: 'table', persistence: 'unlogged' },
      ...{ partition: false, bytes: 0, estimatedRows: 0, replicaIdentity: 'default' },
      ...{ identifiable: true, readable: true, filtered: false, owned: true, withRows: true },
    })) as Parameters<typeof judgeSource>[1];
  const ids = (changes: Changes, count: number, follow = false) =>
    judgeSource(server({ side: 'source', ...changes }), tables(count), follow).map(({ id, verdict }) => [
      id,
      verdict,
    ]);

  test('that is a standby is told what a long copy meets there, unless it is to be followed', () => {
    const delays = { max_standby_streaming_delay: '30000', hot_standby_feedback: 'off' };
    expect(ids({ inRecovery: true, settings: delays }, 1)).toEqual([
      ['source.standby', 'warn'],
      ['source.locks', 'warn'],
    ]);
    expect(
      ids({ inRecovery: true, settings: { ...delays, max_locks_per_transaction: '64' } }, 1, true),
    ).toEqual([]);
    const patient = { max_standby_streaming_delay: '-1', max_locks_per_transaction: '64' };
    expect(ids({ inRecovery: true, settings: patient }, 0)).toEqual([['source.standby', 'pass']]);
  });

  test('with more tables than locks is told how many locks to have', () => {
    const [finding] = judgeSource(
      server({ settings: { max_locks_per_transaction: '10' } }),
      tables(900),
      false,
    );
    expect(brief(finding ?? null)).toEqual(['warn', expect.stringContaining('locks 900 tables')]);
    expect(finding?.remedy).toMatch(/max_locks_per_transaction = 20;/);
    expect(
      judgeSource(server({ settings: { max_locks_per_transaction: '10' } }), tables(700), false),
    ).toEqual([]);
  });

  test('is told what is not copied, and what a superuser alone can make', () => {
    const all = [
      { kind: 'subscription', name: 's' },
      { kind: 'user mapping', name: 'u on server s' },
      { kind: 'event trigger', name: 'e' },
      { kind: 'publication', name: 'p' },
      { kind: 'invalid index', name: 'public.i' },
    ] as const;
    const titles = (superuser: boolean | null) => judgeLeftOut(all, superuser).map(({ title }) => title);
    expect(titles(false)).toEqual([
      'subscriptions',
      'invalid indexes',
      'user mappings',
      'left to superusers',
    ]);
    expect(titles(true)).toEqual(['subscriptions', 'invalid indexes', 'user mappings']);
    expect(judgeLeftOut([], false)).toEqual([]);
  });

  test('on which tables are changed is told which, and by whom', () => {
    expect(judgeExclusiveLocks([])).toEqual([]);
    const locks = [
      { table: 'public.a', pid: '12' },
      { table: 'public.a', pid: '13' },
    ];
    expect(judgeExclusiveLocks(locks)[0]?.reason).toMatch(/^processes 12, 13 change public\.a /);
  });
});

describe('a stream', () => {
  const table = (name: string, changes: Partial<PublicationFacts> = {}): PublicationFacts => ({
    ...{
      oid: '1',
      schema: 'public',
      name,
      identity: 'primary-key',
      generatedNeeded: false,
      owned: true,
      leftOut: null,
    },
    ...changes,
  });
  const wish = {
    plugin: 'pgoutput',
    slot: 's',
    publication: null,
    publicationName: 's',
    maxJournalBytes: null,
  } as const;

  test('with tables without identity says what is not followed, and with other plugins that it stops', () => {
    const facts = [table('a'), table('log', { identity: 'none' }), table('g', { identity: 'generated' })];
    expect(judgeIdentity([table('a')], wish).verdict).toBe('pass');
    expect(judgeIdentity(facts, wish).reason).toMatch(
      /^2 tables .* updates and deletes are NOT: public\.log, public\.g$/,
    );
    expect(judgeIdentity(facts, wish).remedy).toMatch(/alter table "public"\."log" replica identity full;/);
    expect(judgeIdentity(facts.slice(2), wish).remedy).toMatch(/key of columns that are not generated/);
    expect(judgeIdentity(facts, { ...wish, plugin: 'wal2json' }).reason).toMatch(/will stop the stream/);
  });

  test('with unlogged tables names them', () => {
    expect(judgeUnlogged([table('a')])).toEqual([]);
    expect(judgeUnlogged([table('cache', { leftOut: 'unlogged' })])[0]?.reason).toMatch(/public\.cache$/);
  });

  test('waits for transactions that are there at both looks, and for prepared ones', () => {
    const running = (xid: string, gid: string | null = null) => ({
      ...{
        xid,
        pid: gid === null ? '7' : null,
        gid,
        user: 'u',
        database: 'd',
        application: null,
        since: null,
      },
    });
    expect(judgeRunning([running('1')], [running('2')]).verdict).toBe('pass');
    const still = judgeRunning([running('1')], [running('1'), running('2')]);
    expect([still.verdict, still.reason, still.remedy]).toEqual([
      'warn',
      expect.stringMatching(/: process 7 of u in d$/),
      expect.stringMatching(/pg_terminate_backend\(7\)/),
    ]);
    const prepared = judgeRunning([], [running('3', `it's`)]);
    expect(prepared.reason).toMatch(/stays until somebody ends it/);
    expect(prepared.remedy).toMatch(/rollback prepared 'it''s';/);
  });

  test('ended by settings is told so', () => {
    const ids = (values: Readonly<Record<string, string>>) =>
      judgeStreamSettings(server({ settings: values })).map(({ id }) => id);
    expect(ids({ wal_sender_timeout: '60000' })).toEqual([]);
    expect(ids({ wal_sender_timeout: '0', idle_replication_slot_timeout: '0' })).toEqual([]);
    expect(ids({ wal_sender_timeout: '1000', idle_replication_slot_timeout: '60' })).toEqual([
      'stream.sender-timeout',
      'stream.idle-slot',
    ]);
    expect(judgeTableMakers(['plpgsql', 'pg_partman'])[0]?.reason).toMatch(/^pg_partman may make/);
    expect(judgeTableMakers(['citext'])).toEqual([]);
  });
});

describe('room', () => {
  const gigabyte = 2 ** 30;
  const room = {
    freeBytes: 100 * gigabyte,
    maxJournalBytes: null,
    writeBytesPerSecond: 2 ** 20,
    copySeconds: 600,
  };

  test.each<
    [string, Partial<typeof room> | { maxJournalBytes: number } | { freeBytes: null }, string, RegExp]
  >([
    ['for a day', {}, 'pass', /about 22 h 45 min/],
    ['for minutes', { freeBytes: gigabyte }, 'warn', /full after about 14 min/],
    ['capped by the option', { maxJournalBytes: gigabyte }, 'warn', /full after about 17 min/],
    ['of an idle source', { writeBytesPerSecond: 100 }, 'pass', /next to nothing/],
    ['too little for a very long copy', { copySeconds: 80_000 }, 'warn', /full after/],
    ['not known', { freeBytes: null }, 'warn', /not known/],
  ])('%s', (_, changes, verdict, says) => {
    expect(brief(judgeJournalRoom({ ...room, ...changes }))).toEqual([verdict, expect.stringMatching(says)]);
  });

  test.each<[string, number | null, Partial<typeof room>, string, RegExp]>([
    ['without a limit', -1, {}, 'pass', /never lost/],
    ['for hours', 10_240, {}, 'pass', /about 2 h 51 min/],
    ['for minutes', 1024, {}, 'warn', /away for more than about 17 min/],
    ['of an idle source', 64, { writeBytesPerSecond: 0 }, 'pass', /next to nothing/],
  ])('of a slot, %s', (_, megabytes, changes, verdict, says) => {
    expect(brief(judgeSlotRoom({ ...room, ...changes }, megabytes))).toEqual([
      verdict,
      expect.stringMatching(says),
    ]);
  });
});

describe('the time of a copy', () => {
  const jobs = { table: 4, index: 4, restore: 4 };
  const estimate: Estimate = {
    ...{ tableBytes: 4000, indexBytes: 800, tables: 10, largestTableBytes: 1000, bytesPerSecond: 100 },
  };

  test('is between all of the gain of the jobs and none, and not below that of the largest table', () => {
    expect(copySeconds(estimate, jobs)).toEqual({ least: 10 + 1 + 0.05, most: 40 + 8 + 0.1 });
    expect(copySeconds({ ...estimate, largestTableBytes: 3000 }, jobs)?.least).toBeCloseTo(31.05);
  });

  test('says whether it was measured or assumed', () => {
    expect(judgeEstimate(estimate, jobs).reason).toMatch(/about 11 s to 48 s .*measured: 100 B\/s/);
    const small = { ...estimate, bytesPerSecond: null };
    expect(judgeEstimate(small, jobs).reason).toMatch(/assumed: 10 ms a table/);
    expect(judgeEstimate({ ...small, tableBytes: 1e12 }, jobs).reason).toMatch(/not estimated/);
  });
});

describe('what is copied', () => {
  test.each<[string, Partial<ServerFacts['database']>, Partial<ServerFacts['database']>, string]>([
    ['alike', {}, {}, 'pass'],
    ['into UTF8', { encoding: 'LATIN1' }, {}, 'pass'],
    ['out of UTF8', {}, { encoding: 'LATIN1' }, 'warn'],
    ['bytes', { encoding: 'SQL_ASCII' }, {}, 'warn'],
    ['sorted otherwise', { collate: 'de_DE.UTF-8' }, {}, 'warn'],
  ])('%s', (_, source, target, verdict) => {
    expect(judgeEncodings(server({ database: source }), server({ database: target })).verdict).toBe(verdict);
  });

  test.each([
    ['1.5', '1.6', true],
    ['1.10', '1.9', false],
    ['3.4.0', '3.4', false],
    ['3.3.9', '3.4.0', true],
    ['1.6', '1.6', false],
  ])('extension version %s is older than %s: %s', (version, than, older) => {
    expect(isOlder(version, than)).toBe(older);
  });
});

test('Neon is known by its host or its role, and says what is different', () => {
  expect(judgeNeonTarget(server())).toBeNull();
  expect(judgeNeonTarget(server({ host: 'ep-a-1.eu.aws.neon.tech' }))?.verdict).toBe('pass');
  expect(judgeNeonTarget(server({ role: { neonMember: false } }))?.verdict).toBe('warn');
  expect(judgeNeonSource(server({ role: { neonMember: true } }), true)).toHaveLength(1);
  expect(judgeNeonSource(server({ role: { neonMember: true } }), false)).toEqual([]);
});

describe('findings come to', () => {
  const broken = (id: Finding['id'], code: ConstructorParameters<typeof Failure>[0]) =>
    fail(id, 'thing', new Failure(code, `${id} is broken`, { remedy: `mend ${id}` }));

  test('nothing when nothing failed', () => {
    expect(failureOf([pass('source.a', 'a', ''), warn('source.b', 'b', '')])).toBeNull();
  });

  test('the one failure that the run would end with', () => {
    const failure = failureOf([broken('source.a', 'source-rights')]);
    expect([failure?.code, failure?.message, failure?.remedy]).toEqual([
      'source-rights',
      'source.a is broken',
      'mend source.a',
    ]);
  });

  test('one where the same thing is in the way of two', () => {
    const one = broken('stream.publication', 'source-setup');
    const failure = failureOf([one, { ...one, id: 'stream.tables' }]);
    expect([failure?.code, failure?.message]).toEqual(['source-setup', 'stream.publication is broken']);
  });

  test('all of them at once, under the code that they share, or under check-failed', () => {
    const same = failureOf([broken('source.a', 'source-rights'), broken('source.b', 'source-rights')]);
    expect(same?.code).toBe('source-rights');
    const mixed = failureOf([broken('source.a', 'source-rights'), broken('target.b', 'target-setup')]);
    expect(mixed?.code).toBe('check-failed');
    expect(mixed?.message).toBe(
      '2 things would end this run:\nsource.a is broken\n  mend source.a\ntarget.b is broken\n  mend target.b',
    );
  });
});

test.each([
  [0.2, '1 s'],
  [89, '89 s'],
  [300, '5 min'],
  [3600 * 3 + 600, '3 h 10 min'],
  [3600 * 24 * 4, '4 days'],
  [3600 * 24 * 400, 'months'],
])('%d seconds are said as %s', (seconds, words) => {
  expect(sayDuration(seconds)).toBe(words);
});

test('long lists are cut', () => {
  expect(some(['a', 'b'])).toBe('a, b');
  expect(some(['a', 'b', 'c', 'd', 'e', 'f', 'g'])).toBe('a, b, c, d, e and 2 more');
});

describe('objects that only a superuser makes', () => {
  const one = (classOid: number, oid: number) => ({ classOid, oid });
  const absolute = { ...one(1255, 1), label: 'function absolute', spared: false };
  const tables = new Map([[40, 'public.measured']]);
  const link = (object: ReturnType<typeof one>, needs: ReturnType<typeof one>, inside = null) => ({
    ...{ object, needs, part: false, inside },
  });

  test('fail where a table comes to need them, over any number of links', () => {
    // function → view → function → a column's default, which is a part of table 40
    const links = [
      link(one(1259, 10), absolute),
      link(one(1255, 20), one(1259, 10)),
      { ...link(one(2604, 30), one(1255, 20)), inside: one(1259, 40) },
    ];
    const found = judgeSuperuserObjects([absolute], links, tables);
    expect(found.map(({ verdict }) => verdict)).toEqual(['fail']);
    expect(found[0]?.reason).toMatch(/which tables need \(public\.measured\)$/);
    // Such as an access method: the table gets another one.
    const spared = judgeSuperuserObjects([{ ...absolute, spared: true }], links, tables);
    expect(spared.map(({ verdict }) => verdict)).toEqual(['warn']);
  });

  test('warn where only other objects do, and in a circle', () => {
    const links = [link(one(1259, 10), absolute), link(absolute, one(1259, 10))];
    const found = judgeSuperuserObjects([absolute], links, tables);
    expect(found.map(({ verdict }) => verdict)).toEqual(['warn']);
    expect(judgeSuperuserObjects([], [], new Map())).toEqual([]);
  });
});
