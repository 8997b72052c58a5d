import { readFileSync } from 'node:fs';

/** The most memory that the process has had resident, in megabytes; null once it is gone (or where Linux is not). */
function peakMegabytes(pid: number): number | null {
  try {
    const kilobytes = /VmHWM:\s*(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? null : Math.round(Number(kilobytes) / 1024);
  } catch {
    return null;
  }
}

/** Looks at a process until it is disposed of. */
export class MemoryWatch implements Disposable {
  /** 0 where the system does not tell. */
  peak = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number) {
    this.#timer = setInterval(() => {
      this.peak = Math.max(this.peak, peakMegabytes(pid) ?? 0);
    }, 50);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
