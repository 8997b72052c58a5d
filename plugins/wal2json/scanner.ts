/**
 * The JSON of wal2json, scanned: strict, in one pass, and without loss. A number stays the digits that were printed;
 * JSON.parse would make a double of it, and 12345678901234567890.10 would be another value.
 */
import { refuse, type PayloadPlace } from '../refusal.js';

/** A number, as its text. */
export class NumberText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type Scalar = string | NumberText | boolean | null;

// Up to what ends a string or needs a look: a quote, a backslash, or a control character, which JSON does not allow.
// oxlint-disable-next-line no-control-regex
const plain = /[^"\\\u0000-\u001f]*/y;
// As JSON has them, which covers what Postgres prints: a leading zero would be left over, and refused with what follows.
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;

/** A cursor over one payload's text. */
export class JsonScanner {
  readonly text: string;
  readonly place: PayloadPlace;
  at = 0;

  constructor(text: string, place: PayloadPlace) {
    this.text = text;
    this.place = place;
  }

  refuse(what: string, at = this.at): never {
    return refuse({ ...this.place, length: this.text.length }, what, at);
  }

  take(literal: string): boolean {
    if (!this.text.startsWith(literal, this.at)) return false;
    this.at += literal.length;
    return true;
  }

  expect(literal: string): void {
    if (!this.take(literal)) this.refuse(`${literal} does not stand here`);
  }

  end(): void {
    const left = this.text.length - this.at;
    if (left > 0) this.refuse(`${left} characters follow its end`);
  }

  string(): string {
    const start = this.at;
    this.expect('"');
    plain.lastIndex = this.at;
    plain.test(this.text);
    let at = plain.lastIndex;
    if (this.text[at] === '"') {
      this.at = at + 1;
      return this.text.slice(start + 1, at);
    }
    // Something is escaped. The engine unescapes a string as a whole faster than we could.
    for (;;) {
      const letter = this.text[at];
      if (letter === '"') break;
      if (letter !== '\\')
        this.refuse(
          letter === undefined ? 'a string has no end' : 'a string holds a control character',
          start,
        );
      plain.lastIndex = at + 2;
      plain.test(this.text);
      at = plain.lastIndex;
      if (at > this.text.length) this.refuse('a string has no end', start);
    }
    this.at = at + 1;
    return this.#unescape(start, at + 1);
  }

  #unescape(start: number, end: number): string {
    let value: unknown;
    try {
      value = JSON.parse(this.text.slice(start, end));
    } catch {
      return this.refuse('a string is not understood', start);
    }
    // NUL and lone surrogates are no text of Postgres's.
    if (typeof value !== 'string' || value.includes('\0') || /\p{Surrogate}/u.test(value))
      return this.refuse('a string is not understood', start);
    return value;
  }

  /** Digits and what belongs to them. */
  number(): string {
    number.lastIndex = this.at;
    const match = number.exec(this.text);
    if (match === null) return this.refuse('no number stands here');
    this.at = number.lastIndex;
    return match[0];
  }

  scalar(): Scalar {
    if (this.text[this.at] === '"') return this.string();
    if (this.take('null')) return null;
    if (this.take('true')) return true;
    if (this.take('false')) return false;
    return new NumberText(this.number());
  }

  /** `"name":` of an object's next member, in the order in which they are printed. */
  member(name: string): void {
    this.expect(`"${name}":`);
  }
}
