import { receiveCommand } from '../stream-command.js';

/** Receives like `stream receive`, while the sentinel asks for it. */
export const command = receiveCommand({
  path: 'stream prefetch',
  summary: 'receive changes ahead of applying them',
});
