/**
 * The page's live data: server-sent events, to a bounded number of clients. Nothing waits for a client: one whose
 * socket is full is left out until it has read on, and one that does not for a while is dropped.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 * Events, each one JSON: `hello` once; then `status`, and as they come `tables`, `samples`, `log`. A client that
 * connects gets everything; later only what is new.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { restPerLook } from './look.js';
import { readStatusAndDetails } from './status.js';

export const maxClients = 16;

const tellEveryMs = 1000;

/** A proxy in between takes a silent connection for a dead one. */
const keepaliveMs = 15_000;

/** What may wait in a client's socket; more than a full first answer of a large run. */
const maxWaitingBytes = 4 * 1024 * 1024;

/** A client that took nothing for so long has gone to sleep. */
const defaultMaxFullMs = 20_000;

/** A run that has ended does not wait longer for those who look on. */
const lastWordMs = 300;

/** As many tables as somebody looks at; the rest is counted. */
const tablesShown = 200;

/** A day of samples, thinned (catalog/run-status.ts). */
const historyMs = 86_400_000;

type Client = {
  readonly response: ServerResponse;
  /** Since when its socket is full; null while it takes more. */
  fullSinceMs: number | null;
  toldAtMs: number;
};

const eventNames = ['status', 'tables', 'samples', 'log'] as const;

type Texts = Readonly<Record<(typeof eventNames)[number], string>>;

/** What the clients have heard of: the last complete sample, and the last log line. */
type Known = { readonly sampleMs: number; readonly lineId: number };

type News = { readonly texts: Texts; readonly known: Known };

export type EventsOptions = {
  readonly directory: string;
  /** Said to every client once. */
  readonly hello: object;
  /** How long a client may take nothing; 20 seconds unless told. */
  readonly maxFullMs?: number;
};

export class Events {
  readonly #options: EventsOptions;
  readonly #clients = new Set<Client>();
  #timer: NodeJS.Timeout | null = null;
  #known: Known = { sampleMs: Date.now(), lineId: 0 };
  #restUntil = 0;
  #told: Texts = { status: '', tables: '', samples: '', log: '' };

  constructor(options: EventsOptions) {
    this.#options = options;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Tells one more client, until it goes. */
  serve(request: IncomingMessage, response: ServerResponse): void {
    if (this.#clients.size >= maxClients) {
      response.writeHead(503, { 'retry-after': '10', 'content-type': 'text/plain', connection: 'close' });
      response.end('as many look on already as can be told\n');
      return;
    }
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      connection: 'close',
    });
    request.socket.setNoDelay(true);
    const client: Client = { response, fullSinceMs: null, toldAtMs: performance.now() };
    response.on('drain', () => {
      client.fullSinceMs = null;
    });
    response.on('close', () => this.#forget(client));
    response.on('error', () => this.#forget(client));
    this.#clients.add(client);
    this.#send(client, 'retry: 2000\n\n');
    this.#send(client, eventText('hello', this.#options.hello));
    const all = this.#read({ sampleMs: Date.now() - historyMs, lineId: 0 });
    if (all !== null) {
      this.#send(client, eventNames.map((name) => all.texts[name]).join(''));
      // For the only client, news begin here. One that joins others may hear something twice, and knows it by its key.
      if (this.#clients.size === 1) {
        this.#known = all.known;
        this.#told = all.texts;
      }
    }
    this.#timer ??= setInterval(() => this.#tell(), tellEveryMs).unref();
  }

  /** The last word: how the run ended. Nobody is waited for who does not take it at once. */
  async close(): Promise<void> {
    this.#restUntil = 0;
    if (this.#clients.size > 0) this.#tell();
    this.#rest();
    const responses = [...this.#clients].map(({ response }) => response);
    const ended = responses.map((response) => new Promise<void>((resolve) => response.end(() => resolve())));
    await Promise.race([Promise.all(ended), sleep(lastWordMs, undefined, { ref: false })]);
    for (const response of responses) response.destroy();
    this.#clients.clear();
  }

  /** What is new, to everybody; and to a client that hears nothing for long, that somebody is there. */
  #tell(): void {
    const began = performance.now();
    const news = began < this.#restUntil ? null : this.#read(this.#known);
    const fresh = news === null ? '' : eventNames.filter((name) => news.texts[name] !== this.#told[name]);
    const text = fresh === '' ? '' : fresh.map((name) => news?.texts[name] ?? '').join('');
    if (news !== null) {
      this.#known = news.known;
      this.#told = news.texts;
    }
    const now = performance.now();
    if (news !== null) this.#restUntil = now + (now - began) * restPerLook;
    for (const client of this.#clients) {
      if (client.fullSinceMs !== null) {
        const { maxFullMs = defaultMaxFullMs } = this.#options;
        if (now - client.fullSinceMs > maxFullMs) client.response.destroy();
        continue;
      }
      if (text !== '') this.#send(client, text);
      else if (now - client.toldAtMs >= keepaliveMs) this.#send(client, ': still there\n\n');
    }
  }

  /** Null while the directory cannot be read: --restart empties it, or its disk is in trouble, which the run says. */
  #read(known: Known): News | null {
    try {
      const { status, details } = readStatusAndDetails(this.#options.directory, {
        ...known,
        tables: tablesShown,
      });
      const { tables, samples, log } = details;
      return {
        texts: {
          // The time at which it was read is no news.
          status: eventText('status', { ...status, atMs: status.heardAtMs }),
          tables: tables.length === 0 ? '' : eventText('tables', tables),
          samples: samples.length === 0 ? '' : eventText('samples', samples),
          log: log.length === 0 ? '' : eventText('log', log),
        },
        // The newest sample is still being added to: it is read again until the next one begins.
        known: { sampleMs: samples.at(-2)?.atMs ?? known.sampleMs, lineId: log.at(-1)?.id ?? known.lineId },
      };
    } catch {
      return null;
    }
  }

  #send(client: Client, text: string): void {
    const { response } = client;
    if (response.destroyed || text === '') return;
    client.toldAtMs = performance.now();
    if (response.write(text)) return;
    client.fullSinceMs ??= performance.now();
    if (response.writableLength > maxWaitingBytes) response.destroy();
  }

  #forget(client: Client): void {
    this.#clients.delete(client);
    if (this.#clients.size === 0) this.#rest();
  }

  #rest(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}

/** One event; its JSON has no line breaks. */
function eventText(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
