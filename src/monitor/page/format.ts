/** Numbers for people: the same in the terminal, in sentences and on the page. Pure; runs in the browser too. */

/** `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`. */
export function formatSeconds(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** A forecast, which is never exact: `a few seconds`, `about 40 s`, `about 4 min`, `about 2 h`, `about 3 days`. */
export function formatAbout(seconds: number): string {
  if (seconds < 5) return 'a few seconds';
  if (seconds < 90) return `about ${Math.round(seconds / 5) * 5} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `about ${Math.round(seconds / 3600)} h`;
  return `about ${Math.round(seconds / 86_400)} days`;
}

const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `0 B`, `812 kB`, `1.4 MB`, `63 GB`: powers of 1024, as Postgres means them. */
export function formatBytes(bytes: number): string {
  let count = Math.max(0, bytes);
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || count >= 10 ? 0 : 1;
  return `${count.toFixed(digits)} ${units[unit]}`;
}

/** Whole numbers with narrow gaps: `1,204`. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** `63 %`; never 100 before all is done. */
export function formatShare(done: number, total: number): string {
  return `${sharePercent(done, total)} %`;
}

/** 0 to 100; 100 only when all is done. */
export function sharePercent(done: number, total: number): number {
  if (total <= 0) return done > 0 ? 99 : 0;
  return done >= total ? 100 : Math.min(99, Math.floor((done / total) * 100));
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
