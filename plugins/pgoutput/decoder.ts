/**
 * pgoutput, protocol versions 1 and 2: one XLogData payload holds one message; its first byte says which.
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
 *
 *   B … C   a transaction, whole, at its commit
 *   S … E   some changes of a transaction in progress (version 2); blocks of several transactions and whole ones take
 *           turns, and never stand in each other. In a block every change, message, table and type carries the xid of the
 *           subtransaction that made it
 *   c A     a transaction that came in blocks commits; it, or a subtransaction of it, is rolled back
 *   I U D T a change; M a logical message (also outside of a transaction)
 *   R       describes a table before its first change on this connection, and again after DDL
 *   Y O     a type's name, a transaction's origin: nothing that concerns us
 *
 * This is the hot path. New rows are mostly packed (packed-row.ts): some objects for a change, and no strings.
 */
import type { Lsn } from '../../src/model/lsn.js';
import { longestOwnMessage, ownPrefix, type PluginMessage } from '../../src/model/message.js';
import type { Decoder } from '../../src/model/plugin.js';
import { packedInsert, packedUpdate, PackSpace } from '../../src/model/packed-row.js';
import type { Relation, RelationColumn, ReplicaIdentity } from '../../src/model/relation.js';
import { relationLabel } from '../../src/model/relation.js';
import type { Cell, Key } from '../../src/model/row.js';
import { quoteQualified } from '../../src/model/sql.js';
import { unchanged } from '../../src/model/row.js';
import { longestText } from '../../src/model/text-limit.js';
import { cellNull, cellText, describeByte, PayloadReader } from './payload.js';

const tagStreamAbort = 0x41;
const tagBegin = 0x42;
const tagCommit = 0x43;
const tagDelete = 0x44;
const tagStreamStop = 0x45;
const tagInsert = 0x49;
const tagMessage = 0x4d;
const tagOrigin = 0x4f;
const tagRelation = 0x52;
const tagStreamStart = 0x53;
const tagTruncate = 0x54;
const tagUpdate = 0x55;
const tagType = 0x59;
const tagStreamCommit = 0x63;

const tupleKey = 0x4b;
const tupleNew = 0x4e;
const tupleOld = 0x4f;

const cellUnchanged = 0x75;

const identities: ReadonlyMap<number, ReplicaIdentity> = new Map([
  [0x64, 'default'],
  [0x6e, 'nothing'],
  [0x66, 'full'],
  [0x69, 'index'],
]);

const truncateCascade = 1;
const truncateRestartIdentity = 2;

/** Decodes one connection's payloads. */
export class PgoutputDecoder implements Decoder {
  readonly #reader = new PayloadReader();
  readonly #space = new PackSpace();
  readonly #relations = new Map<number, Relation>();
  // Most changes go to the table of the change before.
  #lastOid = -1;
  #lastRelation: Relation | null = null;
  /** xid of the open transaction, or of the open block: said once, where it begins. */
  #xid: bigint | null = null;
  /** Whether a block is open. */
  #inBlock = false;
  /** Transactions that come in blocks and have not ended. */
  readonly #streamed = new Set<bigint>();
  readonly #longestCell: number;

  /** `longestCell`: in UTF-16 units; what a string can hold unless told. */
  constructor(longestCell = longestText) {
    this.#longestCell = longestCell;
  }

  decode(payload: Buffer, walStart: Lsn): PluginMessage | null {
    // The caller may use the same buffer again.
    this.#reader.forget();
    return this.decodeWithin(payload, 0, payload.length, walStart);
  }

  decodeWithin(bytes: Buffer, start: number, end: number, walStart: Lsn): PluginMessage | null {
    const reader = this.#reader;
    reader.begin(bytes, start, end, walStart);
    const tag = reader.uint8();
    const message = this.#inBlock ? this.#blockMessage(tag, walStart) : this.#message(tag, walStart);
    reader.end();
    return message;
  }

  #message(tag: number, walStart: Lsn): PluginMessage | null {
    switch (tag) {
      case tagInsert:
        return this.#insert(walStart);
      case tagUpdate:
        return this.#update(walStart);
      case tagDelete:
        return this.#delete(walStart);
      case tagBegin:
        return this.#begin();
      case tagCommit:
        return this.#commit();
      case tagRelation:
        return this.#describe();
      case tagTruncate:
        return this.#truncate(walStart);
      case tagMessage:
        return this.#logicalMessage();
      case tagType:
        this.#reader.uint32();
        this.#reader.name();
        this.#reader.name();
        return null;
      case tagOrigin:
        this.#reader.lsn();
        this.#reader.name();
        return null;
      case tagStreamStart:
        return this.#startBlock();
      case tagStreamCommit:
        return this.#commitStreamed();
      case tagStreamAbort:
        return this.#abortStreamed(walStart);
      default:
        return this.#reader.refuse('a message of this kind is not known', 0);
    }
  }

  /** What may stand in a block: all but its end and origins begins with the xid that it belongs to. */
  #blockMessage(tag: number, walStart: Lsn): PluginMessage | null {
    switch (tag) {
      case tagStreamStop:
        this.#inBlock = false;
        this.#xid = null;
        return null;
      case tagOrigin:
        return this.#message(tag, walStart);
      case tagInsert:
      case tagUpdate:
      case tagDelete:
      case tagTruncate:
      case tagMessage:
      case tagRelation:
      case tagType: {
        const sub = BigInt(this.#reader.uint32());
        const message = this.#message(tag, walStart);
        // Its own xid is the transaction's where no subtransaction made the change.
        if (sub === this.#xid || message === null) return message;
        return message.kind === 'change' || message.kind === 'message' ? { ...message, sub } : message;
      }
      default:
        return this.#reader.refuse('a message of this kind does not belong into a stream block', 0);
    }
  }

  #startBlock(): PluginMessage | null {
    const reader = this.#reader;
    if (this.#xid !== null) reader.refuse('the transaction before it has not ended', 0);
    const xid = BigInt(reader.uint32());
    const flag = reader.uint8();
    if (flag > 1) reader.refuse(`flag ${flag} is not known`, reader.offset - 1);
    const isFirst = flag === 1;
    if (isFirst === this.#streamed.has(xid)) {
      reader.refuse(isFirst ? `transaction ${xid} has begun already` : `transaction ${xid} has not begun`, 1);
    }
    this.#xid = xid;
    this.#inBlock = true;
    if (!isFirst) return null;
    this.#streamed.add(xid);
    return { kind: 'begin', xid, commitLsn: null, commitTime: null, streamed: true };
  }

  #commitStreamed(): PluginMessage {
    const reader = this.#reader;
    const xid = this.#streamedXid();
    const flags = reader.uint8();
    if (flags !== 0) reader.refuse(`flags ${flags} are not known`, 5);
    const commitLsn = reader.lsn();
    const endLsn = reader.lsn();
    const commitTime = reader.int64();
    this.#streamed.delete(xid);
    return { kind: 'commit', xid, commitLsn, endLsn, commitTime };
  }

  #abortStreamed(lsn: Lsn): PluginMessage {
    const xid = this.#streamedXid();
    const sub = BigInt(this.#reader.uint32());
    if (sub !== xid) return { kind: 'rollback', xid, sub, lsn };
    this.#streamed.delete(xid);
    return { kind: 'rollback', xid, lsn };
  }

  /** The transaction of a message that ends one which came in blocks, outside of any other. */
  #streamedXid(): bigint {
    const reader = this.#reader;
    if (this.#xid !== null) reader.refuse('the transaction before it has not ended', 0);
    const xid = BigInt(reader.uint32());
    if (!this.#streamed.has(xid)) reader.refuse(`transaction ${xid} has not begun`, 1);
    return xid;
  }

  #begin(): PluginMessage {
    const reader = this.#reader;
    if (this.#xid !== null) reader.refuse('the transaction before it has not ended', 0);
    const commitLsn = reader.lsn();
    const commitTime = reader.int64();
    const xid = BigInt(reader.uint32());
    this.#xid = xid;
    return { kind: 'begin', xid, commitLsn, commitTime };
  }

  #commit(): PluginMessage {
    const reader = this.#reader;
    const xid = this.#openXid();
    const flags = reader.uint8();
    if (flags !== 0) reader.refuse(`flags ${flags} are not known`, 1);
    const commitLsn = reader.lsn();
    const endLsn = reader.lsn();
    const commitTime = reader.int64();
    this.#xid = null;
    return { kind: 'commit', xid, commitLsn, endLsn, commitTime };
  }

  #describe(): PluginMessage {
    const reader = this.#reader;
    const oid = reader.uint32();
    const schema = reader.name();
    const name = reader.name();
    const identityByte = reader.uint8();
    const identity =
      identities.get(identityByte) ??
      reader.refuse(`${describeByte(identityByte)} is no replica identity`, reader.offset - 1);
    const count = reader.uint16();
    const columns: RelationColumn[] = [];
    const key: number[] = [];
    for (let position = 0; position < count; position += 1) {
      const flags = reader.uint8();
      if (flags > 1) reader.refuse(`column flags ${flags} are not known`, reader.offset - 1);
      const columnName = reader.name();
      const typeOid = reader.uint32();
      reader.uint32(); // type modifier: the target has its own
      columns.push({ name: columnName, typeOid });
      if (flags === 1) key.push(position);
    }
    if (identity === 'full' && key.length !== count) {
      reader.refuse('a column is not part of a full replica identity');
    }
    if (identity === 'nothing' && key.length !== 0) {
      reader.refuse('a column is part of no replica identity');
    }
    const relation: Relation = {
      // An empty name stands for pg_catalog (logicalrep_write_namespace).
      schema: schema === '' ? 'pg_catalog' : schema,
      name,
      identity,
      columns,
      key,
    };
    this.#relations.set(oid, relation);
    this.#lastOid = oid;
    this.#lastRelation = relation;
    return { kind: 'relation', relation };
  }

  #insert(lsn: Lsn): PluginMessage {
    const xid = this.#openXid();
    const relation = this.#relation();
    this.#expect(tupleNew);
    const columns = this.#count(relation);
    const packed = this.#reader.packedRow(columns, this.#space);
    const change =
      packed === null
        ? { kind: 'insert' as const, relation, row: this.#row(relation, columns, false) }
        : packedInsert(relation, packed);
    return { kind: 'change', xid, lsn, change };
  }

  #update(lsn: Lsn): PluginMessage {
    const reader = this.#reader;
    const xid = this.#openXid();
    const relation = this.#relation();
    let key: Key | null = null;
    let tuple = reader.uint8();
    if (tuple !== tupleNew) {
      key = this.#key(relation, tuple);
      tuple = reader.uint8();
    }
    if (tuple !== tupleNew) {
      reader.refuse(`${describeByte(tuple)} stands where the new row begins`, reader.offset - 1);
    }
    const columns = this.#count(relation);
    // Whose old row must be sent, and is not, is refused below.
    if (key === null && relation.identity !== 'full') {
      const packed = reader.packedRow(columns, this.#space);
      if (packed !== null) return { kind: 'change', xid, lsn, change: packedUpdate(relation, packed) };
    }
    const row = this.#row(relation, columns, true);
    this.#knowIdentity(relation, key, row);
    return { kind: 'change', xid, lsn, change: { kind: 'update', relation, key, row } };
  }

  #delete(lsn: Lsn): PluginMessage {
    const xid = this.#openXid();
    const relation = this.#relation();
    const key = this.#key(relation, this.#reader.uint8());
    return { kind: 'change', xid, lsn, change: { kind: 'delete', relation, key } };
  }

  #truncate(lsn: Lsn): PluginMessage {
    const reader = this.#reader;
    const xid = this.#openXid();
    const count = reader.uint32();
    if (count === 0) reader.refuse('it names no table', reader.offset - 4);
    const options = reader.uint8();
    if (options > (truncateCascade | truncateRestartIdentity)) {
      reader.refuse(`options ${options} are not known`, reader.offset - 1);
    }
    const relations: Relation[] = [];
    for (let nth = 0; nth < count; nth += 1) relations.push(this.#relation());
    const cascade = (options & truncateCascade) !== 0;
    const restartIdentity = (options & truncateRestartIdentity) !== 0;
    return { kind: 'change', xid, lsn, change: { kind: 'truncate', relations, restartIdentity, cascade } };
  }

  /** Null for one that is somebody else's, whatever its size. */
  #logicalMessage(): PluginMessage | null {
    const reader = this.#reader;
    const flags = reader.uint8();
    if (flags > 1) reader.refuse(`flags ${flags} are not known`, 1);
    const xid = flags === 1 ? this.#openXid() : null;
    const lsn = reader.lsn();
    const isOwn = reader.isName(ownPrefix);
    const length = reader.uint32();
    if (!isOwn || length > longestOwnMessage) {
      reader.skip(length);
      return null;
    }
    return { kind: 'message', xid, lsn, prefix: ownPrefix, content: reader.base64(length) };
  }

  #openXid(): bigint {
    return this.#xid ?? this.#reader.refuse('no transaction is open', 0);
  }

  #relation(): Relation {
    const oid = this.#reader.uint32();
    if (oid === this.#lastOid && this.#lastRelation !== null) return this.#lastRelation;
    const relation =
      this.#relations.get(oid) ??
      this.#reader.refuse(`table ${oid} was not described before`, this.#reader.offset - 4);
    this.#lastOid = oid;
    this.#lastRelation = relation;
    return relation;
  }

  #expect(tuple: number): void {
    const found = this.#reader.uint8();
    if (found !== tuple) {
      this.#reader.refuse(
        `${describeByte(found)} stands where ${describeByte(tuple)} belongs`,
        this.#reader.offset - 1,
      );
    }
  }

  #count(relation: Relation): number {
    const count = this.#reader.uint16();
    if (count !== relation.columns.length) {
      this.#reader.refuse(
        `a row of ${count} columns for ${relationLabel(relation)}, which has ${relation.columns.length}`,
        this.#reader.offset - 2,
      );
    }
    return count;
  }

  #row(relation: Relation, count: number, mayBeUnchanged: boolean): Cell[] {
    const reader = this.#reader;
    const row: Cell[] = [];
    for (let position = 0; position < count; position += 1) {
      const kind = reader.uint8();
      if (kind === cellText) {
        row.push(reader.cell(relation, position, this.#longestCell));
      } else if (kind === cellNull) {
        row.push(null);
      } else if (kind === cellUnchanged && mayBeUnchanged) {
        row.push(unchanged);
      } else if (kind === cellUnchanged) {
        reader.refuseLimit(
          `an update has moved a row of ${relationLabel(relation)} into the row filter of its publication, and column ` +
            `"${relation.columns[position]!.name}" was not sent, since it is stored out of line and did not change`,
          `On the source: alter table ${quoteQualified(relation.schema, relation.name)} replica identity full; then start again with --restart. ` +
            'What the slot holds of this change cannot be read in another way.',
        );
      } else {
        reader.refuse(`${describeByte(kind)} is no kind of cell here`, reader.offset - 1);
      }
    }
    return row;
  }

  /**
   * The identity in an old tuple. It has the relation's columns; under K those outside of the identity are sent as
   * null and mean nothing. The server inlines TOAST values here, so none can be *unchanged*.
   */
  #key(relation: Relation, tuple: number): Key {
    const reader = this.#reader;
    const expected = relation.identity === 'full' ? tupleOld : tupleKey;
    if (tuple !== expected) {
      reader.refuse(
        `${describeByte(tuple)} stands where the old row of ${relationLabel(relation)} begins ` +
          `(its replica identity is ${relation.identity})`,
        reader.offset - 1,
      );
    }
    // A table without columns has nothing in its key under FULL, and yet its rows are deleted.
    if (relation.key.length === 0 && relation.identity !== 'full') {
      reader.refuse(`${relationLabel(relation)} has no replica identity`, reader.offset - 1);
    }
    const count = this.#count(relation);
    const key: (string | null)[] = [];
    let next = 0;
    for (let position = 0; position < count; position += 1) {
      const inKey = relation.key[next] === position;
      if (inKey) next += 1;
      const kind = reader.uint8();
      if (kind === cellNull) {
        if (inKey) key.push(null);
      } else if (kind === cellText && inKey) {
        key.push(reader.cell(relation, position, this.#longestCell));
      } else {
        reader.refuse(`${describeByte(kind)} is no kind of cell here`, reader.offset - 1);
      }
    }
    return key;
  }

  /**
   * An identity column may be TOASTed and unchanged in the new row. Cases:
   *   1. an old tuple came with it (servers log it for such columns since 14.2): the column did not change, so its
   *      new value is the old one, and it is filled in: the identity in `row` is always whole;
   *   2. REPLICA IDENTITY FULL: every column is identity and `key` holds the old row; *unchanged* stays, so that
   *      the target need not write the value again;
   *   3. no old tuple (servers before 14.2, and before 13.6): nobody can say which row this was.
   */
  #knowIdentity(relation: Relation, key: Key | null, row: Cell[]): void {
    if (relation.identity === 'full') {
      if (key === null) this.#reader.refuse(`the old row of ${relationLabel(relation)} is missing`);
      return;
    }
    const positions = relation.key;
    for (let nth = 0; nth < positions.length; nth += 1) {
      const position = positions[nth]!;
      if (row[position] !== unchanged) continue;
      if (key === null) {
        return this.#reader.refuse(
          `the source did not send column ${relation.columns[position]!.name} of the replica identity of ` +
            `${relationLabel(relation)}, which is stored out of line; PostgreSQL 14.2 and later send it`,
        );
      }
      row[position] = key[nth] ?? null;
    }
  }
}
