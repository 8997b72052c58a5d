/**
 * One table's rows from server to server, inside of this process: pg-copy-streams' two streams in a pipe against our
 * splice of the frames (src/postgres/copy-exchange.ts), read by `data` events and in bulk. The client's CPU per GB is
 * what decides; the wall clock is the target's COPY in all three.
 */
import { pipeline } from 'node:stream/promises';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { joinCopy } from '../../src/postgres/copy.js';
import { timeHere, type Case } from './measure.js';
import { createDatabase, execute, expectEqual, type BenchServers } from './servers.js';

export const copyRows = 1_000_000;

const table = `
  create table line (id int, customer int, amount numeric(10, 2), noted timestamp, remark text)`;
const fill = `
  insert into line select i, i % 9973, i % 100000 / 100.0, timestamp '2026-01-01' + i * interval '1 second',
    'remark ' || repeat(chr(97 + i % 26), 20 + i % 40) from generate_series(1, ${copyRows}) i`;

export async function copyCases({ source, target }: BenchServers): Promise<readonly Case[]> {
  const sourceUri = source.uri({ database: await createDatabase(source, 'copy') });
  const targetUri = target.uri({ database: await createDatabase(target, 'copy') });
  await execute(sourceUri, table, fill, 'vacuum freeze analyze line');
  await execute(targetUri, table);
  const between = (
    name: string,
    { bulk = false, tls = false },
    copy: (sessions: Sessions) => Promise<unknown>,
  ): Case => ({
    name: `${name}${tls ? ', TLS' : ''}`,
    run: async () => {
      await execute(targetUri, 'truncate line', 'checkpoint');
      const options = { applicationName: 'bench', bulk } as const;
      const conninfo = (uri: string) => readConninfo(`${uri}?sslmode=${tls ? 'require' : 'disable'}`, {});
      await using from = await connect(conninfo(sourceUri), { ...options, side: 'source' });
      await using into = await connect(conninfo(targetUri), { ...options, side: 'target' });
      const sample = await timeHere(() => copy({ from, into }));
      await expectEqual({ sourceUri, targetUri });
      return sample;
    },
  });
  const splice = ({ from, into }: Sessions) =>
    joinCopy({
      source: from,
      copyOut: 'copy public.line to stdout',
      target: into,
      copyIn: 'copy public.line from stdin',
      label: 'line',
    });
  const streams = ({ from, into }: Sessions) =>
    pipeline(
      from.client.query(copyTo('copy public.line to stdout')),
      into.client.query(copyFrom('copy public.line from stdin')),
    );
  return [
    between('splice, bulk reads', { bulk: true }, splice),
    between('splice, data events', {}, splice),
    between('pg-copy-streams', {}, streams),
    between('splice', { tls: true }, splice),
    between('pg-copy-streams', { tls: true }, streams),
  ];
}

type Session = Awaited<ReturnType<typeof connect>>;
type Sessions = { readonly from: Session; readonly into: Session };
