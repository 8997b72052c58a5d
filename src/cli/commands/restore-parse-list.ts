import { Failure, systemReason } from '../../failure.js';
import type { Command } from '../command.js';

/** For tests and for the curious: how walferry reads a dump's table of contents, and what it makes of it. */
export const command: Command = {
  path: 'restore parse-list',
  group: 'R',
  summary: 'write what pg_restore is given as lists; or print such a list as read',
  options: ['dir'],
  arguments: [{ name: 'file', kind: 'text', required: false }],
  needs: [],
  run: async (context) => {
    const { settings, log, stdout } = context;
    const { listLine, writeRestoreLists } = await import('../../clone/restore-lists.js');
    const [file] = context.arguments;
    if (file === undefined) {
      for (const path of await writeRestoreLists(settings.directory)) log.info(`wrote ${path}`);
      return;
    }
    const { readFile } = await import('node:fs/promises');
    const { readDumpList } = await import('../../postgres/dump.js');
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      throw new Failure('usage', `${file} cannot be read${systemReason(error)}`, { cause: error });
    });
    await stdout(
      readDumpList(text)
        .map((entry) => `${listLine(entry)}\n`)
        .join(''),
    );
  },
};
