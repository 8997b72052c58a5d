/**
 * One line at the bottom of a terminal that is written over and over. Log lines call `hide` before they are written,
 * so that the two never share a line. On anything but a terminal it does nothing: a file wants no progress.
 */

export interface ProgressLine {
  /** Shows this text, or keeps it for later when the last one was shown a moment ago. Cheap enough for hot loops. */
  show(text: string): void;
  /** Takes the line away until the next `show`: before a log line, before output, at the end. */
  hide(): void;
}

/** What a terminal can do, as far as it is needed here: process.stderr fits. */
export type Terminal = {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
};

/** People read no faster, and writing to a terminal is not free. */
const intervalMs = 200;

/** Carriage return, then "erase to the end of the line" (ECMA-48 EL). */
const clear = '\r\u001b[K';

/** Makes the line of a terminal, or one that does nothing. */
export function makeProgressLine(
  terminal: Terminal,
  enabled: boolean,
  now = () => performance.now(),
): ProgressLine {
  if (terminal.isTTY !== true || !enabled) return { show: () => {}, hide: () => {} };
  let visible = false;
  let shownAt = -Infinity;
  return {
    show(text) {
      if (now() - shownAt < intervalMs) return;
      shownAt = now();
      // A line that wraps could not be taken back.
      const width = Math.max(10, (terminal.columns ?? 80) - 1);
      terminal.write(clear + Array.from(text).slice(0, width).join(''));
      visible = true;
    },
    hide() {
      if (!visible) return;
      visible = false;
      terminal.write(clear);
    },
  };
}
