/** Hand-made streams for the applier: a script of transactions, as the journal would give them. */
import { lsnFromBigInt, type Lsn } from '../../src/model/lsn.js';
import type { StreamMessage } from '../../src/model/message.js';
import type { MessageSource } from '../../src/model/message-source.js';
import type { Relation, ReplicaIdentity } from '../../src/model/relation.js';
import type { Key, Row } from '../../src/model/row.js';
import { Failure } from '../../src/failure.js';

export const at = (value: number): Lsn => lsnFromBigInt(BigInt(value));

/** `id*, v` is a relation with columns id and v, of which id is the identity; FULL takes every column. */
export function relation(name: string, columns: string, identity: ReplicaIdentity = 'default'): Relation {
  const [schema, table] = name.includes('.') ? name.split('.') : ['public', name];
  const names = columns === '' ? [] : columns.split(',').map((column) => column.trim());
  return {
    schema: schema as string,
    name: table as string,
    identity,
    columns: names.map((column) => ({ name: column.replace(/\*$/, ''), typeOid: null })),
    key: names.flatMap((column, n) => (identity === 'full' || column.endsWith('*') ? [n] : [])),
  };
}

type ChangeScript = (xid: bigint, lsn: Lsn) => StreamMessage;

export const insert =
  (relation: Relation, ...row: Row): ChangeScript =>
  (xid, lsn) => ({ kind: 'change', xid, lsn, change: { kind: 'insert', relation, row } });

export const update =
  (relation: Relation, row: Row, key: Key | null = null): ChangeScript =>
  (xid, lsn) => ({ kind: 'change', xid, lsn, change: { kind: 'update', relation, key, row } });

export const remove =
  (relation: Relation, ...key: Key): ChangeScript =>
  (xid, lsn) => ({ kind: 'change', xid, lsn, change: { kind: 'delete', relation, key } });

export const truncate =
  (relations: readonly Relation[], restartIdentity: boolean | null = false): ChangeScript =>
  (xid, lsn) => ({
    kind: 'change',
    xid,
    lsn,
    change: { kind: 'truncate', relations, restartIdentity, cascade: true },
  });

/**
 * A transaction whose commit record is from `end - 10` to `end`; its xid is `end` unless told.
 * `unknown`: the plugin did not know the commit's place at the begin.
 */
export function transaction(
  end: number,
  changes: readonly ChangeScript[],
  options: { xid?: number; unknown?: boolean; cut?: boolean } = {},
): StreamMessage[] {
  const xid = BigInt(options.xid ?? end);
  const commitLsn = at(end - 10);
  const begin: StreamMessage = {
    kind: 'begin',
    xid,
    commitLsn: options.unknown === true ? null : commitLsn,
    commitTime: 0n,
  };
  const body = changes.map((change) => change(xid, at(end - 20)));
  const commit: StreamMessage = { kind: 'commit', xid, commitLsn, endLsn: at(end), commitTime: 0n };
  return [begin, ...body, ...(options.cut === true ? [] : [commit])];
}

export const keepalive = (lsn: number): StreamMessage => ({ kind: 'keepalive', lsn: at(lsn), time: 0n });
export const connected = (lsn: number): StreamMessage => ({ kind: 'connected', lsn: at(lsn) });
export const endPosition = (lsn: number): StreamMessage => ({ kind: 'endpos', lsn: at(lsn) });

/**
 * A journal in memory: every source that is opened gives all of it from the start. `feed` adds to it; sources wait for
 * more until `close`.
 */
export class TestJournal {
  readonly #messages: StreamMessage[] = [];
  #closed = false;
  #waiting = new Set<() => void>();
  readonly batch: number;
  opened = 0;

  constructor(messages: readonly StreamMessage[] = [], options: { closed?: boolean; batch?: number } = {}) {
    this.#messages.push(...messages);
    this.#closed = options.closed ?? false;
    this.batch = options.batch ?? 1000;
  }

  feed(...messages: readonly StreamMessage[]): void {
    this.#messages.push(...messages);
    this.#wakeAll();
  }

  close(): void {
    this.#closed = true;
    this.#wakeAll();
  }

  readonly open = async (_from: Lsn): Promise<MessageSource> => {
    this.opened += 1;
    let at = 0;
    const messages = this.#messages;
    const next = async (signal: AbortSignal): Promise<readonly StreamMessage[] | null> => {
      while (at >= messages.length) {
        if (this.#closed) return null;
        if (signal.aborted) throw new Failure('stopped', 'stopped as asked');
        await new Promise<void>((resolve) => {
          this.#waiting.add(resolve);
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      }
      const batch = messages.slice(at, at + this.batch);
      at += batch.length;
      return batch;
    };
    return {
      next,
      get level() {
        return at >= messages.length;
      },
    };
  };

  #wakeAll(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}
