/**
 * Messages to lines. Hot: a change is put into the buffer piece by piece, and what repeats from line to line (xid, LSN,
 * time, relation) is remembered.
 *
 * A line is left *open*, without its closing `}` and newline, because a checksum may still join it.
 */
import type { Insert, Update } from '../model/change.js';
import type { Failure } from '../failure.js';
import { formatLsn, zeroLsn } from '../model/lsn.js';
import type { Lsn } from '../model/lsn.js';
import type { Begin, ChangeMessage, Commit, StreamMessage } from '../model/message.js';
import { packedOf } from '../model/packed-row.js';
import { relationLabel, type Relation } from '../model/relation.js';
import { longestText, tooLong } from '../model/text-limit.js';
import { journalFormat, journalVersion } from './format.js';
import type { Header } from './format.js';
import type { LineBuffer } from './line-buffer.js';
import { TimestampPrinter } from './timestamp.js';

/** A relation and the number it goes by in one file. */
export type Described = { readonly id: number; readonly relation: Relation };

/** The header line, open. */
export function encodeHeader(header: Header): string {
  const text = JSON.stringify({
    action: 'H',
    format: journalFormat,
    version: journalVersion,
    timeline: header.timeline,
    segment: header.segment,
    segmentBytes: Number(header.segmentBytes),
    previous: header.previous,
    start: header.start === null ? null : formatLsn(header.start),
    position: header.position === null ? null : formatLsn(header.position),
    open: Object.fromEntries(header.open),
    stream: header.stream,
  });
  return text.slice(0, -1);
}

/** The last line of a closed file, open. `next` names the file that goes on. */
export function encodeSwitch(lsn: Lsn, next: string): string {
  return `{"action":"X","lsn":"${formatLsn(lsn)}","next":${JSON.stringify(next)}`;
}

function describe(relation: Relation): string {
  return (
    `"schema":${JSON.stringify(relation.schema)},"name":${JSON.stringify(relation.name)}` +
    `,"identity":"${relation.identity}","columns":[` +
    relation.columns
      .map((column) => `{"name":${JSON.stringify(column.name)},"type":${column.typeOid}}`)
      .join(',') +
    `],"key":${JSON.stringify(relation.key)}`
  );
}

/** The subtransaction that a line belongs to, which only lines of streamed transactions have. */
function sub(message: { readonly sub?: bigint }): string {
  return message.sub === undefined ? '' : `,"sub":"${message.sub}"`;
}

function putRow(change: Insert | Update, lines: LineBuffer): void {
  const packed = packedOf(change);
  if (packed === undefined) lines.putCells(change.row);
  else lines.putPacked(packed);
}

/** What may still join a line: the mark of an fsync, a checksum, the end of the object. */
const lineEndChars = 128;

/** What the engine says of a string that would be longer than any can be. */
const noSuchString = 'Invalid string length';

/** What a line is about, for whoever is told that it is too long. */
function lineSubject(message: StreamMessage): string {
  if (message.kind === 'change' && message.change.kind !== 'truncate') {
    return `a row of ${relationLabel(message.change.relation)}`;
  }
  return message.kind === 'message' ? `a logical message with the prefix "${message.prefix}"` : 'a message';
}

/** How the line of a row's change begins. */
const actions = {
  insert: '{"action":"I","xid":"',
  update: '{"action":"U","xid":"',
  delete: '{"action":"D","xid":"',
} as const;

const nothingDescribed: readonly Described[] = [];

/** Encodes the lines of one file: relation numbers are the file's own. */
export class LineEncoder {
  readonly #ids = new WeakMap<Relation, number>();
  /** Relations by their description: a decoder that makes a new object for each change must not fill the file. */
  readonly #idsByText = new Map<string, number>();
  #nextId: number;
  #described: Described[] = [];
  #lastRelation: Relation | null = null;
  #lastId = 0;
  #lastIdText = '0';
  #lastXid = -1n;
  #xidText = '';
  #lastLsn = -1n as Lsn;
  #lsnText = '';
  readonly #times = new TimestampPrinter();
  #lastTime: bigint | null = null;
  #timeText = '';

  readonly #longestLine: number;

  /**
   * `firstId`: greater than every relation number that stands in the file already. `longestLine`: in UTF-16 units; what
   * can be read back unless told.
   */
  constructor(firstId: number, longestLine = longestText) {
    this.#nextId = firstId;
    this.#longestLine = longestLine - lineEndChars;
  }

  /** The relations described since this was asked last. The list is the caller's: none that grows. */
  takeDescribed(): readonly Described[] {
    if (this.#described.length === 0) return nothingDescribed;
    const described = this.#described;
    this.#described = [];
    return described;
  }

  /**
   * Adds the message's line, open; before it the description of each relation that is new to the file. Throws
   * `plugin-limit` when nobody could read the line.
   */
  encode(message: StreamMessage, lines: LineBuffer): void {
    const before = lines.used;
    try {
      this.#put(message, lines);
    } catch (error) {
      if (!(error instanceof RangeError && error.message === noSuchString)) throw error;
      throw this.#tooLong(message);
    }
    // The bytes are known for nothing; the line has at most as many units.
    if (lines.used - before > this.#longestLine && lines.isLongerThan(this.#longestLine)) {
      throw this.#tooLong(message);
    }
  }

  #tooLong(message: StreamMessage): Failure {
    const lsn = message.kind === 'change' || message.kind === 'message' ? message.lsn : zeroLsn;
    return tooLong(lineSubject(message), lsn, this.#longestLine);
  }

  #put(message: StreamMessage, lines: LineBuffer): void {
    switch (message.kind) {
      case 'change':
        this.#change(message, lines);
        break;
      case 'begin':
        this.#begin(message, lines);
        break;
      case 'commit':
        this.#commit(message, lines);
        break;
      case 'relation':
      case 'message':
      case 'rollback':
      case 'keepalive':
      case 'connected':
      case 'endpos':
        lines.add(this.#line(message));
        break;
    }
  }

  // A small transaction has as many of these two lines as of others: they are put together like those of rows.
  #begin({ xid, commitLsn, commitTime, streamed }: Begin, lines: LineBuffer): void {
    lines.next();
    lines.put('{"action":"B","xid":"');
    lines.put(this.#xid(xid));
    if (commitLsn !== null) {
      lines.put('","lsn":"');
      lines.putLsn(commitLsn);
    }
    if (commitTime !== null) {
      lines.put('","timestamp":"');
      lines.put(this.#time(commitTime));
    }
    lines.put(streamed === undefined ? '"' : '","streamed":true');
  }

  #commit({ xid, commitLsn, commitTime, endLsn }: Commit, lines: LineBuffer): void {
    lines.next();
    lines.put('{"action":"C","xid":"');
    lines.put(this.#xid(xid));
    lines.put('","lsn":"');
    lines.putLsn(commitLsn);
    lines.put('","timestamp":"');
    lines.put(this.#time(commitTime));
    lines.put('","end":"');
    lines.putLsn(endLsn);
    lines.put('"');
  }

  #line(message: Exclude<StreamMessage, ChangeMessage | Begin | Commit>): string {
    switch (message.kind) {
      case 'relation':
        return this.#relation(message.relation, describe(message.relation), '');
      case 'message':
        return (
          `{"action":"M"${message.xid === null ? '' : `,"xid":"${this.#xid(message.xid)}"${sub(message)}`}` +
          `,"lsn":"${this.#lsn(message.lsn)}","prefix":${JSON.stringify(message.prefix)}` +
          `,"content":${JSON.stringify(message.content)}`
        );
      case 'rollback':
        return `{"action":"R","xid":"${this.#xid(message.xid)}"${sub(message)},"lsn":"${this.#lsn(message.lsn)}"`;
      case 'keepalive':
        return `{"action":"K","lsn":"${formatLsn(message.lsn)}","timestamp":"${this.#time(message.time)}"`;
      case 'connected':
        return `{"action":"V","lsn":"${formatLsn(message.lsn)}"`;
      case 'endpos':
        break;
    }
    return `{"action":"E","lsn":"${formatLsn(message.lsn)}"`;
  }

  #change(message: ChangeMessage, lines: LineBuffer): void {
    const { change } = message;
    if (change.kind === 'truncate') {
      this.#truncate(message, lines);
      return;
    }
    const { relation } = change;
    if (relation !== this.#lastRelation) this.#use(relation, lines);
    lines.next();
    lines.put(actions[change.kind]);
    lines.put(this.#xid(message.xid));
    lines.put(message.sub === undefined ? '","lsn":"' : `","sub":"${message.sub}","lsn":"`);
    lines.putLsn(message.lsn);
    lines.put('","rel":');
    lines.put(this.#lastIdText);
    switch (change.kind) {
      case 'insert':
        lines.put(',"row":');
        putRow(change, lines);
        break;
      case 'update':
        if (change.key === null) {
          lines.put(',"key":null,"row":');
        } else {
          lines.put(',"key":');
          lines.putCells(change.key);
          lines.put(',"row":');
        }
        putRow(change, lines);
        break;
      case 'delete':
        lines.put(',"key":');
        lines.putCells(change.key);
        break;
    }
  }

  #truncate(message: ChangeMessage, lines: LineBuffer): void {
    if (message.change.kind !== 'truncate') throw new TypeError('not a truncate');
    const { relations, restartIdentity, cascade } = message.change;
    const ids = relations.map((relation) => {
      this.#use(relation, lines);
      return this.#lastId;
    });
    lines.add(
      `{"action":"T","xid":"${this.#xid(message.xid)}"${sub(message)},"lsn":"${this.#lsn(message.lsn)}"` +
        `,"rels":[${ids.join(',')}],"restart":${restartIdentity},"cascade":${cascade}`,
    );
  }

  /** Makes `relation` the current one, and adds its description when the file does not have it yet. */
  #use(relation: Relation, lines: LineBuffer): void {
    let id = this.#ids.get(relation);
    if (id === undefined) {
      const text = describe(relation);
      id = this.#idsByText.get(text);
      if (id === undefined) {
        lines.add(this.#relation(relation, text, ',"again":true'));
        return;
      }
      this.#ids.set(relation, id);
    }
    this.#setLast(relation, id);
  }

  #setLast(relation: Relation, id: number): void {
    this.#lastRelation = relation;
    this.#lastId = id;
    this.#lastIdText = String(id);
  }

  #relation(relation: Relation, text: string, again: string): string {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#ids.set(relation, id);
    this.#idsByText.set(text, id);
    this.#described.push({ id, relation });
    this.#setLast(relation, id);
    return `{"action":"L","rel":${id},${text}${again}`;
  }

  #xid(xid: bigint): string {
    if (xid !== this.#lastXid) {
      this.#lastXid = xid;
      this.#xidText = xid.toString();
    }
    return this.#xidText;
  }

  #lsn(lsn: Lsn): string {
    if (lsn !== this.#lastLsn) {
      this.#lastLsn = lsn;
      this.#lsnText = formatLsn(lsn);
    }
    return this.#lsnText;
  }

  #time(time: bigint): string {
    if (time !== this.#lastTime) {
      this.#lastTime = time;
      this.#timeText = this.#times.format(time);
    }
    return this.#timeText;
  }
}
