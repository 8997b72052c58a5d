import { Failure, systemReason } from '../../failure.js';
import type { Command } from '../command.js';

/** `-` and a missing second name are standard input and output. */
export const command: Command = {
  path: 'stream transform',
  group: 'T',
  summary: 'print a transform file as the SQL that apply would run',
  options: ['from-stdin'],
  arguments: [
    { name: 'in.json', kind: 'text', required: false },
    { name: 'out.sql', kind: 'text', required: false },
  ],
  needs: [],
  run: async ({ arguments: [given, output = '-'], settings, signal, stdout }) => {
    if (given === undefined && !settings.fromStdin) {
      throw new Failure('usage', 'stream transform takes a transform file, or "-" for standard input');
    }
    const input = given ?? '-';
    const { printTransformFile, printTransformInput } = await import('../../follow/print-stream.js');
    const print = async (write: (text: string) => Promise<void>) => {
      if (input === '-') await printTransformInput(process.stdin, write, signal);
      else await printTransformFile(input, write, signal);
    };
    if (output === '-') {
      await print(stdout);
      return;
    }
    const { open } = await import('node:fs/promises');
    const file = await open(output, 'w', 0o600).catch((error: unknown) => {
      throw new Failure('usage', `${output} cannot be written${systemReason(error)}`, { cause: error });
    });
    try {
      await print(async (text) => {
        await file.writeFile(text);
      });
    } finally {
      await file.close();
    }
  },
};
