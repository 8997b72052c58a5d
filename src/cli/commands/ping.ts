import { asFailure, Failure, isStop, type Side } from '../../failure.js';
import type { Command, CommandContext } from '../command.js';

/** Connects to both sides at the same time and says what answered. */
export const command: Command = {
  path: 'ping',
  group: 'P',
  summary: 'try to connect to the source and the target',
  options: ['source', 'target'],
  needs: ['source', 'target'],
  run: async (context) => {
    const results = await Promise.allSettled([pingSide('source', context), pingSide('target', context)]);
    const failures = results.flatMap((result) =>
      result.status === 'rejected' ? [asFailure(result.reason)] : [],
    );
    const stop = failures.find(isStop);
    if (stop !== undefined) throw stop;
    const [only] = failures;
    if (only === undefined) return;
    for (const failure of failures) {
      context.log.error(failure.message, { code: failure.code });
      if (failure.remedy !== '') context.log.error(failure.remedy, { code: failure.code });
    }
    throw new Failure('ping-failed', 'not both sides can be used', { cause: only });
  },
};

async function pingSide(side: Side, context: CommandContext): Promise<void> {
  const { connect } = await import('../../postgres/connect.js');
  const { describeConninfo } = await import('../../postgres/connection-string.js');
  const { log, signal } = context;
  const conninfo = side === 'source' ? context.source() : context.target();
  await using session = await connect(conninfo, { side, applicationName: 'walferry ping', signal, log });
  const [row] = await session.query('select version() as version');
  log.info(`the ${side} answers: ${describeConninfo(conninfo)}: ${row?.['version'] ?? ''}`);
}
