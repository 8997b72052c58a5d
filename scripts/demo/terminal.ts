/** Calm output: numbered steps, what a user would type after a `$`, and what the programs say, indented. */

const colours = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '';

function paint(code: string, text: string): string {
  return colours ? `\u001b[${code}m${text}\u001b[0m` : text;
}

export const bold = (text: string) => paint('1', text);
export const dim = (text: string) => paint('2', text);

let steps = 0;

/** Begins a part of the story. */
export function step(text: string): void {
  steps += 1;
  console.log(`\n${bold(`${steps}. ${text}`)}`);
}

/** A fact below a step. */
export function say(text: string): void {
  console.log(`   ${text}`);
}

/** What a user types. */
export function typed(command: string): void {
  console.log(`   ${bold(`$ ${command}`)}`);
}

/** What a program printed. */
export function quoted(text: string): void {
  for (const line of text.replace(/\n+$/, '').split('\n')) console.log(dim(`   │ ${line}`.trimEnd()));
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  let left = value;
  let unit = 0;
  while (left >= 10_240 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${Math.round(left)} ${units[unit]}`;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
