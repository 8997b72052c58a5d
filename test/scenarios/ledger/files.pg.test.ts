/**
 * The work directory as the thing that fails: its disk is full, and its transform files are cut and flipped, one after
 * the other. What is not as it was written is refused and never read as something else.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectEqual, expectLedger } from '../../support/equal.js';
import {
  cloneFollow,
  follow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  setupStream,
  streamOptions,
  succeed,
  type Migration,
} from '../../support/live-migration.js';
import { ledgerSchema, startLoad } from '../../support/load.js';
import { seededRandom, testSeed } from '../../support/random.js';
import { streamEarly, weave, wovenSchema } from '../streamed/weave.js';

/** What a person can mend, and no code of ours that tells of a mistake in walferry. */
const damaged = 24;

test(
  'each transform file cut or flipped at a random place is refused, not misread; put back, all ends well',
  { timeout: 300_000 },
  async () => {
    await using migration = await openMigration({ schema: wovenSchema, onBoth: true });
    const { source, target } = migration;
    const random = seededRandom(testSeed('damage at random'));
    // Given files with whole and streamed transactions, received and not applied,
    await streamEarly(source);
    await setupStream(migration);
    for (const round of [1, 2, 3]) {
      await weave(source, round);
      await source.sql('select pg_switch_wal()');
    }
    await source.sql(`insert into small values (-1, 'last')`);
    await setEndpos(migration);
    await succeed(migration, ['stream', 'prefetch', '--resume', ...streamOptions(migration)]);
    const cdc = join(migration.directory, 'cdc');
    const files = readdirSync(cdc)
      .filter((name) => name.endsWith('.json'))
      .toSorted();
    expect(files.length).toBeGreaterThan(2);

    // when one after the other is damaged,
    const catchup = () => runToEnd(migration, ['stream', 'catchup', '--resume', ...streamOptions(migration)]);
    for (const file of files.slice(0, -1)) {
      const how = random() < 0.5 ? 'cut' : 'flipped';
      const path = join(cdc, file);
      const whole = readFileSync(path);
      const at = Math.floor(random() * whole.length);
      const broken = how === 'cut' ? whole.subarray(0, at) : Buffer.from(whole);
      if (how === 'flipped') broken[at] = (broken[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      writeFileSync(path, broken);
      const exit = await catchup();
      // then it is named, and nothing of it is taken for something else,
      expect(exit.code, `${file} ${how} at ${at}: ${exit.stderr}`).toBe(damaged);
      expect(exit.stderr, `${how} at ${at}`).toContain(file);
      writeFileSync(path, whole);
    }
    // and when they are as they were, everything is applied, once.
    const exit = await catchup();
    expect(exit.code, exit.stderr).toBe(0);
    await expectEqual(source, target);
  },
);

test(
  'the newest transform file cut at the end of any of its writes is not taken for a shorter one',
  { timeout: 300_000 },
  async () => {
    await using migration = await openMigration({
      schema: 'create table item (id int primary key)',
      onBoth: true,
    });
    const { source, target } = migration;
    // Given a newest file of several writes, all of them durable and acknowledged, and none of them applied,
    await setupStream(migration);
    const prefetch = ['stream', 'prefetch', '--resume', ...streamOptions(migration)];
    const catchup = ['stream', 'catchup', '--resume', ...streamOptions(migration)];
    const cdc = join(migration.directory, 'cdc');
    let newest = '';
    let path = '';
    let whole = Buffer.alloc(0);
    let ends: number[] = [];
    // Where the source has begun a new WAL segment meanwhile, a new file has begun.
    for (let id = 1; ends.length <= 4; id += 1) {
      await source.sql(`insert into item values (${id})`);
      await setEndpos(migration);
      await succeed(migration, prefetch);
      newest = readdirSync(cdc)
        .filter((name) => name.endsWith('.json'))
        .toSorted()
        .at(-1)!;
      path = join(cdc, newest);
      whole = readFileSync(path);
      ends = [...whole.toString('latin1').matchAll(/"sum":"[0-9a-f]{8}"\}\n/g)].map(
        ({ index, 0: { length } }) => index + length,
      );
    }
    // The last one says that the end position was reached, and what lies before it is whole without.
    const early = ends.slice(0, -2);

    // when it ends at one of them, then nobody goes on, and nothing is touched,
    for (const [nth, end] of early.entries()) {
      const cut = whole.subarray(0, end);
      writeFileSync(path, cut);
      for (const command of nth === 1 ? [prefetch, follow(migration, '--resume'), catchup] : [catchup]) {
        const exit = await runToEnd(migration, command);
        expect(exit.code, `${command.join(' ')}: cut at ${end}: ${exit.stderr}`).toBe(damaged);
        expect(exit.stderr).toContain(`${newest} is damaged at offset ${end}: it ends here`);
      }
      expect(readFileSync(path)).toEqual(cut);
    }
    expect(await target.sql('select from item')).toEqual([]);

    // and when it is as it was, everything is applied.
    writeFileSync(path, whole);
    await succeed(migration, catchup);
    await expectEqual(source, target);
  },
);

/** A small disk of its own under the work directory; null where this cannot be made. */
function mountSmallDisk(directory: string, megabytes: number): { grow(): void; unmount(): void } | null {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700`, 'none', directory], {
      stdio: 'pipe',
    });
  } catch {
    return null;
  }
  return {
    grow: () => execFileSync('mount', ['-o', 'remount,size=512m', directory]),
    unmount: () => execFileSync('umount', ['-l', directory]),
  };
}

test(
  'the disk of the work directory is full: it stops and says so; with room again it goes on to equality',
  { timeout: 300_000 },
  async (context) => {
    await using opened = await openMigration({ schema: ledgerSchema });
    const migration: Migration = { ...opened, directory: join(opened.directory, 'small') };
    const disk = mountSmallDisk(migration.directory, 24);
    if (disk === null) return context.skip('only root can make a small disk');
    try {
      // Given a disk that is smaller than what is written, and no cap that would stop the reading before,
      const words = cloneFollow(migration, '--no-owner', '--max-journal-size', '0');
      await using following = run(migration, words);
      await following.waitForOutput(/applying changes from/, { timeoutMs: 200_000 });
      const load = await startLoad(migration.source, 2, 5);
      await migration.source.sql(
        `insert into event (kind, detail) select 'fills', jsonb_build_object('i', i, 'filler', repeat('x', 900)) from generate_series(1, 30000) i`,
      );
      const full = await following.exit;
      // then the run ends, and says why,
      expect(full.code, full.stderr).not.toBe(0);
      expect(full.stderr).toMatch(/the disk is full/);

      // and goes on where it was when there is room.
      disk.grow();
      await using resumed = run(migration, [...words, '--resume']);
      await resumed.waitForOutput(/applying changes from/, { timeoutMs: 200_000 });
      await load.stop();
      await setEndpos(migration);
      const exit = await resumed.exit;
      expect(exit.code, exit.stderr).toBe(0);
      await expectEqual(migration.source, migration.target);
      await expectLedger(migration.target);
    } finally {
      disk.unmount();
    }
  },
);
