/** pg_dump and pg_restore, found and run: the same server as our own connections, and no secret in sight. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { asFailure } from '../../src/failure.js';
import { silentLog, type Log } from '../../src/log.js';
import { clientToolFailure, locateClientTools, runClientTool } from '../../src/postgres/client-tools.js';
import { readConninfo, withDatabase } from '../../src/postgres/connection-string.js';
import { sharedServer } from '../support/clusters.js';
import { createDatabase } from '../support/databases.js';
import { until } from '../support/until.js';

const environment = { HOME: '/nonexistent' };
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'walferry-tools-'));
});
afterEach(() => rm(directory, { recursive: true }));

/** Three programs that are the same shell script. */
async function fakeTools(script: string): Promise<{ directory: string; version: number }> {
  for (const tool of ['pg_dump', 'pg_restore', 'pg_dumpall', 'pg_config']) {
    await writeFile(path.join(directory, tool), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    await chmod(path.join(directory, tool), 0o755);
  }
  return { directory, version: 0 };
}

function keeping(): Log & { lines: string[] } {
  const lines: string[] = [];
  const at = (level: string) => (message: string) => void lines.push(`${level} ${message}`);
  return {
    lines,
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    notice: at('notice'),
    debug: at('debug'),
  };
}

describe('the client programs', () => {
  test('are found here, in a version that does for the server', async () => {
    const tools = await locateClientTools({ serverVersion: 150_020 });
    expect(tools.version).toBeGreaterThanOrEqual(150_000);
  });

  test('are those of PG_CONFIG, and no others', async () => {
    await fakeTools(`[ "$1" = --bindir ] && echo '${directory}' || echo 'pg_dump (PostgreSQL) 13.4'`);
    const withConfig = { ...process.env, PG_CONFIG: path.join(directory, 'pg_config') };
    expect(await locateClientTools({ serverVersion: 130_000, environment: withConfig })).toEqual({
      directory,
      version: 130_000,
    });
    const old = asFailure(
      await locateClientTools({ serverVersion: 150_020, environment: withConfig }).catch(asFailure),
    );
    expect(old.code).toBe('client-tools-old');
    expect(old.message).toBe(`pg_dump in ${directory} is version 13, and the source server is version 15`);
    const missing = { ...process.env, PG_CONFIG: '/nonexistent/pg_config' };
    expect(
      await locateClientTools({ serverVersion: 0, environment: missing }).catch(asFailure),
    ).toMatchObject({ code: 'client-tools-missing' });
  });

  test('on PATH are passed over when they are too old for the server', async () => {
    await fakeTools(`echo 'pg_dump (PostgreSQL) 9.6.1'`);
    const first = { PATH: `${directory}${path.delimiter}${process.env['PATH']}` };
    expect(await locateClientTools({ serverVersion: 0, environment: first })).toEqual({
      directory,
      version: 90_000,
    });
    expect((await locateClientTools({ serverVersion: 150_000, environment: first })).directory).not.toBe(
      directory,
    );
  });
});

describe('a run', () => {
  test('meets the server of the connection over TLS, whatever the variables of this process say', async ({
    onTestFinished,
  }) => {
    const saved = { ...process.env };
    onTestFinished(() => void (process.env = saved));
    Object.assign(process.env, {
      PGHOST: '/nonexistent',
      PGPASSWORD: 'wrong',
      PGDATABASE: 'wrong',
      PGSSLMODE: 'disable',
      PGOPTIONS: '-c geqo=off',
    });
    await using database = await createDatabase('source');
    await database.sqlAsOwner('create table t (id int)');
    const conninfo = readConninfo(`${database.neonUri}&channel_binding=require`, environment);
    const result = await runClientTool({
      tool: 'pg_dump',
      args: ['--schema-only'],
      conninfo,
      log: silentLog,
    });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toMatch(/CREATE TABLE public\.t/);
    const file = path.join(directory, 'dump');
    await runClientTool({
      tool: 'pg_dump',
      args: ['--format=custom', `--file=${file}`],
      conninfo,
      log: silentLog,
    });
    const list = await runClientTool({ tool: 'pg_restore', args: ['--list', file], log: silentLog });
    expect(list.stdout).toMatch(/TABLE public t/);
    await using target = await createDatabase('target');
    const restored = await runClientTool({
      tool: 'pg_restore',
      args: ['--no-owner', file],
      conninfo: readConninfo(target.neonUri, environment),
      log: silentLog,
    });
    expect(restored.code).toBe(0);
    expect(await target.sql('select count(*)::text from t')).toEqual([{ count: '0' }]);
  });

  test('takes a database whose name looks like a connection string as a name', async () => {
    const { address } = sharedServer('source');
    const conninfo = withDatabase(
      readConninfo(
        `host=127.0.0.1 port=${address.port} user=postgres password=${address.password}`,
        environment,
      ),
      `it's a=\\ postgres://x`,
    );
    const result = await runClientTool({ tool: 'pg_dump', args: [], conninfo, log: silentLog });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(`database "it's a=\\ postgres://x" does not exist`);
  });

  test('that fails says so with its last error line, and without the password', async () => {
    const { port } = sharedServer('source').address;
    const conninfo = readConninfo(
      `host=127.0.0.1 port=${port} user=postgres password=canary dbname=postgres`,
      environment,
    );
    const log = keeping();
    const result = await runClientTool({ tool: 'pg_dump', args: [], conninfo, side: 'source', log });
    const failure = clientToolFailure('pg_dump', result, 'source');
    expect(failure.code).toBe('client-tool-failed');
    expect(failure.message).toMatch(
      /^pg_dump on the source ended with status 1: .*password authentication failed/,
    );
    expect(log.lines[0]).toMatch(/^error pg_dump: error: /);
    expect(failure.message + log.lines.join('\n')).not.toContain('canary');
  });

  test('gets no secret in its arguments', async () => {
    const seen = path.join(directory, 'seen');
    const tools = await fakeTools(
      `printf '%s\\n' "$@" > '${seen}'; printf '%s' "$PGPASSWORD" > '${seen}.password'`,
    );
    const conninfo = readConninfo('host=h user=u password=canary dbname=d keepalives_count=6', environment);
    await runClientTool({ tool: 'pg_dump', args: ['--schema-only'], conninfo, tools, log: silentLog });
    expect(await readFile(seen, 'utf8')).toBe(
      "--no-password\n--dbname=dbname='d' keepalives='1' keepalives_idle='10' keepalives_count='6'\n--schema-only\n",
    );
    expect(await readFile(`${seen}.password`, 'utf8')).toBe('canary');
  });

  test('brings its words to the log by their kind, and no more of a failed statement than its beginning', async () => {
    const tools = await fakeTools(`cat >&2 <<'END'
pg_restore: connecting to database for restore
pg_restore: warning: careful
pg_restore: error: could not execute query: ERROR:  no
pg_restore: detail: more
Command was: CREATE USER MAPPING FOR u SERVER s OPTIONS (password 'canary');
second line canary
pg_restore: creating TABLE
END
exit 1`);
    const log = keeping();
    const result = await runClientTool({ tool: 'pg_restore', args: [], tools, log });
    expect(log.lines).toEqual([
      'debug pg_restore: connecting to database for restore',
      'warn pg_restore: warning: careful',
      'error pg_restore: error: could not execute query: ERROR:  no',
      'error pg_restore: detail: more',
      'error pg_restore: Command was: CREATE USER MAPPING FOR u SERVER s OPTIONS (password …',
      'debug pg_restore: creating TABLE',
    ]);
    expect(result.code).toBe(1);
    const quiet = keeping();
    await runClientTool({ tool: 'pg_restore', args: [], tools, log: quiet, errorsAs: 'notice' });
    expect(quiet.lines.filter((line) => /^(?:error|warn)/.test(line))).toEqual([]);
  });

  test('is ended when asked to stop', async () => {
    const tools = await fakeTools(`touch '${directory}/started'; exec sleep 60`);
    const controller = new AbortController();
    const running = runClientTool({
      tool: 'pg_dump',
      args: [],
      tools,
      log: silentLog,
      signal: controller.signal,
    }).catch(asFailure);
    await until(
      'it runs',
      async () => (await readFile(path.join(directory, 'started')).catch(() => null)) !== null,
    );
    controller.abort();
    expect(await running).toMatchObject({ code: 'stopped' });
  });

  test('of a program that is not there is a failure', async () => {
    const tools = { directory: '/nonexistent', version: 0 };
    const failure = await runClientTool({ tool: 'pg_dump', args: [], tools, log: silentLog }).catch(
      asFailure,
    );
    expect(failure).toMatchObject({ code: 'client-tools-missing' });
  });
});
