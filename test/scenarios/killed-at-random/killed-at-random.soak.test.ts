import { test } from 'vitest';
import { killAgainAndAgain } from './kills.js';

test('killed 30 times at random moments under heavy load, it loses nothing and doubles nothing', async () => {
  await killAgainAndAgain({ kills: 30, clients: 6, pauseMs: 0, longestLifeMs: 5000 });
});
