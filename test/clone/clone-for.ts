/** A clone between two test databases, with the snapshot held by the test. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { closeCatalog, openCatalog } from '../../src/catalog/database.js';
import { cloneDatabase } from '../../src/clone/clone.js';
import type { CloneOptions } from '../../src/clone/options.js';
import type { CloneSummary } from '../../src/clone/summary.js';
import type { Failpoint } from '../../src/failpoint.js';
import type { Log } from '../../src/log.js';
import { connect } from '../../src/postgres/connect.js';
import type { Session } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { exportSnapshot } from '../../src/postgres/snapshot.js';
import { repository } from '../support/build.js';
import type { TestDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';

export type CloneFor = AsyncDisposable & {
  readonly options: CloneOptions;
  /** Lines of level warn and error. */
  readonly said: string[];
  /** Holds the snapshot. */
  readonly holder: Session;
  clone(changes?: Partial<CloneOptions>): Promise<CloneSummary>;
  /** Clones in a process of its own, which dies at the failpoint; resolves with the signal that ended it. */
  cloneAndDie(at: `${Failpoint}:${number}`, changes?: Partial<CloneOptions>): Promise<string>;
};

export async function cloneFor(
  source: TestDatabase,
  target: TestDatabase,
  choices: { readonly as?: 'superuser' | 'owner'; readonly snapshot?: string } = {},
): Promise<CloneFor> {
  const uri = (database: TestDatabase) => (choices.as === 'owner' ? database.neonUri : database.uri);
  const sourceConninfo = readConninfo(uri(source), {});
  const holder = await connect(sourceConninfo, { side: 'source', applicationName: 'test' });
  const snapshot = choices.snapshot ?? (await exportSnapshot(holder));
  const directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path);
  const said: string[] = [];
  const log: Log = {
    error: (message) => said.push(`error ${message}`),
    warn: (message) => said.push(`warn ${message}`),
    info: () => {},
    notice: () => {},
    debug: () => {},
  };
  const options: CloneOptions = {
    source: sourceConninfo,
    target: readConninfo(uri(target), {}),
    key: { stream: 'walferry', systemIdentifier: '1', database: source.name },
    snapshot,
    catalog,
    directory: directory.path,
    jobs: { table: 3, index: 2, restore: 2 },
    follow: false,
    noOwner: choices.as === 'owner',
    noAcl: false,
    noComments: false,
    noTablespaces: false,
    dropIfExists: false,
    skipVacuum: false,
    failFast: false,
    resume: false,
    leaveOut: { publications: [] },
    log,
  };
  return {
    options,
    said,
    holder,
    clone: (changes = {}) => cloneDatabase({ ...options, ...changes }),
    cloneAndDie: (at, changes = {}) =>
      runChild({ ...options, ...changes }, { source: uri(source), target: uri(target) }, at),
    [Symbol.asyncDispose]: async () => {
      await holder.close();
      closeCatalog(catalog);
      await directory[Symbol.asyncDispose]();
    },
  };
}

const childProgram = `
  const { built, options } = JSON.parse(process.env.CLONE);
  const { readConninfo } = await import(built + 'postgres/connection-string.js');
  const { openCatalog } = await import(built + 'catalog/database.js');
  const { cloneDatabase } = await import(built + 'clone/clone.js');
  const say = (message) => console.error(message);
  const log = { error: say, warn: say, info() {}, notice() {}, debug() {} };
  const source = readConninfo(options.source, {});
  const target = readConninfo(options.target, {});
  await cloneDatabase({ ...options, source, target, catalog: openCatalog(options.directory), log });
`;

async function runChild(
  options: CloneOptions,
  uris: { readonly source: string; readonly target: string },
  at: string,
): Promise<string> {
  const { catalog: _catalog, log: _log, ...plain } = options;
  const built = pathToFileURL(path.join(repository, 'dist/src/')).href;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', childProgram], {
    env: {
      PATH: process.env['PATH'],
      WALFERRY_FAILPOINT: at,
      CLONE: JSON.stringify({ built, options: { ...plain, ...uris } }),
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...ended) => resolve(ended)),
  );
  if (signal === null) throw new Error(`the clone ended with ${code} before ${at}: ${stderr}`);
  return signal;
}
