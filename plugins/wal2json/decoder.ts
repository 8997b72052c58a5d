/**
 * wal2json, format version 2: one XLogData payload holds one JSON object.
 *
 *   {"action":"B","xid":9,"timestamp":"…","lsn":"0/A","nextlsn":"0/B"}   lsn is the commit record's start, nextlsn its end
 *   {"action":"I",…,"schema":"s","table":"t","columns":[{"name":"a","typeoid":23,"value":1},…]}
 *   {"action":"U",…,"columns":[…],"identity":[…]}     TOAST values that were left alone are not among the columns
 *   {"action":"D",…,"identity":[…]}
 *   {"action":"T",…,"schema":"s","table":"t"}          one for each table of a TRUNCATE, all at the same lsn, no flags
 *   {"action":"M",…,"transactional":true,"prefix":"…","content":"…"}
 *   {"action":"C", as B}
 *
 * Types are asked for by OID: a type's name that needs quotes is printed as broken JSON (`"type":"a ""b"""`).
 *
 * NaN and the infinities of float4, float8 and numeric are printed as null, unless the plugin knows
 * numeric-data-types-as-string (2.6). An older one says each of them on the side, as a DEBUG1 message in front of the
 * change (`special value: NaN`), in the order of the columns. So of the nulls of such columns in one change
 *   1. none is said: all are NULL;
 *   2. as many are said as there are nulls: they are these values, in order;
 *   3. fewer are said: nobody can tell which is which, and the change is refused.
 * https://github.com/eulerto/wal2json/blob/wal2json_2_5/wal2json.c
 */
import { parseLsn, type Lsn } from '../../src/model/lsn.js';
import {
  longestOwnMessage,
  ownPrefix,
  type ChangeMessage,
  type PluginMessage,
} from '../../src/model/message.js';
import { tablesStale, type Decoder } from '../../src/model/plugin.js';
import type { Relation } from '../../src/model/relation.js';
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
import { JsonScanner, NumberText, type Scalar } from './scanner.js';

type Decoded = PluginMessage | readonly PluginMessage[] | typeof tablesStale | null;

const boolOid = 16;
const byteaOid = 17;
/** Printed as numbers: int8, int2, int4, oid, float4, float8, numeric. A domain over one of them is a string. */
const numberOids: ReadonlySet<number> = new Set([20, 21, 23, 26, 700, 701, 1700]);
/** Of these, those that know values which JSON does not. */
const specialOids: ReadonlySet<number> = new Set([700, 701, 1700]);

/** The columns that a table's rows printed last, and the text in front of each of their values. */
type KnownLayout = { readonly names: string[]; readonly typeOids: number[]; readonly heads: string[] };

type PrintedRow = { readonly layout: Layout & KnownLayout; readonly cells: (string | null)[] };

/** What stands in front of every change. */
type Head = { readonly action: string; readonly xid: bigint; readonly lsn: Lsn; readonly time: string };

const messageMark = '{"action":"M"';
/** Every byte of the content may be printed as six, behind a head of some hundred. */
const longestMessagePayload = 6 * longestOwnMessage + 1024;

export type Wal2jsonDecoderOptions = {
  readonly tables: SourceTables;
  /** Whether numbers come in quotes, and NaN as itself. */
  readonly numbersAsText: boolean;
};

/** Decodes one connection's payloads. */
export class Wal2jsonDecoder implements Decoder {
  readonly #relations: SourceRelations;
  readonly #numbersAsText: boolean;
  readonly #layouts = new LayoutsOfTables<KnownLayout>();
  #xid: bigint | null = null;
  #lastTime = '';
  #lastTimeValue: bigint | null = null;
  /** Values that were said on the side since the last payload. */
  #special: string[] = [];
  /** What was said of changes that are not printed at all. */
  #lost: string | null = null;
  /** Tables of a TRUNCATE that is not known to be whole yet. */
  #truncate: { readonly xid: bigint; readonly lsn: Lsn; readonly relations: Relation[] } | null = null;

  constructor({ tables, numbersAsText }: Wal2jsonDecoderOptions) {
    this.#relations = new SourceRelations(tables, { printsUnsent: false, leavesOutOldNulls: false });
    this.#numbersAsText = numbersAsText;
  }

  describe(tables: SourceTables): void {
    this.#relations.describe(tables);
  }

  notice(text: string): void {
    const special = /^special value: (NaN|-?Infinity)$/.exec(text);
    if (special !== null) {
      this.#special.push(special[1]!);
      return;
    }
    const lost = /^no (?:old )?tuple (?:data|identifier) for (?:INSERT|UPDATE|DELETE) in table (.*)$/s.exec(
      text,
    );
    if (lost !== null && this.#relations.isFollowedAs(lost[1]!)) this.#lost ??= text;
  }

  decode(payload: Buffer, walStart: Lsn): Decoded {
    const place: PayloadPlace = { plugin: 'wal2json', walStart, length: payload.length };
    if (this.#lost !== null) {
      refuseLimit(
        place,
        `${this.#lost}: nobody can say which row it was`,
        'give the table a replica identity (alter table … replica identity full)',
      );
    }
    const decoded = this.#message(payload, place);
    if (decoded === tablesStale) return decoded;
    this.#special = [];
    return this.#withTruncate(decoded, place);
  }

  #message(payload: Buffer, place: PayloadPlace): PluginMessage | typeof tablesStale | null {
    if (payload.subarray(0, messageMark.length).equals(Buffer.from(messageMark))) {
      return this.#logicalMessage(payload, place);
    }
    const scanner = new JsonScanner(readPayload(payload, place), place);
    const action = this.#action(scanner);
    const decoded = this.#record(scanner, action);
    if (decoded === tablesStale) return decoded;
    scanner.expect('}');
    scanner.end();
    return decoded;
  }

  #record(scanner: JsonScanner, action: string): PluginMessage | typeof tablesStale | null {
    if (action === 'B') return this.#begin(scanner);
    if (action === 'C') return this.#commit(scanner);
    const head = this.#head(scanner, action);
    scanner.expect(',');
    scanner.member('schema');
    const schema = scanner.string();
    scanner.expect(',');
    scanner.member('table');
    const name = scanner.string();
    const table = this.#relations.find(schema, name, head.xid);
    if (table === tablesStale) return tablesStale;
    switch (action) {
      case 'I':
        return this.#insert(scanner, head, table);
      case 'U':
        return this.#update(scanner, head, table);
      case 'D':
        return this.#delete(scanner, head, table);
      case 'T': {
        if (!table.followed) {
          table.check(null, scanner.place);
          return null;
        }
        const change = {
          kind: 'truncate',
          relations: [table.relation],
          restartIdentity: null,
          cascade: null,
        } as const;
        return { kind: 'change', xid: head.xid, lsn: head.lsn, change };
      }
      default:
        return scanner.refuse('an action of this kind is not known', 0);
    }
  }

  #action(scanner: JsonScanner): string {
    scanner.expect('{');
    scanner.member('action');
    return scanner.string();
  }

  #begin(scanner: JsonScanner): PluginMessage {
    if (this.#xid !== null) scanner.refuse('the transaction before it has not ended');
    const { xid, time, lsn } = this.#edges(scanner);
    this.#xid = xid;
    return { kind: 'begin', xid, commitLsn: lsn, commitTime: time };
  }

  #commit(scanner: JsonScanner): PluginMessage {
    const { xid, time, lsn, next } = this.#edges(scanner);
    this.#inside(scanner, xid);
    this.#xid = null;
    return { kind: 'commit', xid, commitLsn: lsn, endLsn: next, commitTime: time };
  }

  #edges(scanner: JsonScanner): { xid: bigint; time: bigint; lsn: Lsn; next: Lsn } {
    scanner.expect(',');
    scanner.member('xid');
    const xid = readXid(scanner);
    scanner.expect(',');
    scanner.member('timestamp');
    const time = this.#time(scanner);
    scanner.expect(',');
    scanner.member('lsn');
    const lsn = readLsnText(scanner);
    scanner.expect(',');
    scanner.member('nextlsn');
    return { xid, time, lsn, next: readLsnText(scanner) };
  }

  #head(scanner: JsonScanner, action: string): Head {
    scanner.expect(',');
    scanner.member('xid');
    const xid = readXid(scanner);
    this.#inside(scanner, xid);
    scanner.expect(',');
    scanner.member('timestamp');
    const time = scanner.string();
    scanner.expect(',');
    scanner.member('lsn');
    return { action, xid, time, lsn: readLsnText(scanner) };
  }

  #time(scanner: JsonScanner): bigint {
    const text = scanner.string();
    if (text !== this.#lastTime || this.#lastTimeValue === null) {
      this.#lastTimeValue = readServerTime(text) ?? scanner.refuse('this is no time');
      this.#lastTime = text;
    }
    return this.#lastTimeValue;
  }

  #inside(scanner: JsonScanner, xid: bigint): void {
    if (this.#xid === null) scanner.refuse('no transaction is open', 0);
    if (xid !== this.#xid) scanner.refuse(`it belongs to transaction ${xid} while ${this.#xid} is open`, 0);
  }

  #insert(
    scanner: JsonScanner,
    { xid, lsn }: Head,
    table: SourceRelation | Unfollowed,
  ): PluginMessage | typeof tablesStale | null {
    const fresh = this.#row(scanner, 'columns', table);
    this.#tellSpecial(scanner, table, [fresh]);
    if (!table.followed) return ignore(table, { kind: 'insert', fresh: fresh.layout, old: null }, scanner);
    const shape = table.shape({ kind: 'insert', fresh: fresh.layout, old: null }, xid, scanner.place);
    if (shape === tablesStale) return tablesStale;
    const row = arrangeInsert(shape, fresh.cells, scanner.place);
    return { kind: 'change', xid, lsn, change: { kind: 'insert', relation: shape.relation, row } };
  }

  #update(
    scanner: JsonScanner,
    { xid, lsn }: Head,
    table: SourceRelation | Unfollowed,
  ): PluginMessage | typeof tablesStale | null {
    const fresh = this.#row(scanner, 'columns', table);
    const old = this.#row(scanner, 'identity', table);
    this.#tellSpecial(scanner, table, [fresh, old]);
    const { place } = scanner;
    const printed = { kind: 'update', fresh: fresh.layout, old: old.layout } as const;
    if (!table.followed) return ignore(table, printed, scanner);
    const shape = table.shape(printed, xid, place);
    if (shape === tablesStale) return tablesStale;
    const { relation } = shape;
    const row = arrangeRow(shape, fresh.cells);
    const key = settleIdentity(shape, row, arrangeKey(shape, old.cells, place), place);
    return { kind: 'change', xid, lsn, change: { kind: 'update', relation, key, row } };
  }

  #delete(
    scanner: JsonScanner,
    { xid, lsn }: Head,
    table: SourceRelation | Unfollowed,
  ): PluginMessage | typeof tablesStale | null {
    const old = this.#row(scanner, 'identity', table);
    this.#tellSpecial(scanner, table, [old]);
    if (!table.followed) return ignore(table, { kind: 'delete', fresh: null, old: old.layout }, scanner);
    const shape = table.shape({ kind: 'delete', fresh: null, old: old.layout }, xid, scanner.place);
    if (shape === tablesStale) return tablesStale;
    const key = arrangeKey(shape, old.cells, scanner.place);
    return { kind: 'change', xid, lsn, change: { kind: 'delete', relation: shape.relation, key } };
  }

  /** Puts NaN and the infinities where they were: the cases are at the head of this file. */
  #tellSpecial(scanner: JsonScanner, table: SourceRelation | Unfollowed, rows: readonly PrintedRow[]): void {
    const said = this.#special;
    if (!table.followed || said.length === 0) return;
    const nulls = rows.flatMap(({ layout, cells }) =>
      cells.flatMap((cell, nth) =>
        cell === null && specialOids.has(layout.typeOids[nth]!)
          ? [{ cells, nth, name: layout.names[nth]! }]
          : [],
      ),
    );
    if (said.length > nulls.length) {
      scanner.refuse(
        `${said.length} special values were announced, and ${nulls.length} columns can hold one`,
        0,
      );
    }
    if (said.length < nulls.length) {
      const names = [...new Set(nulls.map(({ name }) => name))].join(', ');
      refuseLimit(
        scanner.place,
        `a change in ${table.label} holds NULL and NaN (or an infinity) at once in its columns ${names}, and both are printed as null`,
        'update wal2json on the source to 2.6',
      );
    }
    nulls.forEach(({ cells, nth }, which) => {
      cells[nth] = said[which]!;
    });
  }

  /** Content and prefix are bytes here, read one to a letter. Null for one that is somebody else's. */
  #logicalMessage(payload: Buffer, place: PayloadPlace): PluginMessage | null {
    const scanner = new JsonScanner(payload.toString('latin1', 0, longestMessagePayload), place);
    this.#action(scanner);
    scanner.expect(',');
    scanner.member('xid');
    const xid = scanner.take('null') ? null : readXid(scanner);
    scanner.expect(',');
    scanner.member('timestamp');
    if (!scanner.take('null')) scanner.string();
    scanner.expect(',');
    scanner.member('lsn');
    const lsn = readLsnText(scanner);
    scanner.expect(',');
    scanner.member('transactional');
    const transactional = scanner.scalar();
    if (transactional !== true && transactional !== false) scanner.refuse('a message is neither');
    scanner.expect(',');
    if (transactional) {
      if (xid === null) return scanner.refuse('a transactional message has no transaction');
      this.#inside(scanner, xid);
    }
    scanner.member('prefix');
    if (!scanner.take(`"${ownPrefix}"`) || payload.length > longestMessagePayload) return null;
    scanner.expect(',');
    scanner.member('content');
    const content = Buffer.from(scanner.string(), 'latin1');
    scanner.expect('}');
    scanner.end();
    if (content.length > longestOwnMessage) return null;
    return {
      kind: 'message',
      xid: transactional ? xid : null,
      lsn,
      prefix: ownPrefix,
      content: content.toString('base64'),
    };
  }

  /** `,"columns":[{…},…]` or the same as identity. */
  #row(scanner: JsonScanner, member: 'columns' | 'identity', table: SourceRelation | Unfollowed): PrintedRow {
    scanner.expect(',');
    scanner.member(member);
    scanner.expect('[');
    const rows = member === 'columns' ? 'fresh' : 'old';
    const layouts = table.followed ? this.#layouts.of(table, rows) : null;
    const last = layouts?.last ?? null;
    const start = scanner.at;
    const known = last === null ? null : this.#knownRow(scanner, last);
    if (known !== null) return known;
    scanner.at = start;
    const layout: KnownLayout = { names: [], typeOids: [], heads: [] };
    const cells: (string | null)[] = [];
    while (!scanner.take(']')) {
      const from = scanner.at;
      if (cells.length > 0) scanner.expect(',');
      scanner.expect('{');
      scanner.member('name');
      layout.names.push(scanner.string());
      scanner.expect(',');
      scanner.member('typeoid');
      // Printed as a signed number.
      const typeOid = Number(scanner.number()) >>> 0;
      layout.typeOids.push(typeOid);
      scanner.expect(',');
      scanner.member('value');
      layout.heads.push(scanner.text.slice(from, scanner.at));
      cells.push(this.#cell(scanner, typeOid));
      scanner.expect('}');
    }
    if (layouts === null) return { layout, cells };
    if (new Set(layout.names).size !== layout.names.length) {
      scanner.refuse(`a row of ${table.label} names a column twice`, start);
    }
    return { layout: layouts.settle(layout.heads, layout), cells };
  }

  /** The row once more with the columns of the row before it; null when they are others. */
  #knownRow(scanner: JsonScanner, layout: KnownLayout): PrintedRow | null {
    const { heads, typeOids } = layout;
    const cells: (string | null)[] = [];
    for (let nth = 0; nth < heads.length; nth += 1) {
      if (!scanner.take(heads[nth]!)) return null;
      cells.push(this.#cell(scanner, typeOids[nth]!));
      scanner.expect('}');
    }
    return scanner.take(']') ? { layout, cells } : null;
  }

  /** The server's own text of a value: booleans and bytea are printed in another way. */
  #cell(scanner: JsonScanner, typeOid: number): string | null {
    const at = scanner.at;
    const value: Scalar = scanner.scalar();
    if (value === null) return null;
    if (typeOid === boolOid) {
      if (typeof value !== 'boolean') return scanner.refuse('a boolean is something else', at);
      return value ? 't' : 'f';
    }
    if (numberOids.has(typeOid)) {
      if (this.#numbersAsText)
        return typeof value === 'string' ? value : scanner.refuse('a number is bare', at);
      return value instanceof NumberText ? value.text : scanner.refuse('a number is something else', at);
    }
    if (typeof value !== 'string') return scanner.refuse(`a value of type ${typeOid} is not a string`, at);
    if (typeOid !== byteaOid) return value;
    if (!/^(?:[0-9a-f]{2})*$/.test(value)) scanner.refuse('a bytea is not hexadecimal', at);
    return `\\x${value}`;
  }

  /** Gathers the tables of one TRUNCATE, which come one by one at the same position, and gives them out together. */
  #withTruncate(message: PluginMessage | null, place: PayloadPlace): Decoded {
    const held = this.#truncate;
    if (isTruncate(message)) {
      const { relations } = message.change;
      if (held !== null && held.lsn === message.lsn) {
        held.relations.push(...relations);
        return null;
      }
      this.#truncate = { xid: message.xid, lsn: message.lsn, relations: [...relations] };
      return held === null ? null : truncateOf(held);
    }
    // A table that is not followed may stand between two that are.
    if (held === null || message === null) return message;
    if (message.kind === 'begin') refuse(place, 'a TRUNCATE was not ended', 0);
    this.#truncate = null;
    return [truncateOf(held), message];
  }
}

function ignore(table: Unfollowed, printed: Printed, scanner: JsonScanner): null {
  table.check(printed, scanner.place);
  return null;
}

type TruncateMessage = ChangeMessage & { readonly change: { readonly kind: 'truncate' } };

function isTruncate(message: PluginMessage | null): message is TruncateMessage {
  return message?.kind === 'change' && message.change.kind === 'truncate';
}

function truncateOf(held: { xid: bigint; lsn: Lsn; relations: readonly Relation[] }): PluginMessage {
  const { xid, lsn, relations } = held;
  return {
    kind: 'change',
    xid,
    lsn,
    change: { kind: 'truncate', relations, restartIdentity: null, cascade: null },
  };
}

function readXid(scanner: JsonScanner): bigint {
  const text = scanner.number();
  if (!/^\d{1,10}$/.test(text)) scanner.refuse('this is no transaction id');
  const xid = BigInt(text);
  if (xid > 0xffff_ffffn) scanner.refuse('this is no transaction id');
  return xid;
}

function readLsnText(scanner: JsonScanner): Lsn {
  return parseLsn(scanner.string()) ?? scanner.refuse('this is no LSN');
}
