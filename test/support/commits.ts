/**
 * Where transactions end in the source's WAL, told by a slot of our own: the yardstick for what must be applied.
 * Only transactions that insert are seen.
 */
import type { TestDatabase } from './databases.js';

export type CommitSeen = {
  readonly xid: number;
  /** Of the commit record: its start, and the position behind it. */
  readonly commitLsn: bigint;
  readonly endLsn: bigint;
};

/** Watches commits from now on. The slot goes with the database. */
export async function watchCommits(source: TestDatabase): Promise<() => Promise<CommitSeen[]>> {
  const slot = `watch_${source.name}`;
  // Inserts alone, so that tables without an identity can still be updated.
  await source.sql(`create publication ${slot} for all tables with (publish = 'insert')`);
  await source.sql(`select pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
  return async () => {
    const rows = await source.sql(
      `select encode(data, 'hex') as data from pg_logical_slot_peek_binary_changes('${slot}', null, null,
         'proto_version', '1', 'publication_names', '${slot}')`,
    );
    const commits: CommitSeen[] = [];
    let xid = 0;
    for (const row of rows) {
      const message = Buffer.from(row['data'] ?? '', 'hex');
      // https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
      if (message[0] === 0x42) xid = message.readUInt32BE(17);
      if (message[0] === 0x43) {
        commits.push({ xid, commitLsn: message.readBigUInt64BE(2), endLsn: message.readBigUInt64BE(10) });
      }
    }
    return commits;
  };
}

/** Where the source writes next. */
export async function insertPosition(source: TestDatabase): Promise<string> {
  const [row] = await source.sql('select pg_current_wal_insert_lsn()::text as lsn');
  return row?.['lsn'] ?? '';
}
