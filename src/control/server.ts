/**
 * The remote control of a run: a small HTTP server beside the stream, from which another terminal, or another machine,
 * reads and sets the sentinel, and sees how the run is (pages.ts). What it sets, it sets in the catalog, as a local
 * command would; the run notices it there. So it shares nothing with the stream, and nothing that happens here can stop
 * one. `monitor --web` opens the same server without a run.
 *
 * Who may do what:
 *   1. loopback address: reading is free, as for everybody who is on the machine; changing needs the token;
 *   2. any other address: everything needs the token, and it must be one that both sides were given (WALFERRY_TOKEN);
 *      without it nobody listens there at all. Free are only the page without its data, and whether all is well.
 * On loopback the Host header must name loopback: a page in a browser on this machine can have its own name point to
 * 127.0.0.1 (DNS rebinding) and would read what it likes. Elsewhere the token, which no page knows, is enough.
 */
import { lookup } from 'node:dns/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { closeCatalog, type Catalog } from '../catalog/database.js';
import { setEndposByHand } from '../catalog/cutover.js';
import { requireSentinel, setApply, setStartpos } from '../catalog/sentinel.js';
import { loadStream } from '../catalog/stream.js';
import { requireCatalog, requireCatalogToRead } from '../catalog/work-directory.js';
import { asFailure, Failure } from '../failure.js';
import { pruneJournal } from '../journal/prune.js';
import type { Log } from '../log.js';
import { formatLsn } from '../model/lsn.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { markSource } from './mark.js';
import type { ControlPages, MakePages, Page } from './pages.js';
import {
  controlLabel,
  failureFields,
  markPath,
  maxBodyBytes,
  pruneFields,
  prunePath,
  readChange,
  readDryRun,
  readFields,
  readNothing,
  sentinelPath,
  statusFields,
  type ControlAddress,
  type ControlStatus,
  type PruneResult,
  type SentinelChange,
} from './protocol.js';
import { isSameToken, makeToken } from './token.js';

/** What the operator asked for. */
export type ControlChoices = ControlAddress & {
  /** WALFERRY_TOKEN; null when it is not set. */
  readonly token: string | null;
  /** What is shown besides the sentinel; null: nothing. */
  readonly pages: MakePages | null;
  /** Open from the very beginning of a run, and not only once there is a sentinel to be set. */
  readonly fromStart: boolean;
};

/** Choices that were looked at: the address to bind, and whether it is one of this machine alone. */
export type ControlPlan = ControlChoices & { readonly address: string; readonly loopback: boolean };

const loopbackAddresses = new BlockList();
loopbackAddresses.addSubnet('127.0.0.0', 8, 'ipv4');
loopbackAddresses.addAddress('::1', 'ipv6');

function isLoopback(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && loopbackAddresses.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** Before anything is begun: what cannot be listened on is refused while nothing is under way. Throws `usage`. */
export async function planControl(choices: ControlChoices): Promise<ControlPlan> {
  let address: string;
  try {
    ({ address } = await lookup(choices.host));
  } catch (error) {
    throw new Failure('usage', `--host ${choices.host} is no address of this machine`, { cause: error });
  }
  const loopback = isLoopback(address);
  if (!loopback && choices.token === null) {
    throw new Failure(
      'usage',
      `--host ${choices.host} can be reached from other machines: without a token nobody listens there`,
      {
        remedy:
          'Set WALFERRY_TOKEN here and where the sentinel commands run, or leave --host out to listen on this machine alone.',
      },
    );
  }
  return { ...choices, address, loopback };
}

export type ControlOptions = {
  readonly plan: ControlPlan;
  /** The work directory. */
  readonly directory: string;
  readonly journalDirectory: string;
  /** Where the end position is marked; null: it can only be set to a position. */
  readonly source: Conninfo | null;
  readonly log: Log;
};

/** A port may be held for a moment by the run before this one. */
const listenAgainMs = 2000;

/** A client says what it wants at once. */
const requestMs = 5000;

/** A source that does not answer sooner does not say where it is now. */
const markMs = 20_000;

const maxConnections = 32;

/** An answer other than 200. */
class Refusal extends Error {
  readonly status: number;
  readonly failure: Failure;

  constructor(status: number, message: string, remedy = '') {
    super(message);
    this.status = status;
    this.failure = new Failure('control-refused', message, { remedy });
  }
}

/** Open while a run goes on. Trouble with it is logged, and never ends the run. */
export class ControlServer implements AsyncDisposable {
  readonly #options: ControlOptions;
  readonly #server: Server;
  readonly #token: string;
  readonly #pages: ControlPages | null;
  #again: NodeJS.Timeout | null = null;
  #troubled = false;
  #closed = false;

  private constructor(options: ControlOptions, token: string) {
    this.#options = options;
    this.#token = token;
    const { plan, directory, source, log } = options;
    this.#pages = plan.pages?.({ directory, marks: source !== null, log }) ?? null;
    this.#server = createServer(
      { headersTimeout: requestMs, requestTimeout: requestMs },
      (request, response) => {
        void this.#answer(request, response);
      },
    );
    this.#server.maxConnections = maxConnections;
    this.#server.on('error', (error) => this.#trouble(error));
    this.#server.on('clientError', (_error, socket) => socket.destroy());
    this.#server.on('listening', () => {
      this.#troubled = false;
      log.info(`remote control: listening on ${controlLabel(plan)}`);
      if (this.#pages === null) return;
      const token =
        plan.token === null ? `the token is in ${directory}/token` : 'the token is WALFERRY_TOKEN';
      log.info(`monitor: http://${controlLabel(plan)}/ (to set things there, ${token})`);
    });
  }

  /** Begins to listen; resolves when it does, or when it has said why it cannot yet. */
  static async open(options: ControlOptions): Promise<ControlServer | null> {
    const { plan, directory, log } = options;
    let token: string;
    try {
      token = plan.token ?? makeToken(directory);
    } catch (error) {
      log.warn(`remote control: ${asFailure(error).message}; the run goes on without it`);
      return null;
    }
    const control = new ControlServer(options, token);
    await new Promise<void>((resolve) => {
      control.#server.once('listening', resolve).once('error', () => resolve());
      control.#listen();
    });
    return control;
  }

  /** Where it listens; null while it cannot. */
  get port(): number | null {
    const address = this.#server.address();
    return typeof address === 'object' ? (address?.port ?? null) : null;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#again !== null) clearTimeout(this.#again);
    await this.#pages?.close();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #listen(): void {
    const { address, port } = this.#options.plan;
    this.#server.listen({ host: address, port, exclusive: true });
  }

  #trouble(error: Error): void {
    const { plan, log } = this.#options;
    if (!this.#troubled) {
      log.warn(`remote control: cannot listen on ${controlLabel(plan)}: ${error.message}; the run goes on`);
    }
    this.#troubled = true;
    if (this.#closed || this.#server.listening) return;
    this.#again = setTimeout(() => this.#listen(), listenAgainMs).unref();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const send = (status: number, fields: object) => {
      response.writeHead(status, {
        'content-type': 'application/json',
        'cache-control': 'no-store',
        connection: 'close',
        ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      });
      response.end(`${JSON.stringify(fields)}\n`);
    };
    try {
      const page = this.#page(request);
      if (page !== null) page.serve(request, response);
      else send(200, await this.#serve(request));
    } catch (error) {
      if (response.destroyed) return;
      if (error instanceof Refusal) send(error.status, failureFields(error.failure));
      else send(409, failureFields(asFailure(error)));
    }
  }

  /** What is shown under the path, to somebody who may see it; null when it is something else that is asked for. */
  #page(request: IncomingMessage): Page | null {
    this.#checkHost(request);
    if (request.method !== 'GET' && request.method !== 'HEAD') return null;
    const page = this.#pages?.find((request.url ?? '').replace(/\?.*$/s, '')) ?? null;
    if (page !== null && !page.open && !this.#options.plan.loopback) this.#checkToken(request);
    return page;
  }

  async #serve(request: IncomingMessage): Promise<object> {
    const changes = request.method !== 'GET';
    if (changes || !this.#options.plan.loopback) this.#checkToken(request);
    switch (`${request.method} ${request.url}`) {
      case `GET ${sentinelPath}`:
        return statusFields(this.#status());
      case `POST ${sentinelPath}`:
        return statusFields(this.#change(readChange(readFields(await readBody(request)))));
      case `POST ${markPath}`:
        readNothing(readFields(await readBody(request)));
        return statusFields(await this.#mark());
      case `POST ${prunePath}`:
        return pruneFields(await this.#prune(readDryRun(readFields(await readBody(request)))));
      default:
        throw new Refusal(404, `there is no ${request.method} ${request.url} here`);
    }
  }

  #checkHost({ headers }: IncomingMessage): void {
    const { plan } = this.#options;
    if (!plan.loopback) return;
    const name = hostName(headers.host ?? '');
    if (name === 'localhost' || name === plan.host.toLowerCase() || isLoopback(name)) return;
    throw new Refusal(421, 'the request is for another host');
  }

  #checkToken({ headers }: IncomingMessage): void {
    const shown = /^Bearer +(.*)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
    if (isSameToken(shown, encodeURIComponent(this.#token)) || isSameToken(shown, this.#token)) return;
    throw new Refusal(
      401,
      shown === '' ? 'this needs the token of the run' : 'this is not the token of the run',
      'Give the --dir of the run, which holds its token, or set WALFERRY_TOKEN on both sides.',
    );
  }

  #status(): ControlStatus {
    return withCatalog(requireCatalogToRead(this.#options.directory), readStatusOf);
  }

  #change(change: SentinelChange): ControlStatus {
    const { log } = this.#options;
    return withCatalog(requireCatalog(this.#options.directory), (catalog) => {
      requireSentinel(catalog);
      if ('endpos' in change) {
        setEndposByHand(catalog, change.endpos);
        log.info(`remote control: endpos is ${formatLsn(change.endpos)}`);
      } else if ('startpos' in change) {
        setStartpos(catalog, change.startpos);
        log.info(`remote control: startpos is ${formatLsn(change.startpos)}`);
      } else {
        setApply(catalog, change.apply);
        log.info(`remote control: applying changes is ${change.apply ? 'enabled' : 'disabled'}`);
      }
      return readStatusOf(catalog);
    });
  }

  /** The run's own source is asked: whoever steers it from elsewhere need not be able to reach it. */
  async #mark(): Promise<ControlStatus> {
    const { source, log } = this.#options;
    if (source === null) throw new Refusal(409, 'this run has no source: set the end position to an LSN');
    const { systemIdentifier } = this.#status();
    const endpos = await markSource({ source, systemIdentifier, log, signal: AbortSignal.timeout(markMs) });
    return this.#change({ endpos });
  }

  async #prune(dryRun: boolean): Promise<PruneResult> {
    const { replayLsn: applied } = this.#status().sentinel;
    const pruned = await pruneJournal(this.#options.journalDirectory, applied, { dryRun, keepBytes: 0 });
    return { ...pruned, applied };
  }
}

function withCatalog<Result>(catalog: Catalog, work: (catalog: Catalog) => Result): Result {
  try {
    return work(catalog);
  } finally {
    closeCatalog(catalog);
  }
}

function readStatusOf(catalog: Catalog): ControlStatus {
  const stream = loadStream(catalog);
  return {
    sentinel: requireSentinel(catalog),
    systemIdentifier: stream?.key.systemIdentifier ?? null,
    database: stream?.key.database ?? null,
  };
}

/** The name in a Host header, without port and brackets. */
function hostName(host: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(host.toLowerCase());
  return match?.[1] ?? match?.[2] ?? '';
}

/** The body of a request. A page cannot send JSON elsewhere without being asked first, which nobody answers here. */
async function readBody(request: IncomingMessage): Promise<string> {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new Refusal(415, 'a JSON body is expected, with content-type: application/json');
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes) throw new Refusal(413, `the request has more than ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
