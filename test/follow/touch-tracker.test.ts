/** What the applier notes of its writing, and what is left of it after its process has ended or died. */
import { expect, test } from 'vitest';
import { planRelation } from '../../src/apply/relation-plan.js';
import type { Run } from '../../src/apply/run.js';
import { closeCatalog, openCatalog } from '../../src/catalog/database.js';
import {
  loadTouchRecord,
  makeTouchTables,
  requestTouches,
  type TouchRecord,
} from '../../src/catalog/touches.js';
import { TouchTracker } from '../../src/follow/touch-tracker.js';
import { silentLog } from '../../src/log.js';
import { lsnFromBigInt, type Lsn } from '../../src/model/lsn.js';
import { relation } from '../apply/support.js';
import { table, unique } from '../apply/tables.js';
import { temporaryDirectory } from '../support/directory.js';

const at = (value: number): Lsn => lsnFromBigInt(BigInt(value));
const t = relation('t', 'id*');
const plan = planRelation(t, table('id!', [unique('id')]));
const insertRun = (...ids: readonly string[]): Run => ({
  kind: 'insert',
  plan,
  changes: ids.map((id) => ({ kind: 'insert', relation: t, row: [id] })),
});

function record(directory: string): TouchRecord {
  const catalog = openCatalog(directory);
  try {
    makeTouchTables(catalog);
    return loadTouchRecord(catalog);
  } finally {
    closeCatalog(catalog);
  }
}

function request(directory: string): void {
  const catalog = openCatalog(directory);
  makeTouchTables(catalog);
  requestTouches(catalog, Date.now());
  closeCatalog(catalog);
}

/** A process that begins at a position, does something, and ends well. */
function process(directory: string, from: number, work: (tracker: TouchTracker) => void): void {
  const tracker = new TouchTracker(directory, silentLog);
  tracker.opened(at(from));
  work(tracker);
  tracker.close();
}

test('tables are noted where nobody has asked for rows, rows once somebody has', async () => {
  await using directory = await temporaryDirectory();
  process(directory.path, 10, (tracker) => {
    tracker.add(insertRun('1'));
    tracker.end(at(20));
    tracker.applied(at(20));
  });
  expect(record(directory.path)).toMatchObject({
    state: { covered: at(20) },
    tables: [{ schema: 'public', name: 't', lsn: at(20) }],
    rows: [],
  });
  request(directory.path);
  process(directory.path, 20, (tracker) => {
    tracker.add(insertRun('2', '3'));
    tracker.end(at(30));
    tracker.add(insertRun('4'));
    tracker.end(at(40));
    tracker.applied(at(40));
  });
  expect(record(directory.path)).toMatchObject({
    state: { covered: at(40) },
    tables: [{ name: 't', lsn: at(20) }],
    rows: [{ name: 't', lsn: at(40), columns: ['id'], keys: ['["2"]', '["3"]', '["4"]'] }],
  });
});

test('a truncate, and rows beyond the bound, are noted as the whole table', async () => {
  await using directory = await temporaryDirectory();
  request(directory.path);
  process(directory.path, 10, (tracker) => {
    tracker.add({
      kind: 'truncate',
      plans: [plan],
      change: { kind: 'truncate', relations: [t], restartIdentity: false, cascade: false },
    });
    tracker.end(at(20));
    tracker.applied(at(20));
  });
  expect(record(directory.path)).toMatchObject({ tables: [{ lsn: at(20) }], rows: [] });
  process(directory.path, 20, (tracker) => {
    tracker.add(insertRun(...Array.from({ length: 50_000 }, (_, id) => String(id))));
    tracker.end(at(30));
    tracker.add(insertRun('one more'));
    tracker.end(at(40));
    tracker.applied(at(40));
  });
  expect(record(directory.path).tables).toMatchObject([{ lsn: at(40) }]);
});

test('what was sent is noted before it is known to be committed', async () => {
  await using directory = await temporaryDirectory();
  request(directory.path);
  process(directory.path, 10, (tracker) => {
    tracker.add(insertRun('1'));
    tracker.end(at(20));
    // Its reply was lost, and the position row says that it was committed.
    tracker.opened(at(20));
  });
  const { state, rows } = record(directory.path);
  expect([state?.covered, rows.map(({ keys }) => keys)]).toEqual([at(20), [['["1"]']]]);
});

test.each([
  ['ended well', 20, 1],
  ['applied more than it could note', 30, 2],
  ['came back to a target that was set back', 15, 2],
] as const)('the next process after one that %s', async (_, position, epoch) => {
  await using directory = await temporaryDirectory();
  request(directory.path);
  process(directory.path, 10, (tracker) => {
    tracker.add(insertRun('1'));
    tracker.end(at(20));
    tracker.applied(at(20));
  });
  process(directory.path, position, () => {});
  const { state, rows } = record(directory.path);
  expect(state).toMatchObject({ epoch, covered: at(position) });
  expect(rows.length).toBe(epoch === 1 ? 1 : 0);
});

test('a new epoch that the catalog cannot take now does not stop the stream, and is told later', async () => {
  await using directory = await temporaryDirectory();
  process(directory.path, 10, (tracker) => {
    tracker.add(insertRun('1'));
    tracker.end(at(20));
    tracker.applied(at(20));
  });
  const tracker = new TouchTracker(directory.path, silentLog);
  const catalog = openCatalog(directory.path);
  catalog.database.exec(
    `create trigger full before insert on touch_state begin select raise(abort, 'full'); end`,
  );
  tracker.opened(at(30));
  tracker.add(insertRun('2'));
  tracker.end(at(40));
  tracker.applied(at(40));
  expect(record(directory.path)).toMatchObject({
    state: { epoch: 1, covered: at(20) },
    tables: [{ name: 't' }],
  });
  catalog.database.exec('drop trigger full');
  closeCatalog(catalog);
  tracker.close();
  expect(record(directory.path)).toMatchObject({
    state: { epoch: 2, covered: at(40) },
    tables: [{ lsn: at(40) }],
  });
});

test('a target that is set back while the process goes on begins a new epoch', async () => {
  await using directory = await temporaryDirectory();
  process(directory.path, 10, (tracker) => {
    tracker.end(at(20));
    tracker.applied(at(20));
    tracker.opened(at(15));
  });
  expect(record(directory.path).state).toMatchObject({ epoch: 2, covered: at(15) });
});

/** What keeps the catalog from being opened, and takes it away again. */
const troubles = {
  'is locked by somebody else': (directory: string) => {
    const other = openCatalog(directory);
    other.database.exec('drop table proof; begin immediate');
    return () => {
      other.database.exec('rollback');
      closeCatalog(other);
    };
  },
  'cannot be read': (directory: string) => {
    const other = openCatalog(directory);
    const version = Number(other.database.pragma('user_version', { simple: true }));
    other.database.pragma('user_version = 999');
    return () => {
      other.database.pragma(`user_version = ${version}`);
      closeCatalog(other);
    };
  },
};

test.each([
  ['is locked by somebody else', 20, 1],
  ['is locked by somebody else', 25, 2],
  ['cannot be read', 20, 1],
  ['cannot be read', 25, 2],
] as const)('a catalog that %s stops no stream; from %i on, it is epoch %i', async (trouble, from, epoch) => {
  await using directory = await temporaryDirectory();
  process(directory.path, 10, (tracker) => {
    tracker.add(insertRun('1'));
    tracker.end(at(20));
    tracker.applied(at(20));
  });
  const warnings: string[] = [];
  const over = troubles[trouble](directory.path);
  const tracker = new TouchTracker(directory.path, { ...silentLog, warn: (line) => warnings.push(line) });
  tracker.opened(at(from));
  tracker.add(insertRun('2'));
  tracker.end(at(30));
  tracker.applied(at(30));
  tracker.save();
  over();
  expect(warnings).toEqual([expect.stringContaining('what was written cannot be noted now')]);
  tracker.close();
  expect(record(directory.path)).toMatchObject({
    state: { epoch, covered: at(30) },
    tables: [{ name: 't', lsn: at(30) }],
  });
});

test('a record that could never be opened leaves the one before as it was', async () => {
  await using directory = await temporaryDirectory();
  process(directory.path, 10, (tracker) => {
    tracker.end(at(20));
    tracker.applied(at(20));
  });
  const over = troubles['cannot be read'](directory.path);
  process(directory.path, 20, (tracker) => {
    tracker.add(insertRun('1'));
    tracker.end(at(30));
    tracker.applied(at(30));
  });
  over();
  // The next one sees that somebody has applied meanwhile.
  process(directory.path, 30, () => {});
  expect(record(directory.path).state).toMatchObject({ epoch: 2, covered: at(30) });
});
