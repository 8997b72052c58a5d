/** Sizes in words. */

const sizeUnits = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** Bytes the way the server and the peer print them: divided by 1024 while there are 10240 or more. */
export function prettySize(bytes: number): string {
  let count = bytes;
  let unit = 0;
  while (count >= 10_240 && unit < sizeUnits.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${Math.floor(count)} ${sizeUnits[unit]}`;
}
