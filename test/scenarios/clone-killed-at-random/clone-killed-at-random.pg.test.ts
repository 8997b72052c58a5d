import { test } from 'vitest';
import { killCloneAgainAndAgain } from './kills.js';

test(
  'a clone killed again and again at random moments is complete, and no row of it was copied twice',
  { retry: 0 },
  async () => {
    await killCloneAgainAndAgain({ kills: 4, tables: 12, longestLifeMs: 1500 });
  },
);
