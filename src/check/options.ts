/** What is checked: the run that is meant, in the words of its options. */
import type { CloneJobs, RestoreChoices } from '../clone/options.js';
import type { ObjectFilter } from '../filter/decide.js';
import type { FilterFile } from '../filter/parse.js';
import type { Log } from '../log.js';
import type { PluginName } from '../model/plugin.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { TableFacts } from '../postgres/schema.js';
import type { StreamSource } from '../postgres/stream-source.js';

/** A stream that is to be made. */
export type StreamWish = {
  readonly plugin: PluginName;
  readonly slot: string;
  /** A publication made by somebody else; null: ours are made, called `publicationName`. */
  readonly publication: string | null;
  readonly publicationName: string;
  /** --max-journal-size: bytes; null: by the free room, 0: no limit. */
  readonly maxJournalBytes: number | null;
};

/** What a work directory says of its stream. */
export type RecordedStream = StreamSource & { readonly directory: string };

/** The run that is meant. */
export type RunWish = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly filters: FilterFile | null;
  readonly restore: RestoreChoices;
  readonly jobs: CloneJobs;
  /** The source's tables are dropped on the target first: --drop-if-exists, --restart. */
  readonly dropIfExists: boolean;
  /** Null: without a stream. */
  readonly stream: StreamWish | null;
  /** What is there already, and is this run's own: it is not asked whether it can be made. */
  readonly own: {
    readonly stream: boolean;
    readonly tables: boolean;
    /** Where the work directory's stream was made; null or absent where there is none, or that was asked before. */
    readonly recorded?: RecordedStream | null;
  };
  /** Where the client programs are looked for (PG_CONFIG, PATH). */
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** Tables that the run makes on the target. */
export type CopiedTable = TableFacts & {
  /** Whether its rows are copied too. */
  readonly withRows: boolean;
};

/** What the source's checks look at: a session inside of a read-only transaction, and what is copied of what it sees. */
export type SourceView = {
  readonly session: Session;
  readonly tables: readonly CopiedTable[];
  /** Null: everything is copied. */
  readonly filter: ObjectFilter | null;
  /** Whether an object of the source is copied, by its catalog's OID and its own. */
  readonly keeps: (classOid: number, oid: number) => boolean;
};
