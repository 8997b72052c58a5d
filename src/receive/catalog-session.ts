/**
 * A session for questions about the source's tables that arise while a stream is read. An application that makes
 * tables one after the other has each of them asked for, so the session is kept for a while between two questions.
 */
import type { Session } from '../postgres/connect.js';

const defaultKeepMs = 10_000;

export class CatalogSession implements AsyncDisposable {
  readonly #open: () => Promise<Session>;
  readonly #keepMs: number;
  #session: Session | null = null;
  #idle: NodeJS.Timeout | undefined;

  constructor(open: () => Promise<Session>, keepMs = defaultKeepMs) {
    this.#open = open;
    this.#keepMs = keepMs;
  }

  /** One question at a time. Throws what opening the session and `question` throw; the session is then not used again. */
  async ask<T>(question: (session: Session) => Promise<T>): Promise<T> {
    clearTimeout(this.#idle);
    if (this.#session !== null && this.#session.lost !== null) await this.#close();
    try {
      this.#session ??= await this.#open();
      return await question(this.#session);
    } catch (error) {
      await this.#close();
      throw error;
    } finally {
      this.#idle = setTimeout(() => void this.#close(), this.#keepMs).unref();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#idle);
    await this.#close();
  }

  async #close(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.close();
  }
}
