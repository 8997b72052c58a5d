import { test } from 'vitest';
import { killCloneAgainAndAgain } from './kills.js';

test('a clone killed 15 times at random moments is complete, and no row of it was copied twice', async () => {
  await killCloneAgainAndAgain({ kills: 15, tables: 50, longestLifeMs: 5000 });
});
