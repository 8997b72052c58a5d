/**
 * The live data: server-sent events, read with fetch, since an EventSource cannot show a token. When the connection
 * breaks it is made again, for as long as the page is open.
 */

export type LinkState =
  | { readonly kind: 'wait' }
  | { readonly kind: 'live' }
  /** Since when, milliseconds since 1970. */
  | { readonly kind: 'lost'; readonly sinceMs: number }
  /** The run shows nothing without its token. */
  | { readonly kind: 'locked' };

export type LiveOptions = {
  readonly token: () => string | null;
  readonly onEvent: (name: string, data: unknown) => void;
  readonly onLink: (state: LinkState) => void;
};

const againAfterMs = 2000;

/** The server says something every quarter of a minute. */
const silentMs = 40_000;

export class Live {
  readonly #options: LiveOptions;
  #connection = new AbortController();
  #lostAtMs: number | null = null;
  #again: ReturnType<typeof setTimeout> | null = null;

  constructor(options: LiveOptions) {
    this.#options = options;
  }

  /** Connects, or connects anew: with another token. */
  connect(): void {
    this.#connection.abort();
    if (this.#again !== null) clearTimeout(this.#again);
    this.#connection = new AbortController();
    void this.#read(this.#connection.signal);
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { onLink, token } = this.#options;
    try {
      const shown = token();
      const response = await fetch('/v1/events', {
        headers: shown === null ? {} : { authorization: `Bearer ${encodeURIComponent(shown)}` },
        cache: 'no-store',
        signal,
      });
      if (response.status === 401) return onLink({ kind: 'locked' });
      if (!response.ok || response.body === null) throw new Error(`answered ${response.status}`);
      this.#lostAtMs = null;
      onLink({ kind: 'live' });
      await this.#take(response.body, signal);
    } catch {
      // Said below, whatever it was.
    }
    if (signal.aborted) return;
    this.#lostAtMs ??= Date.now();
    onLink({ kind: 'lost', sinceMs: this.#lostAtMs });
    this.#again = setTimeout(() => this.connect(), againAfterMs);
  }

  async #take(body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<void> {
    const reader = body
      .pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>)
      .getReader();
    const parser = new EventParser(this.#options.onEvent);
    while (!signal.aborted) {
      const timer = setTimeout(() => void reader.cancel().catch(() => {}), silentMs);
      const { done, value } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return;
      parser.push(value);
    }
  }
}

/** Takes events out of the text as it arrives. */
export class EventParser {
  readonly #onEvent: LiveOptions['onEvent'];
  #text = '';

  constructor(onEvent: LiveOptions['onEvent']) {
    this.#onEvent = onEvent;
  }

  push(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf('\n\n'); end !== -1; end = this.#text.indexOf('\n\n')) {
      const block = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 2);
      const field = (name: string) =>
        block
          .split('\n')
          .filter((line) => line.startsWith(`${name}: `))
          .map((line) => line.slice(name.length + 2))
          .join('\n');
      const data = field('data');
      if (data !== '') this.#onEvent(field('event'), JSON.parse(data));
    }
  }
}
