/** What `check` prints: lines by theme for people, everything for programs. Pure. */
import type { CheckReport } from './check.js';
import { countVerdicts, themeOf, themes, type Finding, type Theme, type Verdict } from './finding.js';

/** What the output is printed on. */
export type Paper = {
  readonly columns: number;
  readonly colours: boolean;
};

const themeTitles: Readonly<Record<Theme, string>> = {
  connections: 'Connections',
  source: 'Source',
  stream: 'Stream (--follow)',
  target: 'Target',
  objects: 'What is copied',
  room: 'Room and time',
};

const words: Readonly<Record<Verdict, string>> = { pass: 'PASS', warn: 'WARN', fail: 'FAIL' };

const colours: Readonly<Record<Verdict | 'title' | 'remedy', string>> = {
  pass: '\u001b[32m',
  warn: '\u001b[33m',
  fail: '\u001b[1;31m',
  title: '\u001b[1m',
  remedy: '\u001b[36m',
};
const plain = '\u001b[0m';

const longestLine = 120;
const verdictWidth = 8;

/** The lines, and what failed once more at the end: that is what stays on the screen. */
export function checkText(report: CheckReport, paper: Paper): string {
  const { findings } = report;
  const titleWidth = Math.max(...findings.map(({ title }) => title.length)) + 2;
  const print = new Printer({ ...paper, columns: Math.min(paper.columns, longestLine) });
  const sections = themes.flatMap((theme) => {
    const own = findings.filter((one) => themeOf(one) === theme);
    if (own.length === 0) return [];
    const lines = own.flatMap((one) => print.finding(one, titleWidth));
    return [[print.paint('title', themeTitles[theme]), ...lines].join('\n')];
  });
  const head = [`source  ${report.source}`, `target  ${report.target}`].join('\n');
  return `${[head, ...sections, summary(report, print)].join('\n\n')}\n`;
}

function summary({ findings, follow }: CheckReport, print: Printer): string {
  const counts = countVerdicts(findings);
  const failed = findings.filter(({ verdict }) => verdict === 'fail');
  const rest = `${counts.warn} WARN, ${counts.pass} PASS`;
  const run = follow ? 'clone --follow' : 'clone';
  if (failed.length === 0) {
    const care = counts.warn === 0 ? '' : ': read the warnings first';
    return `${print.paint('pass', `0 FAIL, ${rest}`)}  ${run} can begin${care}`;
  }
  return [
    `${print.paint('fail', `${counts.fail} FAIL`)}, ${rest}  ${run} would end with:`,
    ...failed.flatMap((one) => print.failure(one)),
  ].join('\n');
}

class Printer {
  readonly #paper: Paper;

  constructor(paper: Paper) {
    this.#paper = paper;
  }

  paint(colour: keyof typeof colours, text: string): string {
    return this.#paper.colours ? `${colours[colour]}${text}${plain}` : text;
  }

  /** One line, wrapped; a failure's reason stands in the summary. */
  finding({ verdict, title, reason, remedy }: Finding, titleWidth: number): string[] {
    const lead = `  ${this.paint(verdict, words[verdict])}  ${title.padEnd(titleWidth)}`;
    const indent = ' '.repeat(verdictWidth + titleWidth);
    if (verdict === 'fail') return [`${lead}see below`];
    const lines = this.#wrap(reason, indent.length);
    const remedies = remedy === null ? [] : this.#remedy(remedy, indent);
    return [`${lead}${lines[0] ?? ''}`, ...lines.slice(1).map((line) => indent + line), ...remedies];
  }

  failure({ id, title, reason, remedy }: Finding): string[] {
    const indent = ' '.repeat(verdictWidth);
    const [theme] = id.split('.');
    const side = theme === title ? '' : ` (${theme})`;
    return [
      '',
      `  ${this.paint('fail', 'FAIL')}  ${this.paint('title', title)}${side}`,
      ...withoutSide(reason)
        .split('\n')
        .flatMap((line) => this.#wrap(line, indent.length))
        .map((line) => indent + line),
      ...(remedy === null ? [] : this.#remedy(remedy, indent)),
    ];
  }

  #remedy(text: string, indent: string): string[] {
    const lines = text.split('\n').flatMap((line) => this.#wrap(line, indent.length + 2));
    return lines.map((line, at) => `${indent}${this.paint('remedy', `${at === 0 ? '→' : ' '} ${line}`)}`);
  }

  #wrap(text: string, taken: number): string[] {
    const width = Math.max(30, this.#paper.columns - taken);
    const lines: string[] = [];
    let line = '';
    for (const word of text.split(' ')) {
      if (line !== '' && Array.from(line).length + 1 + Array.from(word).length > width) {
        lines.push(line);
        line = word;
      } else {
        line = line === '' ? word : `${line} ${word}`;
      }
    }
    return [...lines, line];
  }
}

/** The group says which side it is. */
function withoutSide(reason: string): string {
  return reason.replace(/^(?:source|target): /, '');
}

/** `{verdict, counts, source, target, follow, findings, measured}`: docs/check.md describes it. */
export function checkJson({ findings, measured, source, target, follow }: CheckReport): string {
  const counts = countVerdicts(findings);
  const verdict: Verdict = counts.fail > 0 ? 'fail' : counts.warn > 0 ? 'warn' : 'pass';
  return `${JSON.stringify({ verdict, counts, source, target, follow, findings, measured }, null, 2)}\n`;
}
