/**
 * Keeps passwords out of everything that is written for people: a last wall behind the rule that nobody hands
 * passwords to the log in the first place (DESIGN 3.13).
 */
import type { LogFields } from '../log.js';

const mask = '****';

/** `scheme://user:password@` in any text, known or not: to the last @, since an unencoded password may hold one. */
const uriPassword = /(\b[a-z][a-z0-9+]*:\/\/[^\s:/@?]*):\S*@/gi;
/** `password=…` of keyword/value strings and URI parameters; the value may be quoted. */
const keywordPassword = /\b((?:ssl)?password\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|[^\s&'"]+)/gi;

/** Texts that must never be shown, and the function that takes them out. */
export class Secrets {
  readonly #texts = new Set<string>();
  #longestFirst: string[] = [];

  /** Registers a password, in the spellings it has in URIs as well. Nothing and null are ignored. */
  add(secret: string | null | undefined): void {
    if (secret === null || secret === undefined || secret === '') return;
    const encoded = encodeURIComponent(secret);
    for (const text of [
      secret,
      encoded,
      encoded.replace(/%../g, (code) => code.toLowerCase()),
      encodeURI(secret),
    ]) {
      this.#texts.add(text);
    }
    this.#longestFirst = [...this.#texts].toSorted((a, b) => b.length - a.length);
  }

  /** Registers the passwords that a connection string spells out, exactly as it spells them. */
  addConnectionString(text: string): void {
    // To the first @ as libpq reads it, and to the last one as a person may have meant it.
    this.#addEncoded(/^[a-z][a-z0-9+]*:\/\/[^\s:/@?]*:([^@]*)@/i.exec(text)?.[1]);
    this.#addEncoded(/^[a-z][a-z0-9+]*:\/\/[^\s:/@?]*:(.*)@/i.exec(text)?.[1]);
    for (const match of text.matchAll(/[?&](?:ssl)?password=([^&]*)/gi)) this.#addEncoded(match[1]);
    for (const match of text.matchAll(/\b(?:ssl)?password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&']+))/gi)) {
      this.add(match[1] ?? match[2]);
    }
  }

  #addEncoded(text: string | undefined): void {
    this.add(text);
    try {
      this.add(decodeURIComponent(text ?? ''));
    } catch {
      // Not a valid encoding: only its raw form can appear anywhere.
    }
  }

  /** The text without any of them. */
  redact(text: string): string {
    let clean = text;
    for (const secret of this.#longestFirst) clean = clean.replaceAll(secret, mask);
    return clean.replace(uriPassword, `$1:${mask}@`).replace(keywordPassword, `$1${mask}`);
  }

  redactFields(fields: LogFields): LogFields {
    return Object.fromEntries(
      Object.entries(fields).map(([key, value]) => [
        key,
        typeof value === 'string' ? this.redact(value) : value,
      ]),
    );
  }
}
