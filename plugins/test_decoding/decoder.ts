/**
 * test_decoding: one XLogData payload holds one line.
 *
 *   BEGIN xid                                        at the first record's position
 *   table s.t: INSERT: name[type]:value …            at the change's
 *   table s.t: UPDATE: old-key: … new-tuple: …       or the new row alone, where the identity did not change
 *   table s.t: DELETE: name[type]:value …            the identity; all columns that are not null under FULL
 *   table s.t, s.u: TRUNCATE: (no-flags)             or restart_seqs, cascade
 *   message: transactional: 0 prefix: …, sz: n content:…
 *   COMMIT xid (at time)                             at the *end* of the commit record
 *
 * A column called old-key is printed in quotes, since a hyphen needs them: the marks cannot be mistaken for one.
 */
import { laterLsn, type Lsn } from '../../src/model/lsn.js';
import { longestOwnMessage, ownPrefix, type PluginMessage } from '../../src/model/message.js';
import { tablesStale, type Decoder } from '../../src/model/plugin.js';
import type { Relation } from '../../src/model/relation.js';
import type { Cell } from '../../src/model/row.js';
import type { SourceTables } from '../../src/model/source-table.js';
import { LayoutsOfTables } from '../known-layouts.js';
import { readPayload, refuse, refuseLimit, type PayloadPlace } from '../refusal.js';
import { readServerTime } from '../server-time.js';
import {
  arrangeInsert,
  arrangeKey,
  arrangeRow,
  settleIdentity,
  SourceRelations,
  type Layout,
  type Printed,
  type SourceRelation,
  type Unfollowed,
} from '../source-relations.js';
import { TextScanner } from './scanner.js';

type Decoded = PluginMessage | typeof tablesStale | null;

/** Values as one row prints them. */
type PrintedRow = { readonly layout: Layout; readonly cells: readonly Cell[] };

/** The columns that a table's rows printed last, and the text in front of each of its values. */
type KnownLayout = Layout & { readonly heads: readonly string[]; readonly types: readonly string[] };

const messageMark = 'message: ';
/** Up to the content where the prefix is ours, and to the prefix where it is not. */
const messageHead = new RegExp(
  `^message: transactional: ([01]) prefix: (?:${ownPrefix}, sz: (\\d+) content:)?`,
);
const messageHeadBytes = 100;

/** Decodes one connection's payloads. */
export class TestDecodingDecoder implements Decoder {
  readonly #relations: SourceRelations;
  readonly #layouts = new LayoutsOfTables<KnownLayout>();
  #xid: bigint | null = null;
  /** The last position inside of the open transaction. */
  #position = 0n as Lsn;

  constructor(tables: SourceTables) {
    this.#relations = new SourceRelations(tables, { printsUnsent: true, leavesOutOldNulls: true });
  }

  describe(tables: SourceTables): void {
    this.#relations.describe(tables);
  }

  decode(payload: Buffer, walStart: Lsn): Decoded {
    const place: PayloadPlace = { plugin: 'test_decoding', walStart, length: payload.length };
    // A message holds any bytes: it is not read as text.
    if (payload.subarray(0, messageMark.length).equals(Buffer.from(messageMark))) {
      return this.#logicalMessage(payload, place);
    }
    const scanner = new TextScanner(readPayload(payload, place), place);
    if (scanner.take('table ')) return this.#table(scanner, walStart);
    if (scanner.take('BEGIN ')) return this.#begin(scanner, walStart);
    if (scanner.take('COMMIT ')) return this.#commit(scanner, walStart);
    return scanner.refuse('a message of this kind is not known');
  }

  #begin(scanner: TextScanner, walStart: Lsn): PluginMessage {
    if (this.#xid !== null) scanner.refuse('the transaction before it has not ended');
    const xid = readXid(scanner, scanner.rest());
    this.#xid = xid;
    this.#position = walStart;
    return { kind: 'begin', xid, commitLsn: null, commitTime: null };
  }

  /** The position is the commit's end; where its record begins is not told. Nothing of the transaction is behind it. */
  #commit(scanner: TextScanner, walStart: Lsn): PluginMessage {
    const open = this.#openXid(scanner);
    const match = /^(\d+) \(at ([^()]*)\)$/.exec(scanner.rest());
    const time = match === null ? null : readServerTime(match[2] ?? '');
    if (match === null || time === null) return scanner.refuse('a commit without its transaction or time');
    const xid = readXid(scanner, match[1] ?? '');
    if (xid !== open) scanner.refuse(`transaction ${xid} commits while ${open} is open`);
    this.#xid = null;
    return { kind: 'commit', xid, commitLsn: this.#position, endLsn: walStart, commitTime: time };
  }

  #table(scanner: TextScanner, lsn: Lsn): Decoded {
    const xid = this.#openXid(scanner);
    const schema = scanner.name();
    scanner.expect('.');
    const name = scanner.name();
    if (scanner.take(', ')) return this.#truncate(scanner, lsn, xid, [{ schema, name }]);
    scanner.expect(': ');
    if (scanner.take('TRUNCATE:')) return this.#truncated(scanner, lsn, xid, [{ schema, name }]);
    const table = this.#relations.find(schema, name, xid);
    if (table === tablesStale) return tablesStale;
    this.#position = laterLsn(this.#position, lsn);
    // Read to its end, whether it concerns us or not.
    if (scanner.take('INSERT:')) return this.#insert(scanner, lsn, xid, table);
    if (scanner.take('UPDATE:')) return this.#update(scanner, lsn, xid, table);
    if (scanner.take('DELETE:')) return this.#delete(scanner, lsn, xid, table);
    return scanner.refuse('this is no change');
  }

  #insert(scanner: TextScanner, lsn: Lsn, xid: bigint, table: SourceRelation | Unfollowed): Decoded {
    if (isBare(scanner)) return this.#refuseBare(scanner, 'an insert', table);
    const fresh = this.#row(scanner, 'fresh', table);
    scanner.end();
    if (!table.followed) return ignore(table, { kind: 'insert', fresh: fresh.layout, old: null }, scanner);
    const shape = table.shape({ kind: 'insert', fresh: fresh.layout, old: null }, xid, scanner.place);
    if (shape === tablesStale) return tablesStale;
    const row = arrangeInsert(shape, fresh.cells, scanner.place);
    return { kind: 'change', xid, lsn, change: { kind: 'insert', relation: shape.relation, row } };
  }

  #update(scanner: TextScanner, lsn: Lsn, xid: bigint, table: SourceRelation | Unfollowed): Decoded {
    const old = scanner.take(' old-key:') ? this.#row(scanner, 'old', table) : null;
    if (old !== null) scanner.expect(' new-tuple:');
    if (isBare(scanner)) return this.#refuseBare(scanner, 'an update', table);
    const fresh = this.#row(scanner, 'fresh', table);
    scanner.end();
    const { place } = scanner;
    const printed = { kind: 'update', fresh: fresh.layout, old: old?.layout ?? null } as const;
    if (!table.followed) return ignore(table, printed, scanner);
    const shape = table.shape(printed, xid, place);
    if (shape === tablesStale) return tablesStale;
    const { relation } = shape;
    const row = arrangeRow(shape, fresh.cells);
    const sent = old === null ? null : arrangeKey(shape, old.cells, place);
    const key = settleIdentity(shape, row, sent, place);
    return { kind: 'change', xid, lsn, change: { kind: 'update', relation, key, row } };
  }

  #delete(scanner: TextScanner, lsn: Lsn, xid: bigint, table: SourceRelation | Unfollowed): Decoded {
    if (isBare(scanner)) return this.#refuseBare(scanner, 'a delete', table);
    const old = this.#row(scanner, 'old', table);
    scanner.end();
    if (!table.followed) return ignore(table, { kind: 'delete', fresh: null, old: old.layout }, scanner);
    const shape = table.shape({ kind: 'delete', fresh: null, old: old.layout }, xid, scanner.place);
    if (shape === tablesStale) return tablesStale;
    const key = arrangeKey(shape, old.cells, scanner.place);
    return { kind: 'change', xid, lsn, change: { kind: 'delete', relation: shape.relation, key } };
  }

  /** `(no-tuple-data)`: the source logged that something happened, and not to which row. */
  #refuseBare(scanner: TextScanner, what: string, table: SourceRelation | Unfollowed): null {
    scanner.expect(' (no-tuple-data)');
    scanner.end();
    if (!table.followed) return null;
    return refuseLimit(
      scanner.place,
      `${what} in ${table.label}, which has no replica identity: nobody can say which row it was`,
      `give it one (alter table ${table.label} replica identity full)`,
    );
  }

  #truncate(scanner: TextScanner, lsn: Lsn, xid: bigint, names: { schema: string; name: string }[]): Decoded {
    do {
      const schema = scanner.name();
      scanner.expect('.');
      names.push({ schema, name: scanner.name() });
    } while (scanner.take(', '));
    scanner.expect(': TRUNCATE:');
    return this.#truncated(scanner, lsn, xid, names);
  }

  #truncated(
    scanner: TextScanner,
    lsn: Lsn,
    xid: bigint,
    names: readonly { schema: string; name: string }[],
  ): Decoded {
    const restartIdentity = scanner.take(' restart_seqs');
    const cascade = scanner.take(' cascade');
    if (!restartIdentity && !cascade) scanner.expect(' (no-flags)');
    scanner.end();
    const relations: Relation[] = [];
    for (const { schema, name } of names) {
      const table = this.#relations.find(schema, name, xid);
      if (table === tablesStale) return tablesStale;
      if (table.followed) relations.push(table.relation);
      else table.check(null, scanner.place);
    }
    this.#position = laterLsn(this.#position, lsn);
    if (relations.length === 0) return null;
    return { kind: 'change', xid, lsn, change: { kind: 'truncate', relations, restartIdentity, cascade } };
  }

  /** `message: transactional: 1 prefix: P, sz: N content:` and N bytes. Null for one that is somebody else's. */
  #logicalMessage(payload: Buffer, place: PayloadPlace): PluginMessage | null {
    const head = messageHead.exec(payload.toString('latin1', 0, messageHeadBytes));
    if (head === null) return refuse(place, 'a logical message without its marks', 0);
    const xid = head[1] === '1' ? this.#openXid(place) : null;
    if (xid !== null) this.#position = laterLsn(this.#position, place.walStart);
    const length = Number(head[2] ?? Infinity);
    // Where they differ, a longer prefix goes on like ours.
    if (length > longestOwnMessage || payload.length - head[0].length !== length) return null;
    const content = payload.toString('base64', head[0].length);
    return { kind: 'message', xid, lsn: place.walStart, prefix: ownPrefix, content };
  }

  /** A row: blank, name, type and value, again and again, up to the end or the mark of the new row. */
  #row(scanner: TextScanner, kind: 'fresh' | 'old', table: SourceRelation | Unfollowed): PrintedRow {
    const layouts = table.followed ? this.#layouts.of(table, kind) : null;
    const last = layouts?.last ?? null;
    const start = scanner.at;
    const known = last === null ? null : knownRow(scanner, last);
    if (known !== null) return known;
    scanner.at = start;
    const heads: string[] = [];
    const names: string[] = [];
    const types: string[] = [];
    const cells: Cell[] = [];
    while (!rowEnds(scanner)) {
      const from = scanner.at;
      scanner.expect(' ');
      names.push(scanner.name());
      const type = scanner.type();
      types.push(type);
      scanner.expect(':');
      heads.push(scanner.text.slice(from, scanner.at));
      cells.push(scanner.value(type));
    }
    if (layouts === null) return { layout: { names, typeOids: null }, cells };
    if (new Set(names).size !== names.length) scanner.refuse(`a row of ${table.label} names a column twice`);
    return { layout: layouts.settle(heads, { names, typeOids: null, heads, types }), cells };
  }

  #openXid(where: TextScanner | PayloadPlace): bigint {
    if (this.#xid !== null) return this.#xid;
    return refuse(where instanceof TextScanner ? where.place : where, 'no transaction is open', 0);
  }
}

/** The row once more with the columns of the row before it; null when they are others. */
function knownRow(scanner: TextScanner, layout: KnownLayout): PrintedRow | null {
  const { heads, types } = layout;
  const cells: Cell[] = [];
  for (let nth = 0; nth < heads.length; nth += 1) {
    if (!scanner.take(heads[nth]!)) return null;
    cells.push(scanner.value(types[nth]!));
  }
  return rowEnds(scanner) ? { layout, cells } : null;
}

function ignore(table: Unfollowed, printed: Printed, scanner: TextScanner): null {
  table.check(printed, scanner.place);
  return null;
}

function rowEnds(scanner: TextScanner): boolean {
  return scanner.ended || scanner.text.startsWith(' new-tuple:', scanner.at);
}

/** Whether no row follows. */
function isBare(scanner: TextScanner): boolean {
  return scanner.text.startsWith(' (no-tuple-data)', scanner.at);
}

function readXid(scanner: TextScanner, text: string): bigint {
  if (!/^\d{1,10}$/.test(text)) scanner.refuse('this is no transaction id');
  const xid = BigInt(text);
  if (xid > 0xffff_ffffn) scanner.refuse('this is no transaction id');
  return xid;
}
