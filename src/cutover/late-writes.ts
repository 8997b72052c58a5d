/**
 * The proof that nobody writes any more, by position: the slot itself is asked, without moving it, which transactions
 * changed rows and ended behind the end position. It knows exactly the tables that are followed, and needs no more
 * rights than following.
 *
 * It can be asked while nobody reads from the slot: the run that follows has left it at the end position.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StreamRecord } from '../catalog/stream.js';
import { Failure, throwIfStopped } from '../failure.js';
import { formatLsn, type Lsn } from '../model/lsn.js';
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { sqlState } from '../postgres/sqlstate.js';

/** What was found behind the end position. */
export type LateWrites = {
  readonly transactions: number;
  readonly changes: number;
  /** Some of the tables, as far as the plugin names them. */
  readonly tables: readonly string[];
};

/** `is_change` and `named` say of a peeked row whether it is a change of a row, and of which table. */
type Dialect = { readonly peek: string; readonly isChange: string; readonly named: string };

function dialectOf(stream: StreamRecord): Dialect {
  const peek = (kind: '' | 'binary_', options: string) =>
    `pg_catalog.pg_logical_slot_peek_${kind}changes(${quoteLiteral(stream.slot)}, $2::pg_catalog.pg_lsn, null${options})`;
  switch (stream.plugin) {
    case 'pgoutput':
      return {
        peek: peek(
          'binary_',
          `, 'proto_version', '1', 'publication_names', ${quoteLiteral(stream.publications.map(quoteIdentifier).join(','))}`,
        ),
        // https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html: I, U, D, T.
        isChange: 'pg_catalog.get_byte(data, 0) in (73, 85, 68, 84)',
        // R: 'R', oid, schema, 0, name, 0.
        named: `case when pg_catalog.get_byte(data, 0) = 82 then
            pg_catalog.encode(pg_catalog.substr(data, 6, 128), 'escape') end`,
      };
    case 'test_decoding':
      return {
        peek: peek('', ''),
        isChange: `data like 'table %'`,
        named: `pg_catalog.substring(data, '^table (.*?): [A-Z]')`,
      };
    case 'wal2json':
      return {
        peek: peek('', `, 'format-version', '2'`),
        isChange: `data ~ '^\\{"action":"[IUDT]"'`,
        named: `case when data ~ '^\\{"action":"[IUDT]"' then data::json->>'schema' || '.' || (data::json->>'table') end`,
      };
  }
}

/** A transaction's last row stands at its end. */
function lateQuery({ peek, isChange, named }: Dialect): string {
  return `
    with peeked as materialized (
      select lsn, xid::text as xid, ${isChange} as is_change, ${named} as named from ${peek}
    ), late as (
      select xid from peeked group by xid having max(lsn) > $1::pg_catalog.pg_lsn and bool_or(is_change)
    )
    select (select count(*) from late)::text as transactions,
           (select count(*) from peeked join late using (xid) where is_change)::text as changes,
           (select coalesce(pg_catalog.json_agg(distinct named), '[]')::text
              from peeked join late using (xid) where named is not null) as tables`;
}

/**
 * A message, and where it ends. Asked without an end, the slot reads up to the last byte that is on disk, which may be
 * in the middle of a record: it then waits for the rest, for as long as nobody else writes (15 seconds, until the next
 * checkpoint's or background writer's record). The message's end is the end of a record, and on disk with its commit.
 */
const flushLocally = 'set synchronous_commit = local';
const emitEnd = `select pg_catalog.pg_logical_emit_message(true, 'walferry', 'quiet')::text as lsn`;

/** The receiver closes its connection at the end position; its walsender takes a moment to notice. */
const busyForMs = 10_000;
const lookEveryMs = 20;

/** Asks the slot. Throws what the server says; `slot-busy` when somebody reads from it all the time. */
export async function fetchLateWrites(
  session: Session,
  stream: StreamRecord,
  endpos: Lsn,
  signal: AbortSignal,
): Promise<LateWrites> {
  const query = lateQuery(dialectOf(stream));
  await session.query(flushLocally);
  const [end] = await session.query(emitEnd, [], 'could not look for late writes');
  const values = [formatLsn(endpos), end?.['lsn'] ?? ''];
  const until = Date.now() + busyForMs;
  for (;;) {
    throwIfStopped(signal);
    try {
      const [row] = await session.query(query, values, 'could not look for late writes');
      return {
        transactions: Number(row?.['transactions'] ?? 0),
        changes: Number(row?.['changes'] ?? 0),
        tables: (JSON.parse(row?.['tables'] ?? '[]') as string[]).map(tableName),
      };
    } catch (error) {
      if (sqlState(error) !== '55006' || Date.now() > until) throw error;
      await sleep(lookEveryMs);
    }
  }
}

/** pgoutput: `schema\\000name\\000…`, as `encode(…, 'escape')` prints it. */
function tableName(named: string): string {
  const [schema, name] = named.split('\\000');
  return name === undefined ? named : `${schema}.${name}`;
}

/** Says what was written although nothing should have been; null when nothing was. */
export function lateWritesFailure(
  { transactions, changes, tables }: LateWrites,
  endpos: Lsn,
): Failure | null {
  if (transactions === 0) return null;
  const where =
    tables.length === 0 ? '' : ` in ${tables.slice(0, 5).join(', ')}${tables.length > 5 ? ', …' : ''}`;
  return new Failure(
    'cutover-failed',
    `somebody wrote to the source behind the end position ${formatLsn(endpos)}: ` +
      `${transactions} ${transactions === 1 ? 'transaction' : 'transactions'}, ${changes} changed rows${where}`,
    {
      remedy:
        'Find out who still writes (a superuser, the owner of the tables, a session that says `set transaction read write`), stop it, and cut over again.',
    },
  );
}
