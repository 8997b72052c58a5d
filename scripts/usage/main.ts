/**
 * `npm run usage`: writes what is generated: docs/failures.md from src/failure.ts; in README.md the part between
 * `<!-- usage:begin -->` and `<!-- usage:end -->` from `walferry --help`; the linter's layer rules from their table.
 * With --check nothing is written, and it fails when something is out of date.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { lintOverrides } from '../../test/support/layers.js';
import { failuresPage } from './failures.js';

const begin = '<!-- usage:begin -->';
const end = '<!-- usage:end -->';

function main(): number {
  const check = process.argv.includes('--check');
  const wanted = new Map([
    ['docs/failures.md', failuresPage(readFileSync('src/failure.ts', 'utf8'))],
    ['.oxlintrc.json', withLayers(readFileSync('.oxlintrc.json', 'utf8'))],
  ]);
  const readme = existsSync('README.md') ? readFileSync('README.md', 'utf8') : '';
  if (readme.includes(begin)) wanted.set('README.md', withUsage(readme));

  const stale = [...wanted].filter(
    ([file, text]) => !existsSync(file) || readFileSync(file, 'utf8') !== text,
  );
  for (const [file, text] of stale) {
    if (!check) writeFileSync(file, text);
    console.log(check ? `${file} is out of date: run \`npm run usage\`` : `${file} written`);
  }
  return check && stale.length > 0 ? 1 : 0;
}

/** The text as it is when it says the same already: the formatter lays it out. */
function withLayers(text: string): string {
  const configuration = JSON.parse(text) as { overrides: { rules: object }[] };
  const others = configuration.overrides.filter(({ rules }) => !('no-restricted-imports' in rules));
  const overrides = [...others, ...lintOverrides()];
  if (isDeepStrictEqual(configuration.overrides, overrides)) return text;
  return `${JSON.stringify({ ...configuration, overrides }, null, 2)}\n`;
}

function withUsage(readme: string): string {
  const start = readme.indexOf(begin) + begin.length;
  const stop = readme.indexOf(end, start);
  if (stop < 0) throw new Error(`README.md has ${begin} without ${end}`);
  // Not a terminal: the help is 80 columns wide wherever it is printed.
  const help = execFileSync(process.execPath, ['dist/src/cli/main.js', '--help'], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  return `${readme.slice(0, start)}\n\n\`\`\`\n${help.trim()}\n\`\`\`\n\n${readme.slice(stop)}`;
}

process.exitCode = main();
