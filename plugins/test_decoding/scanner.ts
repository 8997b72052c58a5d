/**
 * The text of test_decoding, scanned. What it prints is not made to be read by programs, and yet it is unambiguous:
 *
 *   names    as SQL identifiers: bare lower-case ones, all others in double quotes, doubled inside
 *   types    in brackets, as format_type prints them: words, quoted names, and brackets of arrays
 *   values   bare for numbers, booleans, null and unchanged-toast-datum; in single quotes (doubled inside, backslashes
 *            mean nothing) for everything else; B'…' for bit strings. So a text that reads `null` is quoted, and
 *            NULL is not.
 *
 * https://github.com/postgres/postgres/blob/REL_15_STABLE/contrib/test_decoding/test_decoding.c
 */
import type { Cell } from '../../src/model/row.js';
import { unchanged } from '../../src/model/row.js';
import { refuse, type PayloadPlace } from '../refusal.js';

const bareName = /[a-z_][a-z0-9_]*/y;

/** Types that are printed without quotes; a domain over one of them is not. */
const numberTypes: ReadonlySet<string> = new Set([
  'smallint',
  'integer',
  'bigint',
  'oid',
  'real',
  'double precision',
  'numeric',
]);
const bitTypes: ReadonlySet<string> = new Set(['bit', 'bit varying']);

const numberPattern = /^(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|NaN|-?Infinity)$/;

/** A cursor over one payload's text. */
export class TextScanner {
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

  get ended(): boolean {
    return this.at === this.text.length;
  }

  /** Takes `literal` where it stands here. */
  take(literal: string): boolean {
    if (!this.text.startsWith(literal, this.at)) return false;
    this.at += literal.length;
    return true;
  }

  expect(literal: string): void {
    if (!this.take(literal)) this.refuse(`"${literal}" does not stand here`);
  }

  /** Everything up to the end. */
  rest(): string {
    const text = this.text.slice(this.at);
    this.at = this.text.length;
    return text;
  }

  /** The payload ends here. */
  end(): void {
    if (!this.ended) this.refuse(`${this.text.length - this.at} characters follow its end`);
  }

  /** An identifier as quote_identifier prints it. */
  name(): string {
    if (this.text[this.at] === '"') return this.#quoted('"', 'a name');
    bareName.lastIndex = this.at;
    const match = bareName.exec(this.text);
    if (match === null) return this.refuse('no name stands here');
    this.at = bareName.lastIndex;
    return match[0];
  }

  /** A type between brackets; returns its text as it is printed. */
  type(): string {
    this.expect('[');
    const start = this.at;
    for (;;) {
      const letter = this.text[this.at];
      if (letter === undefined) this.refuse('a type has no end', start);
      if (letter === '"') {
        this.#quoted('"', 'a type');
      } else if (this.text.startsWith('[]', this.at)) {
        this.at += 2;
      } else if (letter === ']') {
        break;
      } else if (/[a-z0-9_ .,()]/.test(letter)) {
        this.at += 1;
      } else {
        this.refuse('a type is not understood');
      }
    }
    const type = this.text.slice(start, this.at);
    if (type === '') this.refuse('a type is empty');
    this.at += 1;
    return type;
  }

  /** A value of this type, up to the blank behind it or the end. */
  value(type: string): Cell {
    const start = this.at;
    const cell = this.#value(type);
    if (!this.ended && this.text[this.at] !== ' ') this.refuse('a value goes on behind its end', start);
    return cell;
  }

  #value(type: string): Cell {
    const letter = this.text[this.at];
    if (letter === "'") {
      if (numberTypes.has(type) || bitTypes.has(type) || type === 'boolean')
        this.refuse(`a value of type ${type} is quoted`);
      return this.#quoted("'", 'a value');
    }
    if (letter === 'B' && this.text[this.at + 1] === "'" && bitTypes.has(type)) {
      this.at += 1;
      const bits = this.#quoted("'", 'a bit string');
      if (/[^01]/.test(bits)) this.refuse('a bit string holds something else');
      return bits;
    }
    const start = this.at;
    const blank = this.text.indexOf(' ', start);
    this.at = blank < 0 ? this.text.length : blank;
    const word = this.text.slice(start, this.at);
    if (word === 'null') return null;
    if (word === 'unchanged-toast-datum') return unchanged;
    if (type === 'boolean') {
      if (word === 'true') return 't';
      if (word === 'false') return 'f';
    }
    if (numberTypes.has(type) && numberPattern.test(word)) return word;
    return this.refuse(`this is no value of type ${type}`, start);
  }

  /** Up to the closing quote; a doubled one stands for itself. */
  #quoted(quote: string, what: string): string {
    const start = this.at;
    let from = start + 1;
    let taken = '';
    for (;;) {
      const close = this.text.indexOf(quote, from);
      if (close < 0) this.refuse(`${what} has no closing quote`, start);
      taken += this.text.slice(from, close);
      if (this.text[close + 1] !== quote) {
        this.at = close + 1;
        return taken;
      }
      taken += quote;
      from = close + 2;
    }
  }
}
