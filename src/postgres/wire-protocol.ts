/**
 * Frames of the frontend/backend protocol, version 3: a writer of what the apply session sends, and a reader that
 * cuts what comes back into messages, wherever the socket's chunks end.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import {
  textArrayBytesAtMost,
  textArrayOid,
  textOid,
  utf8BytesAtMost,
  writeTextArray,
  type TextArray,
} from './bind-array.js';

/** One parameter: text or null, or an array of them. */
export type WireParameter = string | null | TextArray;

const code = (letter: string): number => letter.charCodeAt(0);

const frontend = {
  bind: code('B'),
  close: code('C'),
  copyData: code('d'),
  copyDone: code('c'),
  execute: code('E'),
  parse: code('P'),
  query: code('Q'),
  sync: code('S'),
  terminate: code('X'),
} as const;

/** The messages of a server that the session reads. */
export const backend = {
  commandComplete: code('C'),
  copyInResponse: code('G'),
  dataRow: code('D'),
  emptyQueryResponse: code('I'),
  errorResponse: code('E'),
  readyForQuery: code('Z'),
} as const;

/** One socket write is about this large when there is much to write. */
const chunkBytes = 64 * 1024;

/** Puts messages behind each other; `take` gives what is ready for the socket. */
export class MessageWriter {
  #buffer = Buffer.allocUnsafe(chunkBytes);
  #start = 0;
  #end = 0;

  /** Bytes written and not yet taken. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** The bytes since the last call. They stay untouched: the writer goes on behind them. */
  take(): Buffer {
    const taken = this.#buffer.subarray(this.#start, this.#end);
    this.#start = this.#end;
    return taken;
  }

  /** Parse: the types of the parameters are told, so that the server guesses none. */
  parse(name: string, sql: string, parameters: readonly WireParameter[]): void {
    this.#reserve(32 + utf8BytesAtMost(name) + utf8BytesAtMost(sql) + 4 * parameters.length);
    const lengthAt = this.#open(frontend.parse);
    this.#zeroTerminated(name);
    this.#zeroTerminated(sql);
    this.#int16(parameters.length);
    for (const parameter of parameters) this.#int32(isArray(parameter) ? textArrayOid : textOid);
    this.#close(lengthAt);
  }

  /** Bind to the unnamed portal: arrays binary, everything else and every result column as text. */
  bind(name: string, parameters: readonly WireParameter[]): void {
    let bytes = 32 + utf8BytesAtMost(name) + 6 * parameters.length;
    for (const parameter of parameters) bytes += parameterBytesAtMost(parameter);
    this.#reserve(bytes);
    const lengthAt = this.#open(frontend.bind);
    this.#zeroTerminated('');
    this.#zeroTerminated(name);
    this.#int16(parameters.length);
    for (const parameter of parameters) this.#int16(isArray(parameter) ? 1 : 0);
    this.#int16(parameters.length);
    for (const parameter of parameters) this.#parameter(parameter);
    this.#int16(0);
    this.#close(lengthAt);
  }

  /** Execute the unnamed portal to its end. */
  execute(): void {
    this.#reserve(16);
    const lengthAt = this.#open(frontend.execute);
    this.#zeroTerminated('');
    this.#int32(0);
    this.#close(lengthAt);
  }

  /** CopyData: a piece of the data of a COPY FROM STDIN that was executed before. Pieces may end anywhere. */
  copyData(piece: Buffer): void {
    this.#reserve(16 + piece.length);
    const lengthAt = this.#open(frontend.copyData);
    this.#end += piece.copy(this.#buffer, this.#end);
    this.#close(lengthAt);
  }

  /** CopyDone: the end of the data. */
  copyDone(): void {
    this.#reserve(8);
    this.#close(this.#open(frontend.copyDone));
  }

  /** Close a prepared statement; closing one that does not exist is no error. */
  closeStatement(name: string): void {
    this.#reserve(16 + utf8BytesAtMost(name));
    const lengthAt = this.#open(frontend.close);
    this.#buffer[this.#end++] = code('S');
    this.#zeroTerminated(name);
    this.#close(lengthAt);
  }

  /** A simple query: one or more statements, an end of a unit in itself. */
  query(sql: string): void {
    this.#reserve(16 + utf8BytesAtMost(sql));
    const lengthAt = this.#open(frontend.query);
    this.#zeroTerminated(sql);
    this.#close(lengthAt);
  }

  sync(): void {
    this.#reserve(8);
    this.#close(this.#open(frontend.sync));
  }

  terminate(): void {
    this.#reserve(8);
    this.#close(this.#open(frontend.terminate));
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#buffer.length) return;
    const pending = this.#buffer.subarray(this.#start, this.#end);
    const needed = pending.length + bytes;
    const next = Buffer.allocUnsafe(needed <= chunkBytes ? chunkBytes : needed + chunkBytes);
    pending.copy(next);
    this.#buffer = next;
    this.#start = 0;
    this.#end = pending.length;
  }

  #open(type: number): number {
    this.#buffer[this.#end++] = type;
    const lengthAt = this.#end;
    this.#end += 4;
    return lengthAt;
  }

  #close(lengthAt: number): void {
    this.#buffer.writeInt32BE(this.#end - lengthAt, lengthAt);
  }

  #parameter(parameter: WireParameter): void {
    if (parameter === null) {
      this.#int32(-1);
      return;
    }
    const lengthAt = this.#end;
    this.#end += 4;
    if (isArray(parameter)) this.#end = writeTextArray(this.#buffer, this.#end, parameter);
    else this.#end += this.#buffer.write(parameter, this.#end, 'utf8');
    this.#buffer.writeInt32BE(this.#end - lengthAt - 4, lengthAt);
  }

  #zeroTerminated(text: string): void {
    this.#end += this.#buffer.write(text, this.#end, 'utf8');
    this.#buffer[this.#end++] = 0;
  }

  #int16(value: number): void {
    // Counts go up to 65535: they are unsigned on the wire.
    this.#end = this.#buffer.writeUInt16BE(value, this.#end);
  }

  #int32(value: number): void {
    this.#end = this.#buffer.writeInt32BE(value, this.#end);
  }
}

function isArray(parameter: WireParameter): parameter is TextArray {
  return typeof parameter === 'object' && parameter !== null;
}

function parameterBytesAtMost(parameter: WireParameter): number {
  if (parameter === null) return 4;
  return 4 + (isArray(parameter) ? textArrayBytesAtMost(parameter) : utf8BytesAtMost(parameter));
}

/** One message: its type, and its body in `buffer` from `start` to `end`. Valid only during the call. */
export type MessageHandler = (type: number, buffer: Buffer, start: number, end: number) => void;

/** Cuts the chunks of a socket into messages. */
export class MessageReader {
  readonly #handler: MessageHandler;
  /** The beginning of a message whose end has not come. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  /** How many bytes must be there before it is worth looking again. */
  #wanted = 5;

  constructor(handler: MessageHandler) {
    this.#handler = handler;
  }

  push(chunk: Buffer): void {
    let data = chunk;
    if (this.#partBytes > 0) {
      this.#parts.push(chunk);
      this.#partBytes += chunk.length;
      // A large message comes in many chunks: they are joined once, not once a chunk.
      if (this.#partBytes < this.#wanted) return;
      data = Buffer.concat(this.#parts, this.#partBytes);
      this.#parts = [];
      this.#partBytes = 0;
    }
    let at = 0;
    this.#wanted = 5;
    while (data.length - at >= 5) {
      const length = data.readInt32BE(at + 1);
      if (length < 4) throw new RangeError(`a message of the server has length ${length}`);
      const end = at + 1 + length;
      if (end > data.length) {
        this.#wanted = 1 + length;
        break;
      }
      this.#handler(data[at] as number, data, at + 5, end);
      at = end;
    }
    if (at < data.length) {
      this.#parts = [data.subarray(at)];
      this.#partBytes = data.length - at;
    }
  }
}

/** The fields of an ErrorResponse by their letter, as text. */
export function readErrorFields(buffer: Buffer, start: number, end: number): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  let at = start;
  while (at < end && buffer[at] !== 0) {
    const letter = String.fromCharCode(buffer[at] as number);
    const zero = buffer.indexOf(0, at + 1);
    const stop = zero === -1 || zero > end ? end : zero;
    fields.set(letter, buffer.toString('utf8', at + 1, stop));
    at = stop + 1;
  }
  return fields;
}

/** The values of a DataRow, as text. */
export function readDataRow(buffer: Buffer, start: number): (string | null)[] {
  const values: (string | null)[] = [];
  const count = buffer.readUInt16BE(start);
  let at = start + 2;
  for (let column = 0; column < count; column += 1) {
    const length = buffer.readInt32BE(at);
    at += 4;
    if (length === -1) {
      values.push(null);
    } else {
      values.push(buffer.toString('utf8', at, at + length));
      at += length;
    }
  }
  return values;
}
