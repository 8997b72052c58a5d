/** pgoutput messages, written by hand from the protocol's description: what the decoder's tests read. */
import type { Relation } from '../../../src/model/relation.js';
import type { Cell } from '../../../src/model/row.js';

export const byte = (value: number | string): Buffer =>
  Buffer.from([typeof value === 'string' ? value.charCodeAt(0) : value]);
export const int16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
};
export const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
export const int64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, value));
  return bytes;
};
export const name = (text: string): Buffer => Buffer.concat([Buffer.from(text), byte(0)]);
const concat = (...parts: Buffer[]): Buffer => Buffer.concat(parts);

const identityLetters = { default: 'd', nothing: 'n', full: 'f', index: 'i' } as const;

/** A row as it stands behind 'N', 'K' or 'O'. */
export function tuple(cells: readonly Cell[]): Buffer {
  return concat(
    int16(cells.length),
    ...cells.map((cell) => {
      if (cell === null) return byte('n');
      if (cell === 0) return byte('u');
      const text = Buffer.from(cell);
      return concat(byte('t'), int32(text.length), text);
    }),
  );
}

export const begin = (commitLsn: bigint, time: bigint, xid: number): Buffer =>
  concat(byte('B'), int64(commitLsn), int64(time), int32(xid));
export const commit = (commitLsn: bigint, endLsn: bigint, time: bigint): Buffer =>
  concat(byte('C'), byte(0), int64(commitLsn), int64(endLsn), int64(time));
export const origin = (lsn: bigint, text: string): Buffer => concat(byte('O'), int64(lsn), name(text));
export const type = (oid: number, schema: string, text: string): Buffer =>
  concat(byte('Y'), int32(oid), name(schema), name(text));
export function relation(oid: number, described: Relation): Buffer {
  return concat(
    byte('R'),
    int32(oid),
    name(described.schema === 'pg_catalog' ? '' : described.schema),
    name(described.name),
    byte(identityLetters[described.identity]),
    int16(described.columns.length),
    ...described.columns.map((column, position) =>
      concat(
        byte(described.key.includes(position) ? 1 : 0),
        name(column.name),
        int32(column.typeOid ?? 25),
        int32(-1),
      ),
    ),
  );
}
export const insert = (oid: number, row: readonly Cell[]): Buffer =>
  concat(byte('I'), int32(oid), byte('N'), tuple(row));
export const update = (
  oid: number,
  row: readonly Cell[],
  old?: { kind: 'K' | 'O'; row: readonly Cell[] },
): Buffer =>
  concat(
    byte('U'),
    int32(oid),
    ...(old === undefined ? [] : [byte(old.kind), tuple(old.row)]),
    byte('N'),
    tuple(row),
  );
export const remove = (oid: number, kind: 'K' | 'O', row: readonly Cell[]): Buffer =>
  concat(byte('D'), int32(oid), byte(kind), tuple(row));
export const truncate = (oids: readonly number[], flags: number): Buffer =>
  concat(byte('T'), int32(oids.length), byte(flags), ...oids.map(int32));
export const logicalMessage = (
  transactional: boolean,
  lsn: bigint,
  prefix: string,
  content: Buffer,
): Buffer =>
  concat(byte('M'), byte(transactional ? 1 : 0), int64(lsn), name(prefix), int32(content.length), content);

export const streamStart = (xid: number, first: boolean): Buffer =>
  concat(byte('S'), int32(xid), byte(first ? 1 : 0));
export const streamStop = (): Buffer => byte('E');
export const streamCommit = (xid: number, commitLsn: bigint, endLsn: bigint, time: bigint): Buffer =>
  concat(byte('c'), int32(xid), byte(0), int64(commitLsn), int64(endLsn), int64(time));
export const streamAbort = (xid: number, sub: number): Buffer => concat(byte('A'), int32(xid), int32(sub));
/** A message as it stands in a block: its letter, an xid, the rest. */
export const ofSubtransaction = (xid: number, message: Buffer): Buffer =>
  concat(message.subarray(0, 1), int32(xid), message.subarray(1));
