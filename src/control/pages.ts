/**
 * What is served besides the sentinel: a page, its data, metrics. This room decides who may see it; what it shows is
 * the business of whoever makes it, a room above this one.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Log } from '../log.js';

/** Something that answers a GET. */
export type Page = {
  /** It tells nothing of the run, so that everybody may have it: the page itself, without its data. */
  readonly open: boolean;
  /** Answers; may go on for as long as the client listens. Must never throw. */
  readonly serve: (request: IncomingMessage, response: ServerResponse) => void;
};

/** What one server shows. */
export interface ControlPages {
  /** What is under this path (without its query); null when nothing is. */
  find(path: string): Page | null;
  /** No more answers: the server closes. Resolves soon, when those who listen have heard the last of it. */
  close(): Promise<void>;
}

/** What the pages of a server are made for. */
export type PagesPlace = {
  /** The work directory. */
  readonly directory: string;
  /** Whether the end position can be set to where the source is now. */
  readonly marks: boolean;
  readonly log: Log;
};

export type MakePages = (place: PagesPlace) => ControlPages;
