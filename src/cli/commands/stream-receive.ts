import { receiveCommand } from '../stream-command.js';

/** Slot to journal, nothing else. */
export const command = receiveCommand({
  path: 'stream receive',
  summary: 'receive changes into transform files until the end position',
});
