import { test } from 'vitest';
import { killAgainAndAgain } from './kills.js';

test(
  'killed 10 times at random moments under load, it loses nothing and doubles nothing',
  { retry: 0 },
  async () => {
    await killAgainAndAgain({ kills: 10, clients: 2, pauseMs: 2, longestLifeMs: 1200 });
  },
);
