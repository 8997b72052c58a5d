/** One normalised connection description, read from a URI or a keyword/value string. */
export type Conninfo = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string | null;
  readonly database: string;
};

/** Reads a connection string. */
export function readConninfo(text: string, _environment: NodeJS.ProcessEnv): Conninfo {
  const url = new URL(text);
  return {
    host: url.hostname,
    port: Number(url.port || 5432),
    user: decodeURIComponent(url.username),
    password: url.password === '' ? null : decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)),
  };
}
