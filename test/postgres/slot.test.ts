import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import type { Lsn } from '../../src/model/lsn.js';
import { emitMark, endOfRecords } from '../../src/postgres/logical-message.js';
import {
  insertsPublicationName,
  checkPublicationName,
  planPublications,
  publicationStatements,
  type PublicationFacts,
} from '../../src/postgres/publication.js';
import { ReadPacing } from '../../src/postgres/read-pacing.js';
import { slotFailure, type SlotAction } from '../../src/postgres/slot-failure.js';
import {
  checkSlotFacts,
  checkSlotName,
  checkSlotPosition,
  createSlotCommand,
  describeWaitedFor,
  walsenderFailure,
  type SlotFacts,
} from '../../src/postgres/slot.js';
import { startCommand } from '../../src/postgres/slot-stream.js';

const lsn = (value: bigint) => value as Lsn;

function serverError(code: string, message: string): Error {
  return Object.assign(new pg.DatabaseError(message, 0, 'error'), { code });
}

describe('what the server says of a slot', () => {
  test.each<[SlotAction, string, string, string, RegExp]>([
    ['create', '42710', 'da', 'slot-exists', /stream cleanup/],
    ['create', '53400', 'alle vergeben', 'source-setup', /max_replication_slots = 20/],
    [
      'create',
      '55000',
      'braucht wal_level >= logical',
      'source-setup',
      /alter system set wal_level = logical/,
    ],
    ['create', '55000', 'nur wenn max_replication_slots > 0', 'source-setup', /max_replication_slots/],
    ['create', '58P01', 'wal2json fehlt', 'source-setup', /Install the plugin/],
    ['create', '0A000', 'Standby', 'source-setup', /primary/],
    ['start', '42704', 'gibt es nicht', 'slot-lost', /--restart/],
    ['start', '55006', 'aktiv', 'slot-busy', /other process/],
    ['start', '55000', 'verloren', 'slot-lost', /--restart/],
    ['start', '0A000', 'andere Datenbank', 'slot-lost', /--restart/],
    ['stream', '58P01', 'WAL fehlt', 'slot-lost', /--restart/],
    ['stream', '42704', 'Publikation fehlt', 'source-setup', /publication .* dropped/],
    ['stream', '57P01', 'Schluss', 'source-disconnected', /--resume/],
    ['drop', '55006', 'aktiv', 'slot-busy', /other process/],
  ])('%s: %s %s is %s', (action, state, words, code, remedy) => {
    const failure = slotFailure(serverError(state, words), action, 'mine');
    expect(failure.code).toBe(code);
    expect(failure.remedy).toMatch(remedy);
    // A session that made a Failure of it already is looked through.
    const wrapped = new Failure('source-statement', 'x', { cause: serverError(state, words) });
    expect(slotFailure(wrapped, action, 'mine').code).toBe(code);
  });

  test('a plugin that the source does not allow: the setting is a list, not one quoted text', () => {
    const error = Object.assign(serverError('42501', 'nein'), { hint: 'siehe "output_plugin_libraries"' });
    const failure = slotFailure(error, 'create', 'mine');
    expect(failure.code).toBe('source-setup');
    expect(failure.remedy).toContain('output_plugin_libraries = pgoutput, test_decoding, wal2json;');
    expect(slotFailure(serverError('42501', 'nein'), 'create', 'mine').code).toBe('source-rights');
  });

  test('a refused walsender connection names the role and the SQL', () => {
    const failure = walsenderFailure(serverError('42501', 'nein'), { user: 'the "app"' } as never);
    expect(failure).toMatchObject({
      code: 'source-rights',
      remedy: expect.stringContaining('alter role "the ""app""" replication'),
    });
    expect(walsenderFailure(serverError('53300', 'voll'), { user: 'x' } as never)).toMatchObject({
      code: 'source-setup',
      remedy: expect.stringContaining('max_wal_senders'),
    });
    const other = serverError('28P01', 'falsch');
    expect(walsenderFailure(other, { user: 'x' } as never)).toBe(other);
  });
});

describe('a slot', () => {
  const good: SlotFacts = {
    name: 's',
    plugin: 'pgoutput',
    database: 'shop',
    activePid: null,
    restartLsn: lsn(1n),
    confirmedFlushLsn: lsn(2n),
    walStatus: 'reserved',
    invalidationReason: null,
  };
  const expected = { name: 's', plugin: 'pgoutput', database: 'shop' } as const;

  test('that is the stream own is usable, also while the source keeps more than it wants to', () => {
    expect(checkSlotFacts(good, expected)).toBe(good);
    for (const walStatus of ['extended', 'unreserved', null]) {
      expect(() => checkSlotFacts({ ...good, walStatus }, expected)).not.toThrow();
    }
  });

  test.each([
    ['is not there', null, /does not exist/],
    ['uses another plugin', { ...good, plugin: 'wal2json' }, /uses the plugin wal2json/],
    ['is physical', { ...good, plugin: null, database: null }, /physical/],
    ['belongs to another database', { ...good, database: 'other' }, /"other", not to "shop"/],
    ['has lost its WAL', { ...good, walStatus: 'lost' }, /invalidated.*max_slot_wal_keep_size/],
    [
      'was idle for too long',
      { ...good, walStatus: 'lost', invalidationReason: 'idle_timeout' },
      /invalidated.*idle_replication_slot_timeout/,
    ],
    ['reserves nothing', { ...good, restartLsn: null }, /invalidated/],
  ])('that %s is lost', (_claim, facts, words) => {
    expect(() => checkSlotFacts(facts, expected)).toThrow(
      expect.objectContaining({ code: 'slot-lost', message: expect.stringMatching(words) }),
    );
  });

  test.each([
    [100n, 100n, 0n, true],
    [100n, 0n, 100n, true],
    [100n, 200n, 50n, true],
    [101n, 100n, 100n, false],
    [101n, 100n, 0n, false],
  ])('confirmed at %i, journal %i, target %i: usable is %s', (confirmed, durable, applied, usable) => {
    const check = () =>
      checkSlotPosition({
        confirmedFlush: lsn(confirmed),
        journalDurable: lsn(durable),
        applied: lsn(applied),
      });
    if (usable) expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ code: 'slot-ahead' }));
  });

  test.each(['', 'Upper', 'a-b', 'a'.repeat(64), 'ü'])('cannot be named %j', (name) => {
    expect(() => checkSlotName(name)).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  test('is made and read with what the server of that version understands', () => {
    expect(createSlotCommand('s_1', 'pgoutput', 140_012)).toBe(
      'CREATE_REPLICATION_SLOT "s_1" LOGICAL "pgoutput" EXPORT_SNAPSHOT',
    );
    expect(createSlotCommand('s_1', 'pgoutput', 150_000)).toBe(
      `CREATE_REPLICATION_SLOT "s_1" LOGICAL "pgoutput" (SNAPSHOT 'export')`,
    );
    expect(startCommand('s_1', lsn(0x1_0000_00ffn), [['publication_names', `"it's","a\\b"`]])).toBe(
      `START_REPLICATION SLOT "s_1" LOGICAL 1/FF ("publication_names" '"it''s","a\\b"')`,
    );
    expect(startCommand('s_1', lsn(0n), [])).toBe('START_REPLICATION SLOT "s_1" LOGICAL 0/0');
  });

  test('that waits says for whom', () => {
    const session = {
      xid: '7',
      pid: '42',
      gid: null,
      user: 'app',
      database: 'shop',
      application: 'psql',
      since: 'noon',
    };
    expect(describeWaitedFor(session)).toBe('process 42 of app in shop since noon');
    expect(describeWaitedFor({ ...session, pid: null, gid: 'two-phase', since: null })).toBe(
      `the prepared transaction 'two-phase' of app in shop`,
    );
  });
});

describe('publications', () => {
  const table = (name: string, more: Partial<PublicationFacts> = {}): PublicationFacts => ({
    oid: '1',
    schema: 'public',
    name,
    identity: 'primary-key',
    generatedNeeded: false,
    owned: true,
    leftOut: null,
    ...more,
  });

  test('tables without a usable identity go to a publication of their own', () => {
    const plan = planPublications([
      table('a'),
      table('b', { identity: 'full' }),
      table('c', { identity: 'index' }),
      table('d', { identity: 'none' }),
      table('e', { identity: 'generated' }),
      table('f', { leftOut: 'unlogged' }),
      table('g', { leftOut: 'partitioned', identity: 'none' }),
    ]);
    const names = (tables: readonly PublicationFacts[]) => tables.map((one) => one.name).join('');
    expect([names(plan.everything), names(plan.insertsOnly), names(plan.leftOut)]).toEqual([
      'abc',
      'de',
      'fg',
    ]);
    expect(publicationStatements('w', plan)).toEqual([
      `create publication "w" for table only "public"."a", only "public"."b", only "public"."c" with (publish = 'insert, update, delete, truncate')`,
      `create publication "w_inserts" for table only "public"."d", only "public"."e" with (publish = 'insert, truncate')`,
    ]);
  });

  test('a table whose updates ask for its generated columns has them published', () => {
    const plan = planPublications([table('a'), table('b', { identity: 'full', generatedNeeded: true })]);
    expect(publicationStatements('w', plan)).toEqual([
      `create publication "w" for table only "public"."a", only "public"."b" with (publish = 'insert, update, delete, truncate', publish_generated_columns = stored)`,
    ]);
  });

  test('no tables make an empty publication: the stream needs a name', () => {
    expect(publicationStatements('w', planPublications([]))).toEqual([
      `create publication "w" with (publish = 'insert, update, delete, truncate')`,
    ]);
  });

  test('many tables come in several statements', () => {
    const tables = Array.from({ length: 1201 }, (_, nth) => table(`t${nth}`));
    const statements = publicationStatements('w', planPublications(tables));
    expect(statements.map((statement) => statement.split(' only ').length - 1)).toEqual([500, 500, 201]);
    expect(statements.map((statement) => statement.slice(0, 6))).toEqual(['create', 'alter ', 'alter ']);
  });

  test.each(['', 'x'.repeat(56), 'ü'.repeat(28)])('cannot be named %j', (name) => {
    expect(() => checkPublicationName(name)).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  test('may be named up to where the second name still fits', () => {
    const name = 'x'.repeat(55);
    expect(() => checkPublicationName(name)).not.toThrow();
    expect(Buffer.byteLength(insertsPublicationName(name))).toBe(63);
  });
});

test('a standby cannot mark its position', async () => {
  const standby = { query: () => Promise.resolve([{ standby: 'true' }]) };
  await expect(emitMark(standby as never)).rejects.toMatchObject({
    code: 'source-setup',
    message: expect.stringContaining('standby'),
  });
});

describe('the end of the last record before an insert position', () => {
  const segment = 16n * 1024n * 1024n;
  test.each([
    ['is that position', 0x1000_0100n, 0x1000_0100n],
    ['is the page before, when nothing is on this one yet', 0x1000_2000n + 24n, 0x1000_2000n],
    ['is the segment before, when nothing is in this one yet', 0x1000_0000n + 40n, 0x1000_0000n],
    [
      'is inside of a page where a record from the page before goes on',
      0x1000_2000n + 40n,
      0x1000_2000n + 40n,
    ],
    ['is inside of a segment, likewise', 0x1000_0000n + 48n, 0x1000_0000n + 48n],
  ])('%s', (_claim, insert, end) => {
    expect(endOfRecords(lsn(insert), 8192n, segment)).toBe(end);
  });
});

describe('reading a socket', () => {
  test('never rests for a stream of few messages', () => {
    const pacing = new ReadPacing(0);
    let rests = 0;
    // 200 transactions a second, each in five reads.
    for (let nth = 0; nth < 1000; nth += 1) {
      for (let read = 0; read < 5; read += 1) rests += pacing.restAfter(60, nth * 5);
    }
    expect(rests).toBe(0);
  });

  test('rests after each small read once they come in a flood, and not after a large one', () => {
    const pacing = new ReadPacing(0);
    const rests: number[] = [];
    for (let nth = 0; nth < 30; nth += 1) rests.push(pacing.restAfter(100, nth * 0.01));
    expect(rests.slice(0, 24)).toEqual(Array.from({ length: 24 }, () => 0));
    expect(pacing.restAfter(100, 1.3)).toBe(1);
    expect(pacing.restAfter(100, 2.3)).toBe(1);
    expect(pacing.restAfter(65_536, 2.4)).toBe(0);
    expect(pacing.restAfter(100, 100)).toBe(0);
  });

  test('rests longer while each rest brings much', () => {
    const pacing = new ReadPacing(0);
    for (let nth = 0; nth < 30; nth += 1) pacing.restAfter(100, nth * 0.01);
    expect(pacing.restAfter(30_000, 1.3)).toBe(4);
    expect(pacing.restAfter(30_000, 5.3)).toBe(4);
    expect(pacing.restAfter(100, 9.3)).toBe(1);
  });
});
