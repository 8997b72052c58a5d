/**
 * One connection whose protocol we write ourselves: the socket of a connected pg.Client is taken over, and statements
 * are sent without waiting for replies.
 *
 * `send` puts a statement into the buffer, `sync` ends a *unit*: everything since the unit before it. A unit gets one
 * reply, when the server's ReadyForQuery comes: the last command tag and the rows, or the first error and which
 * statement of the unit it was. After an error the server skips the rest of its unit, COMMIT included, and refuses
 * every later unit until the transaction is rolled back (DESIGN 11.3), so whoever sends units ahead must `settle`
 * after a failure before it begins anew.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
 */
import type { Socket } from 'node:net';
import pg from 'pg';
import { Failure, asFailure } from '../failure.js';
import { connectionOf } from './connect-session.js';
import { connect, type Backend, type ConnectOptions, type Session } from './connect.js';
import type { Conninfo } from './connection-string.js';
import { PreparedStatements } from './prepared-statements.js';
import { SilenceWatch } from './silence.js';
import {
  MessageReader,
  MessageWriter,
  backend,
  readDataRow,
  readErrorFields,
  type WireParameter,
} from './wire-protocol.js';

/** One statement with its parameters; prepared once per text. */
export type WireStatement = { readonly sql: string; readonly parameters: readonly WireParameter[] };

/** What the server said to one unit. */
export type UnitReply = {
  /** The tag of the last statement that was executed, for example `COMMIT`. Empty when there was none. */
  readonly tag: string;
  /** How many statements were executed: the index of the failing one when there is an error. */
  readonly executed: number;
  /** The rows of all statements of the unit. Kept only where they were asked for. */
  readonly rows: readonly (readonly (string | null)[])[];
  readonly error: pg.DatabaseError | null;
};

type Unit = {
  tag: string;
  executed: number;
  readonly rows: (string | null)[][] | null;
  /** COPY statements in it: each is answered with a CopyInResponse, which nobody waits for. */
  copies: number;
  error: pg.DatabaseError | null;
  readonly reply: Promise<UnitReply>;
  readonly resolve: (reply: UnitReply) => void;
  readonly reject: (failure: Failure) => void;
};

/** Enough for a busy schema: each relation has a few statements, each a plan in the server's memory. */
const preparedLimit = 500;

/** Larger buffers go to the socket at once, smaller ones wait for their unit's end. */
const flushBytes = 64 * 1024;

export class WireSession {
  readonly #session: Session;
  readonly #socket: Socket;
  readonly #writer = new MessageWriter();
  readonly #reader = new MessageReader((type, buffer, start, end) => this.#receive(type, buffer, start, end));
  readonly #prepared = new PreparedStatements(preparedLimit);
  /** Units sent and not answered, oldest first; the open one is the last. */
  #units: Unit[] = [];
  /** The unit that has no Sync yet. */
  #open: Unit | null = null;
  /** The COPY that takes data; null outside of one. */
  #copying: string | null = null;
  #failed: pg.DatabaseError | null = null;
  /** The server's transaction status at the last ReadyForQuery: idle, in a transaction, in a failed one. */
  #status: 'I' | 'T' | 'E' = 'I';
  #broken: Failure | null = null;
  /** What the server said before it closed the connection, for example that it shuts down. */
  #lastWords: pg.DatabaseError | null = null;
  #closing = false;
  readonly #silence: SilenceWatch;
  #heardMs = performance.now();
  #wakeDrained: (() => void) | null = null;
  /** Called when a statement failed or the connection is lost: for a writer that waits for something else. */
  onTrouble: (() => void) | null = null;

  private constructor(session: Session, conninfo: Conninfo) {
    this.#session = session;
    this.#silence = new SilenceWatch({
      conninfo,
      side: session.side,
      backend: session.backend,
      silentSince: () => this.#silentSince(),
      onLost: (failure) => this.#break(failure),
    });
    this.#socket = takeSocket(session.client);
    this.#socket.on('data', (chunk: Buffer) => this.#push(chunk));
    this.#socket.on('error', (error: Error) => this.#break(error));
    this.#socket.on('close', () => this.#break(null));
    this.#socket.on('drain', () => {
      this.#heardMs = performance.now();
      this.#wakeDrained?.();
    });
    this.#socket.resume();
  }

  /** Connects and takes the connection over. Throws what `connect` throws. */
  static async open(conninfo: Conninfo, options: ConnectOptions): Promise<WireSession> {
    return WireSession.over(await connect(conninfo, { ...options, watched: true }), conninfo);
  }

  /** Takes over a session to these servers that is `watched`, and at rest. */
  static over(session: Session, conninfo: Conninfo): WireSession {
    return new WireSession(session, conninfo);
  }

  /** server_version_num, for example 150020. */
  get serverVersion(): number {
    return this.#session.serverVersion;
  }

  /** The server's process at the other end. */
  get backend(): Backend {
    return this.#session.backend;
  }

  /** Why nothing can be sent any more; null while the connection is there. */
  get broken(): Failure | null {
    return this.#broken;
  }

  /** The first error of a statement since the session was opened or settled; null while all went well. */
  get failed(): pg.DatabaseError | null {
    return this.#failed;
  }

  /** Queues one statement of the open unit. */
  send(statement: WireStatement): void {
    if (this.#broken !== null) throw this.#broken;
    this.#endCopy();
    this.#open ??= this.#newUnit(false);
    const { name, parse, close } = this.#prepared.prepare(statement.sql, Date.now());
    if (close !== null) this.#writer.closeStatement(close);
    if (parse) this.#writer.parse(name, statement.sql, statement.parameters);
    this.#writer.bind(name, statement.parameters);
    this.#writer.execute();
    if (this.#writer.length >= flushBytes) this.flush();
  }

  /**
   * Queues a COPY FROM STDIN with data. It stays open: where the same statement comes next, its data goes on in it;
   * everything else ends it first. One COPY of many rows is cheaper for the server than many of a thousand, which is what
   * it makes room for each time, and looks through for each of them (docs/measurements/apply.md).
   *
   * Nothing is waited for (DESIGN 11.3): where an earlier statement has failed, the server skips the data like
   * everything else up to the Sync, and where the COPY itself fails, the rest of the data. CopyDone stands before any
   * Sync, which a server that reads COPY data would not see.
   */
  sendCopy(sql: string, data: Iterable<Buffer>): void {
    if (this.#broken !== null) throw this.#broken;
    if (this.#copying !== sql) {
      this.send({ sql, parameters: [] });
      if (this.#open !== null) this.#open.copies += 1;
      this.#copying = sql;
    }
    for (const piece of data) {
      this.#writer.copyData(piece);
      if (this.#writer.length >= flushBytes) this.flush();
    }
  }

  #endCopy(): void {
    if (this.#copying === null) return;
    this.#copying = null;
    this.#writer.copyDone();
  }

  /**
   * Ends the unit. Resolves with the server's reply, an error included; rejects with `target-disconnected` when the
   * connection is lost first. The promise may be left alone: what it says is also seen by the next call.
   */
  sync(): Promise<UnitReply> {
    if (this.#broken !== null) return rejected(this.#broken);
    this.#endCopy();
    const unit = this.#open ?? this.#newUnit(false);
    if (this.#units.length === 1) this.#heardMs = performance.now();
    this.#open = null;
    this.#writer.sync();
    this.flush();
    return unit.reply;
  }

  /** Gives what is buffered to the socket. */
  flush(): void {
    if (this.#writer.length > 0 && this.#broken === null) this.#socket.write(this.#writer.take());
  }

  /** Whether the socket has more than it can take: a writer should wait for `drained`. */
  get congested(): boolean {
    return this.#broken === null && this.#socket.writableNeedDrain;
  }

  /** Resolves when the socket takes more, or is broken. */
  async drained(): Promise<void> {
    if (!this.congested) return;
    await new Promise<void>((resolve) => {
      this.#wakeDrained = resolve;
    });
    this.#wakeDrained = null;
  }

  /**
   * Runs one statement as a unit of its own and returns its rows. What was queued before it is ended as a unit first;
   * that does not end a transaction. Throws the server's error as it is.
   */
  async query(
    sql: string,
    parameters: readonly WireParameter[] = [],
  ): Promise<readonly (readonly (string | null)[])[]> {
    if (this.#broken !== null) throw this.#broken;
    if (this.#open !== null) void this.sync();
    this.#open = this.#newUnit(true);
    this.send({ sql, parameters });
    const reply = await this.sync();
    if (reply.error !== null) throw reply.error;
    return reply.rows;
  }

  /** Runs statements by the simple protocol, without parameters. Throws the server's error as it is. */
  async run(sql: string): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    if (this.#open !== null) void this.sync();
    const unit = this.#newUnit(false);
    this.#writer.query(sql);
    this.flush();
    const reply = await unit.reply;
    if (reply.error !== null) throw reply.error;
  }

  /**
   * After a failure: waits for every reply that is outstanding, then rolls back what is left of a transaction. Only
   * then is a new BEGIN safe; a ROLLBACK sent behind a failed unit without waiting would let what follows commit.
   */
  async settle(): Promise<void> {
    // Replies come in order: the last unit's is the last of all.
    await this.sync();
    this.#prepared.forgetAll();
    await this.run(this.#status === 'I' ? 'deallocate all' : 'rollback; deallocate all');
    this.#failed = null;
  }

  /** Ends the connection; what was sent and not answered is given up. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#broken === null) {
      this.#endCopy();
      this.#writer.terminate();
      this.flush();
    }
    this.#break(null);
    // Terminate needs no answer; whoever waits for one may wait for a statement that hangs in a lock.
    this.#socket.end();
    this.#socket.destroySoon();
  }

  #newUnit(keepRows: boolean): Unit {
    const { promise, resolve, reject } = withResolvers<UnitReply>();
    // Who does not wait for the reply sees a lost connection at the next call.
    promise.catch(() => {});
    const rows = keepRows ? [] : null;
    if (this.#units.length === 0) this.#heardMs = performance.now();
    const unit: Unit = {
      tag: '',
      executed: 0,
      rows,
      copies: 0,
      error: null,
      reply: promise,
      resolve,
      reject,
    };
    this.#units.push(unit);
    return unit;
  }

  /** An answer is owed to what a Sync ends, and bytes that the server does not take are not heard either. */
  #silentSince(): number | null {
    const owed = this.#units.length > (this.#open === null ? 0 : 1);
    return owed || this.#socket.writableNeedDrain ? this.#heardMs : null;
  }

  #push(chunk: Buffer): void {
    this.#heardMs = performance.now();
    try {
      this.#reader.push(chunk);
    } catch (error) {
      this.#break(asFailure(error));
    }
  }

  #receive(type: number, buffer: Buffer, start: number, end: number): void {
    const unit = this.#units[0];
    switch (type) {
      case backend.commandComplete:
        if (unit === undefined) break;
        unit.executed += 1;
        // Only the last tag is kept: looked at where the next message ends the unit. Tags are a few bytes.
        unit.tag = buffer.toString('latin1', start, end - 1);
        break;
      case backend.emptyQueryResponse:
        if (unit !== undefined) unit.executed += 1;
        break;
      case backend.dataRow:
        unit?.rows?.push(readDataRow(buffer, start));
        break;
      case backend.errorResponse:
        this.#receiveError(unit, readErrorFields(buffer, start, end));
        break;
      case backend.readyForQuery:
        this.#status = String.fromCharCode(buffer[start] as number) as 'I' | 'T' | 'E';
        if (unit === undefined) break;
        this.#units.shift();
        unit.resolve({ tag: unit.tag, executed: unit.executed, rows: unit.rows ?? [], error: unit.error });
        break;
      case backend.copyInResponse:
        if (unit === undefined || unit.copies === 0) {
          throw new Error('the server asks for COPY data, which was not offered');
        }
        unit.copies -= 1;
        break;
      default:
        // ParseComplete, BindComplete, CloseComplete, NoData, notices, parameters: nothing follows from them.
        break;
    }
  }

  #receiveError(unit: Unit | undefined, fields: ReadonlyMap<string, string>): void {
    const error = databaseError(fields);
    const severity = fields.get('V') ?? fields.get('S');
    if (severity === 'FATAL' || severity === 'PANIC' || unit === undefined) {
      this.#lastWords = error;
      return;
    }
    unit.error ??= error;
    this.#failed ??= error;
    this.onTrouble?.();
  }

  #break(error: Error | null): void {
    if (this.#broken !== null) return;
    this.#silence.close();
    const cause = this.#lastWords ?? error;
    const words = cause === null ? '' : `: ${cause.message}`;
    this.#broken =
      error instanceof Failure
        ? error
        : new Failure('target-disconnected', `the connection to the target was lost${words}`, {
            ...(cause === null ? {} : { cause }),
          });
    for (const unit of this.#units) unit.reject(this.#broken);
    this.#units = [];
    this.#open = null;
    this.#copying = null;
    this.#wakeDrained?.();
    this.onTrouble?.();
    if (!this.#closing) this.#socket.destroy();
  }
}

function rejected(failure: Failure): Promise<never> {
  const promise = Promise.reject(failure);
  promise.catch(() => {});
  return promise;
}

function withResolvers<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (reason: Failure) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (reason: Failure) => void;
  const promise = new Promise<T>((fulfil, refuse) => {
    resolve = fulfil;
    reject = refuse;
  });
  return { promise, resolve, reject };
}

/** The socket of a client that is connected and idle. From now on pg neither reads nor writes it. */
function takeSocket(client: pg.Client): Socket {
  const socket = connectionOf(client).stream as Socket;
  socket.removeAllListeners('data');
  return socket;
}

/** The server's error as pg would have given it, so that it is recognised like any other. */
export function databaseError(fields: ReadonlyMap<string, string>): pg.DatabaseError {
  const error = new pg.DatabaseError(fields.get('M') ?? 'an error without a message', 0, 'error');
  const set = (name: keyof pg.DatabaseError, letter: string) => {
    const value = fields.get(letter);
    if (value !== undefined) Object.assign(error, { [name]: value });
  };
  set('severity', 'S');
  set('code', 'C');
  set('detail', 'D');
  set('hint', 'H');
  set('position', 'P');
  set('where', 'W');
  set('schema', 's');
  set('table', 't');
  set('column', 'c');
  set('dataType', 'd');
  set('constraint', 'n');
  return error;
}
