/** What a library call tells while it runs. */
import type { CloneProgress } from '../clone/options.js';
import type { CompareProgress } from '../compare/options.js';
import type { FollowProgress } from '../follow/stream-run.js';
import type { Log, LogFields } from '../log.js';

export type LogEvent = {
  readonly kind: 'log';
  readonly level: 'error' | 'warn' | 'info' | 'notice' | 'debug';
  /** One sentence. Never a password, never a row's values. */
  readonly message: string;
  readonly fields: LogFields;
};

/** Told as things happen, one at a time and in their order; progress not more often than a few times a second. */
export type WalferryEvent =
  | LogEvent
  | { readonly kind: 'clone-progress'; readonly progress: CloneProgress }
  | { readonly kind: 'compare-progress'; readonly progress: CompareProgress }
  | { readonly kind: 'follow-progress'; readonly progress: FollowProgress };

export type Listener = (event: WalferryEvent) => void;

/** A log whose lines are events. */
export function eventLog(tell: Listener): Log {
  const line = (level: LogEvent['level']) => (message: string, fields?: LogFields) =>
    tell({ kind: 'log', level, message, fields: fields ?? {} });
  return {
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    notice: line('notice'),
    debug: line('debug'),
  };
}
