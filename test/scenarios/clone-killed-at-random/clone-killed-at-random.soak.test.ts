import { test } from 'vitest';
import { killCloneAgainAndAgain } from './kills.js';

test('a clone killed up to 15 times at random moments is complete, and no row of it was copied twice', async () => {
  await killCloneAgainAndAgain({ kills: 15, tables: 60, longestLifeMs: 2000 });
});
