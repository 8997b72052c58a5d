/**
 * What tells one stream from another on the target: two sources, or two runs, never share a row there.
 */
export type StreamKey = {
  /** The stream's name (`--origin`), `walferry` by default. */
  readonly stream: string;
  /** The source cluster's system identifier (IDENTIFY_SYSTEM), decimal. */
  readonly systemIdentifier: string;
  /** The source database's name. */
  readonly database: string;
};
