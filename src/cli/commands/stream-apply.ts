import { Failure } from '../../failure.js';
import type { Command } from '../command.js';
import { runStreamPart } from '../stream-command.js';

/** Journal to target; with `--target -` SQL on stdout instead. */
export const command: Command = {
  path: 'stream apply',
  group: 'T',
  summary: 'apply transform files to the target (--target - prints SQL)',
  options: [
    'source',
    'target',
    'dir',
    'resume',
    'origin',
    'endpos',
    'from-stdin',
    'max-journal-size',
    'monitor',
    'host',
    'port',
  ],
  arguments: [{ name: '-', kind: 'text', required: false }],
  needs: ['target'],
  run: async (context) => {
    const { settings, signal } = context;
    const [input] = context.arguments;
    if (input !== undefined && input !== '-') {
      throw new Failure('usage', `stream apply takes "-", for standard input, and not "${input}"`, {
        remedy: 'It applies the transform files of --dir.',
      });
    }
    const fromStdin = input === '-' || settings.fromStdin;
    if (settings.target === '-') {
      const { printJournal, printTransformInput } = await import('../../follow/print-stream.js');
      if (fromStdin) await printTransformInput(process.stdin, context.stdout, signal);
      else await printJournal(settings.journalDirectory, context.stdout, signal);
      return;
    }
    await runStreamPart(['target'], context, fromStdin ? { input: process.stdin } : {});
  },
};
