import { test } from 'vitest';
import { cutoverPoints, killAndAbort, killAndResume, openPoints } from './kills.js';

test('killed anywhere before the target is open, --abort has everything go on', async () => {
  await killAndAbort(cutoverPoints.filter((point) => !openPoints.includes(point)));
});

test.each(cutoverPoints)('killed at %s, --resume completes it', killAndResume);
