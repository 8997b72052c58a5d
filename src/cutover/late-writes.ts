/**
 * The proof that nobody writes any more, by position: the transform files (taken-writes.ts) and then the slot itself are
 * asked, without moving it, which transactions changed rows and ended behind the end position. What they say of tables
 * that are not followed does not count. It needs no more rights than following.
 *
 * It can be asked while nobody reads from the slot: the run that follows has left it at the end position.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StreamRecord } from '../catalog/stream.js';
import { Failure, throwIfStopped } from '../failure.js';
import type { Keeps } from '../filter/scope.js';
import { formatLsn, type Lsn } from '../model/lsn.js';
import { ownPrefix } from '../model/message.js';
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import { relationLabel } from '../model/relation.js';
import type { Session, TextRow } from '../postgres/connect.js';
import { sqlState } from '../postgres/sqlstate.js';
import { readTakenWrites } from './taken-writes.js';

/** What was found behind the end position. */
export type LateWrites = {
  readonly transactions: number;
  readonly changes: number;
  /** Some of the tables, as far as the plugin names them. */
  readonly tables: readonly string[];
};

/** What a change or a description of a table says of itself. A plugin that describes names tables by a number elsewhere. */
type Dialect = {
  readonly peek: string;
  /** Whether it is a change of a row. */
  readonly isChange: string;
  /** Which table, as the plugin tells tables apart. */
  readonly relation: string;
  /** The table's name, where this row has it. */
  readonly named: string;
  readonly readNames: (named: string) => readonly TableName[];
};

export type TableName = { readonly schema: string; readonly name: string };

/** What is asked of the stream. */
export type PeekedStream = Pick<StreamRecord, 'slot' | 'plugin' | 'publications'>;

const word = '(?:"(?:[^"]|"")*"|[^".:, ]+)';

function dialectOf(stream: PeekedStream): Dialect {
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
        // The oid stands behind the letter; of a truncate (T) behind a number and a byte, where it is of one table.
        relation: `case when pg_catalog.get_byte(data, 0) <> 84 then pg_catalog.substr(data, 2, 4)
            when pg_catalog.substr(data, 2, 4) = '\\x00000001' then pg_catalog.substr(data, 7, 4) end`,
        // R: 'R', oid, schema, 0, name, 0.
        named: `case when pg_catalog.get_byte(data, 0) = 82 then
            pg_catalog.encode(pg_catalog.substr(data, 6, 128), 'hex') end`,
        readNames: (named) => {
          const [schema = '', name = ''] = Buffer.from(named, 'hex').toString().split('\0');
          return [{ schema, name }];
        },
      };
    case 'test_decoding': {
      // A truncate names several.
      const named = `pg_catalog.substring(data, '^table ((?:${word}\\.${word}(?:, )?)+): [A-Z]')`;
      return {
        peek: peek('', ''),
        isChange: `data like 'table %'`,
        relation: named,
        named,
        readNames: (text) =>
          [...text.matchAll(new RegExp(`(${word})\\.(${word})`, 'g'))].map(([, schema, name]) => ({
            schema: unquoted(schema ?? ''),
            name: unquoted(name ?? ''),
          })),
      };
    }
    case 'wal2json': {
      const isChange = `data ~ '^\\{"action":"[IUDT]"'`;
      const named = `case when ${isChange} then
          pg_catalog.json_build_array(data::json->>'schema', data::json->>'table')::text end`;
      return {
        peek: peek('', `, 'format-version', '2'`),
        isChange,
        relation: named,
        named,
        readNames: (text) => {
          const [schema = '', name = ''] = JSON.parse(text) as string[];
          return [{ schema, name }];
        },
      };
    }
  }
}

function unquoted(identifier: string): string {
  return identifier.startsWith('"') ? identifier.slice(1, -1).replaceAll('""', '"') : identifier;
}

/** A transaction's last row stands at its end. A table is described before its first change, in whatever transaction. */
function lateQuery({ peek, isChange, relation, named }: Dialect): string {
  return `
    with peeked as materialized (
      select lsn, xid::text as xid, ${isChange} as is_change, ${relation} as relation, ${named} as named from ${peek}
    ), late as (
      select xid from peeked group by xid having max(lsn) > $1::pg_catalog.pg_lsn and bool_or(is_change)
    ), names as (
      select relation, max(named) as named from peeked where named is not null group by relation
    )
    select xid, names.named, count(*)::text as changes
      from peeked join late using (xid) left join names using (relation) where is_change
     group by xid, names.named`;
}

// Whoever runs jobs or keeps statistics in the tables of an extension is no writer of what is copied.
const extensionTables = `
  select n.nspname as schema, c.relname as name
    from pg_catalog.pg_depend d
    join pg_catalog.pg_class c on c.oid = d.objid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype = 'e' and c.relkind in ('r', 'p')`;

/** Whether somebody who writes to a table writes what is copied and followed. */
export type IsFollowed = (table: TableName) => boolean;

/** What is kept but for the tables of extensions. */
export async function fetchFollowed(session: Session, keeps: Keeps): Promise<IsFollowed> {
  const labels = (await session.query(extensionTables)).map((row) =>
    relationLabel({ schema: row['schema'] ?? '', name: row['name'] ?? '' }),
  );
  const leftOut = new Set(labels);
  return (table) => keeps(table) && !leftOut.has(relationLabel(table));
}

/** Of tables that are followed. One that cannot be named is. */
function ofFollowed(rows: readonly TextRow[], { readNames }: Dialect, isFollowed: IsFollowed): LateWrites {
  const late = rows
    .map((row) => {
      const named = row['named'] ?? null;
      return { row, names: named === null ? null : readNames(named).filter(isFollowed) };
    })
    .filter(({ names }) => names === null || names.length > 0);
  return {
    transactions: new Set(late.map(({ row }) => row['xid'])).size,
    changes: late.reduce((sum, { row }) => sum + Number(row['changes'] ?? 0), 0),
    tables: [...new Set(late.flatMap(({ names }) => (names ?? []).map(relationLabel)))].toSorted(),
  };
}

/**
 * A message, and where it ends. Asked without an end, the slot reads up to the last byte that is on disk, which may be
 * in the middle of a record: it then waits for the rest, for as long as nobody else writes (15 seconds, until the next
 * checkpoint's or background writer's record). The message's end is the end of a record, and on disk with its commit.
 */
const flushLocally = 'set synchronous_commit = local';
const emitEnd = `select pg_catalog.pg_logical_emit_message(true, '${ownPrefix}', 'quiet')::text as lsn`;

/** The receiver closes its connection at the end position; its walsender takes a moment to notice. */
const busyForMs = 10_000;
const lookEveryMs = 20;

export type LateWritesQuestion = {
  readonly stream: PeekedStream;
  /** Where the run has its transform files. */
  readonly journalDirectory: string;
  readonly endpos: Lsn;
  readonly isFollowed: IsFollowed;
  readonly signal: AbortSignal;
};

/** Asks both. Throws what the server says; `slot-busy` when somebody reads from it all the time. */
export async function fetchLateWrites(session: Session, question: LateWritesQuestion): Promise<LateWrites> {
  const { stream, endpos, isFollowed, signal } = question;
  const taken = await readTakenWrites(question);
  if (taken.transactions > 0) return taken;
  const dialect = dialectOf(stream);
  const query = lateQuery(dialect);
  await session.query(flushLocally);
  const [end] = await session.query(emitEnd, [], 'could not look for late writes');
  const values = [formatLsn(endpos), end?.['lsn'] ?? ''];
  const until = Date.now() + busyForMs;
  for (;;) {
    throwIfStopped(signal);
    try {
      const rows = await session.query(query, values, 'could not look for late writes');
      return ofFollowed(rows, dialect, isFollowed);
    } catch (error) {
      if (sqlState(error) !== '55006' || Date.now() > until) throw error;
      await sleep(lookEveryMs);
    }
  }
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
