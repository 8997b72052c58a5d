/**
 * Which statements a session has prepared, by their text. Pure: it decides what to Parse and what to Close, the
 * session sends it.
 *
 * A plan is not kept for ever. The session runs generic plans, and a plan made while a table was empty may be a bad
 * one when it is large (another index looked as good as the key's). So a statement is parsed anew after a while: soon
 * the first time, then after twice as long each time.
 */

const firstLifetimeMs = 500;
const longestLifetimeMs = 60_000;

type Prepared = { name: string; parsedAt: number; lifetimeMs: number };

/** What to send before the Bind of a statement. */
export type Preparation = {
  /** The name to bind. */
  readonly name: string;
  /** Whether it must be parsed under that name first. */
  readonly parse: boolean;
  /** A name to close before that: an old plan of this statement, or the statement not used for longest. */
  readonly close: string | null;
};

export class PreparedStatements {
  readonly #limit: number;
  /** In the order of their last use. */
  readonly #bySql = new Map<string, Prepared>();
  #names = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  prepare(sql: string, now: number): Preparation {
    const known = this.#bySql.get(sql);
    if (known !== undefined) {
      this.#bySql.delete(sql);
      this.#bySql.set(sql, known);
      if (now - known.parsedAt < known.lifetimeMs) return { name: known.name, parse: false, close: null };
      const close = known.name;
      known.name = this.#newName();
      known.parsedAt = now;
      known.lifetimeMs = Math.min(known.lifetimeMs * 2, longestLifetimeMs);
      return { name: known.name, parse: true, close };
    }
    let close: string | null = null;
    if (this.#bySql.size >= this.#limit) {
      const [oldestSql, oldest] = this.#bySql.entries().next().value as [string, Prepared];
      this.#bySql.delete(oldestSql);
      close = oldest.name;
    }
    const name = this.#newName();
    this.#bySql.set(sql, { name, parsedAt: now, lifetimeMs: firstLifetimeMs });
    return { name, parse: true, close };
  }

  /** After a failed unit nobody knows which of its Parses the server has seen (DESIGN 11.3). */
  forgetAll(): void {
    this.#bySql.clear();
  }

  // Never used twice, so that a Parse that was skipped cannot be taken for a later one.
  #newName(): string {
    this.#names += 1;
    return `walferry_${this.#names}`;
  }
}
