/**
 * Lines to messages, strictly: what is not exactly a line of ours is damage, with the file's name and the offset.
 * Whether the line is what was written at all, its checksum tells; this tells whether we understand it.
 */
import { Failure } from '../failure.js';
import { parseLsn } from '../model/lsn.js';
import type { Lsn } from '../model/lsn.js';
import type { StreamMessage } from '../model/message.js';
import type { Relation, RelationColumn, ReplicaIdentity } from '../model/relation.js';
import { unchanged } from '../model/row.js';
import type { Key, Row } from '../model/row.js';
import { damaged, journalFormat, journalVersion } from './format.js';
import type { Header, SwitchLine } from './format.js';
import { PlainLines } from './plain-line.js';
import { TimestampScanner } from './timestamp.js';

type Fields = Readonly<Record<string, unknown>>;

/** What is wrong with a line; becomes a Failure where file and offset are known. */
class BadLine extends Error {}

function bad(what: string): never {
  throw new BadLine(what);
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseFields(text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    bad('not JSON');
  }
  return isFields(value) ? value : bad('not a JSON object');
}

/** Runs `read`, and puts file and offset to what it complains about. */
function located<T>(file: string, offset: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof BadLine) throw damaged(file, offset, error.message);
    throw error;
  }
}

function text(value: unknown, name: string): string {
  return typeof value === 'string' ? value : bad(`"${name}" is not a string`);
}

function lsnOf(value: unknown, name: string): Lsn {
  return parseLsn(text(value, name)) ?? bad(`"${name}" is not an LSN`);
}

function xidOf(value: unknown): bigint {
  const digits = text(value, 'xid');
  if (!/^\d{1,20}$/.test(digits)) bad('"xid" is not a transaction id');
  return BigInt(digits);
}

function flagOf(value: unknown, name: string): boolean | null {
  return typeof value === 'boolean' || value === null ? value : bad(`"${name}" is not true, false or null`);
}

function yes(value: unknown, name: string): true {
  return value === true ? value : bad(`"${name}" is not true`);
}

/** A line of a streamed transaction that names its subtransaction. */
function ofSubtransaction(message: StreamMessage | SwitchLine | null, sub: bigint): StreamMessage {
  if (message?.kind === 'change' || message?.kind === 'message' || message?.kind === 'rollback') {
    return { ...message, sub };
  }
  return bad('it cannot belong to a subtransaction');
}

function count(value: unknown, name: string): number {
  return Number.isSafeInteger(value) && (value as number) >= 0
    ? (value as number)
    : bad(`"${name}" is not a number`);
}

function rowOf(value: unknown, relation: Relation): Row {
  if (!Array.isArray(value)) bad('"row" is not a list');
  const cells = value as readonly unknown[];
  if (cells.length !== relation.columns.length) bad('"row" does not have one value for each column');
  for (const cell of cells) {
    if (typeof cell !== 'string' && cell !== null && cell !== unchanged)
      bad('"row" holds something that is no value');
  }
  return cells as Row;
}

function keyOf(value: unknown, relation: Relation): Key {
  if (!Array.isArray(value)) bad('"key" is not a list');
  const cells = value as readonly unknown[];
  if (cells.length !== relation.key.length) bad('"key" does not have one value for each key column');
  for (const cell of cells) {
    if (typeof cell !== 'string' && cell !== null) bad('"key" holds something that is no value');
  }
  return cells as Key;
}

const identities: ReadonlySet<unknown> = new Set<ReplicaIdentity>(['default', 'nothing', 'full', 'index']);

function columnOf(value: unknown): RelationColumn {
  if (!isFields(value)) bad('a column is not an object');
  const { name, type } = value;
  return { name: text(name, 'name'), typeOid: type === null ? null : count(type, 'type') };
}

function relationOf(fields: Fields): Relation {
  const { identity, columns, key } = fields;
  if (!identities.has(identity)) bad('"identity" is unknown');
  if (!Array.isArray(columns)) bad('"columns" is not a list');
  if (!Array.isArray(key)) bad('"key" is not a list');
  const described = (columns as readonly unknown[]).map(columnOf);
  return {
    schema: text(fields['schema'], 'schema'),
    name: text(fields['name'], 'name'),
    identity: identity as ReplicaIdentity,
    columns: described,
    key: (key as readonly unknown[]).map((position) =>
      count(position, 'key') < described.length
        ? (position as number)
        : bad('"key" names a column that is not there'),
    ),
  };
}

const fileName = /^[0-9A-F]{24}\.json$/;

function fileOf(value: unknown, name: string): string {
  const file = text(value, name);
  return fileName.test(file) ? file : bad(`"${name}" is not the name of a transform file`);
}

function openOf(value: unknown): ReadonlyMap<bigint, string> {
  if (!isFields(value)) bad('"open" is not an object');
  return new Map(Object.entries(value).map(([xid, file]) => [xidOf(xid), fileOf(file, 'open')]));
}

function streamOf(value: unknown): Readonly<Record<string, string>> {
  if (!isFields(value)) bad('"stream" is not an object');
  for (const entry of Object.values(value)) text(entry, 'stream');
  return value as Readonly<Record<string, string>>;
}

/**
 * The header that begins the file. Throws `journal-damaged`; `work-directory-broken` when another version of
 * walferry wrote the file.
 */
export function decodeHeader(file: string, line: string): Header {
  return located(file, 0, () => {
    const fields = parseFields(line);
    if (fields['action'] !== 'H' || fields['format'] !== journalFormat)
      bad('it does not begin with a header');
    const version = count(fields['version'], 'version');
    if (version !== journalVersion) {
      throw new Failure(
        'work-directory-broken',
        `transform file ${file} has format version ${version}; this walferry reads version ${journalVersion}`,
      );
    }
    const segment = text(fields['segment'], 'segment');
    if (`${segment}.json` !== file) bad(`its header is that of ${segment}.json`);
    const { previous, start, position } = fields;
    const segmentBytes = count(fields['segmentBytes'], 'segmentBytes');
    if (segmentBytes === 0) bad('"segmentBytes" is 0');
    return {
      timeline: count(fields['timeline'], 'timeline'),
      segment,
      segmentBytes: BigInt(segmentBytes),
      previous: previous === null ? null : fileOf(previous, 'previous'),
      start: start === null ? null : lsnOf(start, 'start'),
      position: position === null ? null : lsnOf(position, 'position'),
      open: openOf(fields['open']),
      stream: streamOf(fields['stream']),
    };
  });
}

/** The number that the line `"synced":N` carries, null when it has none. Only checksum lines carry it. */
export function decodeSynced(line: string): number | null {
  try {
    const { synced } = parseFields(line);
    return synced === undefined ? null : count(synced, 'synced');
  } catch {
    return null;
  }
}

/**
 * Relations by what they say: the same description read from another file is the same object, so that the applier
 * does not prepare its statements again in every file.
 */
export class RelationIntern {
  readonly #relations = new Map<string, Relation>();

  intern(relation: Relation): Relation {
    const description = JSON.stringify([
      relation.schema,
      relation.name,
      relation.identity,
      relation.columns.map((column) => [column.name, column.typeOid]),
      relation.key,
    ]);
    const known = this.#relations.get(description);
    if (known !== undefined) return known;
    this.#relations.set(description, relation);
    return relation;
  }
}

/** Decodes the lines of one file, in order: relation numbers are the file's own. */
export class LineDecoder {
  readonly #file: string;
  readonly #intern: RelationIntern;
  readonly #relations = new Map<number, Relation>();
  #lastXidText: string | null = null;
  #lastXid = 0n;
  #lastLsnText: string | null = null;
  #lastLsn = 0n as Lsn;
  readonly #times = new TimestampScanner();
  #lastRelationId = -1;
  #lastRelation: Relation | null = null;
  #maxRelationId = -1;
  readonly #plain = new PlainLines((id) => this.#relations.get(id));

  constructor(file: string, intern: RelationIntern) {
    this.#file = file;
    this.#intern = intern;
  }

  /** The largest relation number so far, -1 without any. */
  get maxRelationId(): number {
    return this.#maxRelationId;
  }

  /** Tells of a relation whose line was not read here, because the writer handed its messages over in memory. */
  describe(id: number, relation: Relation): void {
    this.#relations.set(id, relation);
    this.#lastRelationId = -1;
    if (id > this.#maxRelationId) this.#maxRelationId = id;
  }

  /** The message of the line in `buffer` from `start` to `end`; otherwise as `decode`. */
  decodeBytes(buffer: Buffer, start: number, end: number, offset: number): StreamMessage | SwitchLine | null {
    return this.#plain.read(buffer, start, end) ?? this.decode(buffer.toString('utf8', start, end), offset);
  }

  /**
   * The message of one line; null for one that only tells this decoder something (a relation described again).
   * `offset` is where the line begins in the file. Throws `journal-damaged`.
   */
  decode(line: string, offset: number): StreamMessage | SwitchLine | null {
    try {
      const fields = parseFields(line);
      const message = this.#decode(fields);
      return fields['sub'] === undefined ? message : ofSubtransaction(message, xidOf(fields['sub']));
    } catch (error) {
      if (error instanceof BadLine) throw damaged(this.#file, offset, error.message);
      throw error;
    }
  }

  #decode(fields: Fields): StreamMessage | SwitchLine | null {
    switch (fields['action']) {
      case 'I': {
        const relation = this.#relation(fields['rel']);
        const change = { kind: 'insert', relation, row: rowOf(fields['row'], relation) } as const;
        return { kind: 'change', xid: this.#xid(fields['xid']), lsn: this.#lsn(fields['lsn']), change };
      }
      case 'U': {
        const relation = this.#relation(fields['rel']);
        const key = fields['key'] === null ? null : keyOf(fields['key'], relation);
        const change = { kind: 'update', relation, key, row: rowOf(fields['row'], relation) } as const;
        return { kind: 'change', xid: this.#xid(fields['xid']), lsn: this.#lsn(fields['lsn']), change };
      }
      case 'D': {
        const relation = this.#relation(fields['rel']);
        const change = { kind: 'delete', relation, key: keyOf(fields['key'], relation) } as const;
        return { kind: 'change', xid: this.#xid(fields['xid']), lsn: this.#lsn(fields['lsn']), change };
      }
      case 'T':
        return this.#truncate(fields);
      case 'B': {
        const { xid, lsn, timestamp } = fields;
        return {
          kind: 'begin',
          xid: this.#xid(xid),
          commitLsn: lsn === undefined ? null : this.#lsn(lsn),
          commitTime: timestamp === undefined ? null : this.#time(timestamp),
          ...(fields['streamed'] === undefined ? {} : { streamed: yes(fields['streamed'], 'streamed') }),
        };
      }
      case 'C':
        return {
          kind: 'commit',
          xid: this.#xid(fields['xid']),
          commitLsn: this.#lsn(fields['lsn']),
          endLsn: lsnOf(fields['end'], 'end'),
          commitTime: this.#time(fields['timestamp']),
        };
      case 'L':
        return this.#describe(fields);
      case 'M':
        return {
          kind: 'message',
          xid: fields['xid'] === undefined ? null : this.#xid(fields['xid']),
          lsn: this.#lsn(fields['lsn']),
          prefix: text(fields['prefix'], 'prefix'),
          content: text(fields['content'], 'content'),
        };
      case 'R':
        return { kind: 'rollback', xid: this.#xid(fields['xid']), lsn: this.#lsn(fields['lsn']) };
      case 'K':
        return { kind: 'keepalive', lsn: lsnOf(fields['lsn'], 'lsn'), time: this.#time(fields['timestamp']) };
      case 'V':
        return { kind: 'connected', lsn: lsnOf(fields['lsn'], 'lsn') };
      case 'E':
        return { kind: 'endpos', lsn: lsnOf(fields['lsn'], 'lsn') };
      case 'X':
        return { kind: 'switch', lsn: lsnOf(fields['lsn'], 'lsn'), next: fileOf(fields['next'], 'next') };
      case 'H':
        return bad('a second header');
      default:
        return bad('its "action" is unknown');
    }
  }

  #truncate(fields: Fields): StreamMessage {
    const { rels } = fields;
    if (!Array.isArray(rels)) bad('"rels" is not a list');
    return {
      kind: 'change',
      xid: this.#xid(fields['xid']),
      lsn: this.#lsn(fields['lsn']),
      change: {
        kind: 'truncate',
        relations: (rels as readonly unknown[]).map((id) => this.#relation(id)),
        restartIdentity: flagOf(fields['restart'], 'restart'),
        cascade: flagOf(fields['cascade'], 'cascade'),
      },
    };
  }

  #describe(fields: Fields): StreamMessage | null {
    const id = count(fields['rel'], 'rel');
    if (this.#relations.has(id)) bad('a relation number is used twice');
    const relation = this.#intern.intern(relationOf(fields));
    this.describe(id, relation);
    const { again } = fields;
    if (again === true) return null;
    return again === undefined ? { kind: 'relation', relation } : bad('"again" is not true');
  }

  #relation(id: unknown): Relation {
    if (id === this.#lastRelationId && this.#lastRelation !== null) return this.#lastRelation;
    const known = typeof id === 'number' ? this.#relations.get(id) : undefined;
    if (known === undefined) bad('it uses a relation that was not described');
    this.#lastRelationId = id as number;
    this.#lastRelation = known;
    return known;
  }

  #xid(value: unknown): bigint {
    if (value !== this.#lastXidText) {
      this.#lastXid = xidOf(value);
      this.#lastXidText = value as string;
      this.#plain.begin(this.#lastXid, this.#lastXidText);
    }
    return this.#lastXid;
  }

  #time(value: unknown): bigint {
    return this.#times.parse(text(value, 'timestamp')) ?? bad('"timestamp" is not a time');
  }

  #lsn(value: unknown): Lsn {
    if (value !== this.#lastLsnText) {
      this.#lastLsn = lsnOf(value, 'lsn');
      this.#lastLsnText = value as string;
    }
    return this.#lastLsn;
  }
}
