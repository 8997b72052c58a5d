import { type FailureCode, failurePolicies } from '../../src/failure.js';

/** The manual entries: the doc comment above each code of the union, by code. */
export function readEntries(source: string): Map<string, string> {
  const union = /export type FailureCode =\n(.*?);\n/s.exec(source)?.[1];
  if (union === undefined) throw new Error('src/failure.ts: the union FailureCode was not found');
  const entries = new Map<string, string>();
  for (const [, comment, code] of union.matchAll(/\/\*\*(.*?)\*\/\s*\|\s*'([^']+)'/gs)) {
    const lines = (comment ?? '').split('\n').map((line) => line.replace(/^\s*\*?\s*/, '').trim());
    entries.set(code ?? '', lines.filter((line) => line !== '').join(' '));
  }
  return entries;
}

/** What an exit status means, over all codes that have it. */
const exitStatuses: Readonly<Record<number, string>> = {
  0: 'done',
  1: 'the command line, or the work directory, does not allow it',
  5: 'the PostgreSQL client programs',
  6: 'the source',
  7: 'the target',
  12: 'inside walferry, the work directory or its disk',
  20: 'known from pgcopydb, not built yet',
  21: 'the sides differ',
  22: 'stopped as asked, resumable',
  23: 'the slot is lost, was moved by somebody else, or its publication was altered',
  24: 'a transform file is damaged',
  25: 'the check found what would end the run',
};

/** The page docs/failures.md. */
export function failuresPage(source: string): string {
  const entries = readEntries(source);
  const codes = Object.keys(failurePolicies) as FailureCode[];
  const used = new Set<number>([0, ...codes.map((code) => failurePolicies[code].exit)]);
  const table = [...used]
    .toSorted((a, b) => a - b)
    .map((exit) => {
      const meaning = exitStatuses[exit];
      if (meaning === undefined)
        throw new Error(`exit status ${exit} has no meaning in scripts/usage/failures.ts`);
      const named = codes
        .filter((code) => failurePolicies[code].exit === exit)
        .map((code) => `[${code}](#${code})`);
      return `| ${exit} | ${meaning} | ${named.join(', ')} |`;
    });
  const sections = codes.map((code) => {
    const entry = entries.get(code);
    if (entry === undefined) throw new Error(`src/failure.ts: ${code} has no doc comment`);
    const { exit, retry, remedy } = failurePolicies[code];
    const again = retry
      ? 'trying again later can succeed'
      : 'trying again, with nothing changed, fails again';
    return [
      `## ${code}`,
      '',
      entry,
      '',
      `Exit status ${exit}; ${again}.`,
      ...(remedy === '' ? [] : ['', remedy]),
      '',
    ];
  });
  return [
    '<!-- Generated from src/failure.ts by `npm run usage`: do not edit. -->',
    '',
    '# What can go wrong',
    '',
    'Every failure has a code. It is printed with the message and stands in the log (`code`), and it decides the exit',
    'status. Where there is a remedy that holds in general, walferry prints it below the message.',
    '',
    '| exit status | what it is about | codes |',
    '|---|---|---|',
    ...table,
    '',
    ...sections.flat(),
  ].join('\n');
}
