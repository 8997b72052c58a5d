/**
 * The password file, `~/.pgpass`: lines of `host:port:database:user:password`.
 * https://www.postgresql.org/docs/current/libpq-pgpass.html
 */
import { readFileSync, statSync } from 'node:fs';

/** What a password is looked up by. */
export type PasswordKey = {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
};

export type PasswordLookup = {
  readonly password: string | null;
  /** Why the file was not used, for the message of a login that then fails; null when there is nothing to say. */
  readonly note: string | null;
};

/**
 * Looks a password up in the file. A file that others may read is ignored, as libpq does: its owner should learn of
 * it, which `note` is for.
 */
export function loadPassword(file: string, key: PasswordKey): PasswordLookup {
  let text: string;
  try {
    const status = statSync(file);
    if (!status.isFile()) return { password: null, note: `the password file ${file} is not a plain file` };
    if ((status.mode & 0o077) !== 0) {
      return {
        password: null,
        note: `the password file ${file} was not used because others may read it (chmod 0600)`,
      };
    }
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    return { password: null, note: missing ? null : `the password file ${file} cannot be read` };
  }
  return { password: findPassword(text, key), note: null };
}

/** The password of the first line that fits; null when none does. */
export function findPassword(text: string, key: PasswordKey): string | null {
  const wanted = [key.host, String(key.port), key.database, key.user];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    const fields = splitLine(line);
    const password = fields[4];
    if (password === undefined || password === '') continue;
    if (wanted.every((value, index) => fields[index] === value || isAny(line, fields, index)))
      return password;
  }
  return null;
}

/** Whether a field is a bare `*`: one written `\*` is an ordinary asterisk. */
function isAny(line: string, fields: readonly string[], index: number): boolean {
  return fields[index] === '*' && rawFields(line)[index] === '*';
}

/** The first four fields as written, and the rest of the line. */
function rawFields(line: string): string[] {
  const fields: string[] = [];
  let start = 0;
  for (let at = 0; at < line.length && fields.length < 4; at += 1) {
    if (line.charAt(at) === '\\') at += 1;
    else if (line.charAt(at) === ':') {
      fields.push(line.slice(start, at));
      start = at + 1;
    }
  }
  return [...fields, line.slice(start)];
}

/** The five fields with their backslashes resolved. The password ends at a further bare colon, as in libpq. */
function splitLine(line: string): string[] {
  const fields = rawFields(line);
  if (fields.length < 5) return [];
  const password = /^(?:[^\\:]|\\.?)*/.exec(fields[4] ?? '')?.[0] ?? '';
  return [...fields.slice(0, 4), password].map((field) => field.replaceAll(/\\(.)/g, '$1'));
}
