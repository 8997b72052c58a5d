/**
 * The two ways to write a connection string, as libpq reads them: a URI, or `keyword=value` pairs. Text in,
 * parameters out; nothing here knows what a parameter means.
 *
 * Two habits differ from libpq, both so that no piece of a password ends in a message. A password with an `@`, `/`
 * or space that was not escaped splits the string in odd places, and libpq's messages then quote a part of it: ours
 * never quote text that could come from a password. And a URI with an `@` left where host or database are read is
 * refused, as it is nearly always such a password, half of which would be looked up as a host name.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
 */
import { Failure } from '../failure.js';

/** Parameters by libpq's keyword, as written; the later of two wins, as in libpq. */
export type ConnectionText = {
  readonly form: 'uri' | 'keywords';
  readonly parameters: ReadonlyMap<string, string>;
  /**
   * Keywords whose name must not be shown when they turn out to be unknown, since they may be a piece of a password.
   */
  readonly unsafe: ReadonlySet<string>;
};

const scheme = /^postgres(?:ql)?:\/\//i;

/** Reads either form. Throws a Failure `usage` that quotes nothing of the text's values. */
export function readConnectionText(text: string): ConnectionText {
  if (text.includes('\0')) throw malformed('it holds a NUL character');
  const start = scheme.exec(text);
  return start === null ? readKeywords(text) : readUri(text.slice(start[0].length));
}

function malformed(problem: string): Failure {
  return new Failure('usage', `the connection string cannot be read: ${problem}`);
}

/** `[user[:password]@][host][:port][,…][/database][?keyword=value&…]`, after the scheme. */
function readUri(rest: string): ConnectionText {
  const parameters = new Map<string, string>();
  const put = (keyword: string, value: string, what: string) => {
    if (value !== '') parameters.set(keyword, percentDecode(value, what));
  };

  // As libpq: user and password end at the first `@`, provided that no `/` comes before it.
  const credentials = /^[^@/]*@/.exec(rest)?.[0] ?? '';
  if (credentials !== '') {
    const colon = credentials.indexOf(':');
    put('user', credentials.slice(0, colon === -1 ? -1 : colon), 'the user');
    if (colon !== -1) put('password', credentials.slice(colon + 1, -1), 'the password');
  }

  const afterCredentials = rest.slice(credentials.length);
  const question = afterCredentials.indexOf('?');
  const place = question === -1 ? afterCredentials : afterCredentials.slice(0, question);
  if (place.includes('@')) {
    throw malformed(
      'there is an "@" where host and database are expected; in user, password and database write "@" as %40, "/" as %2F, ":" as %3A',
    );
  }
  const slash = place.indexOf('/');
  const hosts = readHosts(slash === -1 ? place : place.slice(0, slash));
  put('host', hosts.host, 'the host');
  put('port', hosts.port, 'the port');
  if (slash !== -1) put('dbname', place.slice(slash + 1), 'the database');

  const unsafe = new Set<string>();
  if (question !== -1) readQuery(afterCredentials.slice(question + 1), parameters, unsafe);
  return { form: 'uri', parameters, unsafe };
}

/** `host:port,[ipv6]:port,…` as libpq's two comma-separated lists; ports may be missing. */
function readHosts(text: string): { host: string; port: string } {
  const hosts: string[] = [];
  const ports: string[] = [];
  let rest = text;
  for (;;) {
    let host: string;
    if (rest.startsWith('[')) {
      const end = rest.indexOf(']');
      if (end === -1) throw malformed('the "]" after an IPv6 address is missing');
      if (end === 1) throw malformed('the IPv6 address between "[" and "]" is empty');
      host = rest.slice(1, end);
      rest = rest.slice(end + 1);
      if (!/^(?:[:,]|$)/.test(rest)) {
        throw malformed('after the "]" of an IPv6 address only ":", "/", "?" or "," may follow');
      }
    } else {
      host = /^[^:,]*/.exec(rest)?.[0] ?? '';
      rest = rest.slice(host.length);
    }
    hosts.push(host);
    const port = /^:[^,]*/.exec(rest)?.[0] ?? '';
    rest = rest.slice(port.length);
    ports.push(port.slice(1));
    if (rest === '') break;
    rest = rest.slice(1);
  }
  const some = (values: string[]) => (values.some((value) => value !== '') ? values.join(',') : '');
  return { host: some(hosts), port: some(ports) };
}

function readQuery(query: string, parameters: Map<string, string>, unsafe: Set<string>): void {
  if (query === '') return;
  // An `@` in here may be the end of a password that held a `?`: then the keywords are pieces of it.
  const maybePassword = query.includes('@');
  for (const pair of query.split('&')) {
    const parts = pair.split('=');
    const [writtenKeyword = '', writtenValue] = parts;
    if (writtenValue === undefined || parts.length > 2) {
      throw malformed(
        'a parameter after the "?" is not of the form keyword=value (write "=" in a value as %3D)',
      );
    }
    let keyword = percentDecode(writtenKeyword, 'a keyword after the "?"');
    let value = percentDecode(writtenValue, 'a value after the "?"');
    // JDBC's way to write it, which libpq takes as well.
    if (keyword === 'ssl' && value === 'true') [keyword, value] = ['sslmode', 'require'];
    if (maybePassword) unsafe.add(keyword);
    parameters.set(keyword, value);
  }
}

const percentBytes = /%(?:[0-9a-f]{2})?/gi;

/** Percent-decoding into UTF-8. A `+` stays a `+`, as in libpq. */
export function percentDecode(text: string, what: string): string {
  if (!text.includes('%')) return text;
  let broken = false;
  const bytes = Buffer.from(text, 'utf8')
    .toString('latin1')
    .replace(percentBytes, (token) => {
      if (token.length === 1 || token === '%00') broken = true;
      return String.fromCharCode(Number.parseInt(token.slice(1), 16));
    });
  if (broken)
    throw malformed(
      `${what} holds a "%" that is not followed by two hexadecimal digits (write "%" as %25), or %00`,
    );
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(bytes, 'latin1'));
  } catch {
    throw malformed(`${what} is not UTF-8 after percent-decoding`);
  }
}

/** `keyword = value keyword = 'quoted \' value'`, libpq's conninfo_parse. */
function readKeywords(text: string): ConnectionText {
  const parameters = new Map<string, string>();
  const unsafe = new Set<string>();
  let at = 0;
  let previous = '';
  const skipBlanks = () => {
    while (at < text.length && isBlank(text.charAt(at))) at += 1;
  };
  for (skipBlanks(); at < text.length; skipBlanks()) {
    const start = at;
    while (at < text.length && text.charAt(at) !== '=' && !isBlank(text.charAt(at))) at += 1;
    const keyword = text.slice(start, at);
    skipBlanks();
    if (keyword === '' || text.charAt(at) !== '=') {
      throw malformed(
        previous === ''
          ? 'it is neither a URI (postgres://user@host:port/database) nor a list of keyword=value'
          : `the value of "${previous}" is followed by something that is not keyword=value (quote values with spaces: 'a value')`,
      );
    }
    at += 1;
    skipBlanks();
    const value = readValue(text, at, keyword);
    at = value.end;
    // What follows an unquoted password may be the rest of it.
    if (previous === 'password' || !/^[a-z_]+$/.test(keyword)) unsafe.add(keyword);
    parameters.set(keyword, value.text);
    previous = /^[a-z_]+$/.test(keyword) && !unsafe.has(keyword) ? keyword : previous;
  }
  return { form: 'keywords', parameters, unsafe };
}

/** One value from `at`: to the closing quote, or to the next blank; a backslash takes the next character as it is. */
function readValue(text: string, at: number, keyword: string): { text: string; end: number } {
  const quoted = text.charAt(at) === "'";
  let position = quoted ? at + 1 : at;
  let value = '';
  for (; position < text.length; position += 1) {
    const character = text.charAt(position);
    if (quoted ? character === "'" : isBlank(character)) break;
    if (character === '\\') position += 1;
    value += character === '\\' ? text.charAt(position) : character;
  }
  if (!quoted) return { text: value, end: position };
  if (position >= text.length) {
    throw malformed(
      /^[a-z_]+$/.test(keyword)
        ? `the quote around the value of "${keyword}" is not closed`
        : 'a quote is not closed',
    );
  }
  return { text: value, end: position + 1 };
}

/** C's isspace in the C locale. */
function isBlank(character: string): boolean {
  return character === ' ' || (character >= '\t' && character <= '\r');
}
