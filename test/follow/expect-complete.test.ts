import { expect, test } from 'vitest';
import { closeCatalog, openCatalog } from '../../src/catalog/database.js';
import { takeLocks } from '../../src/catalog/lock.js';
import { endPhase, reopenEnd, saveSetup, startPhase } from '../../src/catalog/setup.js';
import { expectCompleted, expectCopied } from '../../src/follow/expect-complete.js';
import { temporaryDirectory } from '../support/directory.js';

test('behind a clone others apply when it has completed the target once, or is at it; and never to a part of a copy', async () => {
  await using directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path);
  try {
    // Nothing was copied here, or all rows of a step.
    expectCompleted(catalog);
    startPhase(catalog, 'rows');
    expect(() => expectCompleted(catalog)).toThrow(/is not complete/);
    endPhase(catalog, 'rows');
    expectCompleted(catalog);

    // A clone, which copies,
    saveSetup(catalog, { version: '1', source: 's', target: 't', settings: {} });
    startPhase(catalog, 'copy');
    expect(() => expectCompleted(catalog)).toThrow(/copy in .* is not complete/);
    const lock = takeLocks(directory.path, ['clone']);
    expectCompleted(catalog);
    expect(() => expectCopied(catalog)).toThrow(/is not complete/);
    lock.release();

    // has copied,
    endPhase(catalog, 'copy');
    expectCopied(catalog);
    expect(() => expectCompleted(catalog)).toThrow(/has not completed the target/);
    reopenEnd(catalog);
    expect(() => expectCompleted(catalog)).toThrow(/has not completed the target/);

    // and has completed the target; a cutover that is undone takes none of it away.
    endPhase(catalog, 'finalize');
    expectCompleted(catalog);
    reopenEnd(catalog);
    expectCompleted(catalog);
  } finally {
    closeCatalog(catalog);
  }
});
