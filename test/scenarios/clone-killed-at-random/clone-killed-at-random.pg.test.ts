import { test } from 'vitest';
import { killCloneAgainAndAgain } from './kills.js';

test(
  'a clone killed 4 times at random moments is complete, and no row of it was copied twice',
  { retry: 0 },
  async () => {
    await killCloneAgainAndAgain({ kills: 4, tables: 12, longestLifeMs: 2000 });
  },
);
