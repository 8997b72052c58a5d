/**
 * What is served about a run: the page with its live data, the status as JSON, metrics, and whether all is well. The
 * room control/ has decided who may see it before anything of this is called.
 *
 *   /                 the page; /assets/… its parts: no data in any of them
 *   /v1/status        RunStatus as JSON
 *   /v1/details       RunDetails as JSON: tables, the last minutes, log lines
 *   /v1/events        the page's live data (events.ts)
 *   /metrics          Prometheus
 *   /healthz          200 or 503, and one word
 */
import type { ServerResponse } from 'node:http';
import type { ControlPages, MakePages, Page, PagesPlace } from '../control/pages.js';
import { detailsPath, failureFields, statusPath } from '../control/protocol.js';
import { Events } from './events.js';
import { judgeHealth, Looks, type Seen } from './look.js';
import { metricsText, metricsType } from './metrics.js';
import { loadAssets, type Asset } from './page/assets.js';
import type { RunDetails, RunStatus } from './status.js';

/**
 * Nothing from anywhere else, nothing inline, no frame around it, no form that goes elsewhere. The chart sets sizes and
 * places through the style object, which the policy allows.
 */
const pageHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

function answer(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  response.writeHead(status, {
    ...pageHeaders,
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  });
  response.end(body);
}

const jsonType = 'application/json';

/** What was made of a reading is made once, however many ask for it. */
class Made<T> {
  readonly #make: (value: T) => string;
  #of: Seen<T> | null = null;
  #text = '';

  constructor(make: (value: T) => string) {
    this.#make = make;
  }

  text(seen: Extract<Seen<T>, { readonly kind: 'seen' }>): string {
    if (seen !== this.#of) this.#text = this.#make(seen.value);
    this.#of = seen;
    return this.#text;
  }
}

const asJson = (value: object) => `${JSON.stringify(value)}\n`;

class MonitorPages implements ControlPages {
  readonly #status = new Made<RunStatus>(asJson);
  readonly #details = new Made<RunDetails>(asJson);
  readonly #metricsText = new Made<RunStatus>(metricsText);
  readonly #looks: Looks;
  readonly #events: Events;
  readonly #pages: ReadonlyMap<string, Page>;
  #assets: ReadonlyMap<string, Asset> | null = null;

  constructor({ directory, marks }: PagesPlace) {
    this.#looks = new Looks(directory);
    this.#events = new Events({ directory, hello: { marks } });
    this.#pages = new Map<string, Page>([
      [
        statusPath,
        {
          open: false,
          serve: (_request, response) => this.#json(response, this.#looks.status.get(), this.#status),
        },
      ],
      [
        detailsPath,
        {
          open: false,
          serve: (_request, response) => this.#json(response, this.#looks.details.get(), this.#details),
        },
      ],
      ['/v1/events', { open: false, serve: (request, response) => this.#events.serve(request, response) }],
      ['/metrics', { open: false, serve: (_request, response) => this.#metrics(response) }],
      ['/healthz', { open: true, serve: (_request, response) => this.#health(response) }],
    ]);
  }

  find(path: string): Page | null {
    const page = this.#pages.get(path);
    if (page !== undefined) return page;
    if (path !== '/' && !path.startsWith('/assets/')) return null;
    this.#assets ??= loadAssets();
    const asset = this.#assets.get(path);
    if (asset === undefined) return null;
    return { open: true, serve: (_request, response) => answer(response, 200, asset.type, asset.body) };
  }

  close(): Promise<void> {
    return this.#events.close();
  }

  /** JSON, or what is wrong with the work directory. */
  #json<T>(response: ServerResponse, seen: Seen<T>, made: Made<T>): void {
    if (seen.kind === 'seen') answer(response, 200, jsonType, made.text(seen));
    else answer(response, 503, jsonType, asJson(failureFields(seen.failure)));
  }

  #metrics(response: ServerResponse): void {
    const seen = this.#looks.status.get();
    if (seen.kind === 'seen') answer(response, 200, metricsType, this.#metricsText.text(seen));
    else answer(response, 503, 'text/plain', `${seen.failure.message}\n`);
  }

  #health(response: ServerResponse): void {
    const { healthy, state } = judgeHealth(this.#looks.status.get());
    answer(response, healthy ? 200 : 503, 'text/plain', `${state}\n`);
  }
}

/** The pages of one server. */
export const monitorPages: MakePages = (place) => new MonitorPages(place);
