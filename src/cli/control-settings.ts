/** Where a run listens, or where its clients ask: --host, --port and --monitor, read together. Pure. */
import type { Command } from './command.js';
import { readInteger, readText, type Address, type Read } from './values.js';

/** What is needed of the reader of all options (settings.ts). */
export interface AddressReader {
  readonly problems: string[];
  given(id: string): boolean;
  givenBare(id: string): boolean;
  text(id: string): string | null;
  integer(id: string, absent: null): number | null;
  address(id: string, absent: Address): Address;
  strongest(names: readonly string[]): { readonly text: string; readonly from: string } | null;
}

/** The peer's address and port. */
const controlAddress: Address = { host: '127.0.0.1', port: 5442 };

/** Where `monitor --web` listens: beside a run of the same machine that listens as well. */
export const pageAddress: Address = { host: '127.0.0.1', port: 5443 };

/**
 * Either of --host and --port switches it on. Where to listen stands in both prefixes' variables; whom to ask only in
 * ours, since the peer's commands go by the files unless they are told otherwise on the command line.
 */
export function readControl(reader: AddressReader, command: Pick<Command, 'group' | 'path'>): Address | null {
  const looksOn = command.path === 'monitor';
  const asks = command.group === 'S' || command.path === 'stream prune' || looksOn;
  const prefix = command.group === 'S' || looksOn ? 'coordinator-' : '';
  const read = <T>(
    name: 'host' | 'port',
    given: () => T | null,
    parse: (text: string) => Read<T>,
  ): T | null => {
    if (!asks || reader.given(`${prefix}${name}`)) return given();
    const found = reader.strongest([`WALFERRY_${name.toUpperCase()}`]);
    if (found === null) return null;
    const result = parse(found.text);
    if ('value' in result) return result.value;
    reader.problems.push(`Failed to parse "${found.from}": "${found.text}", expected ${result.expected}`);
    return null;
  };
  const host = read('host', () => reader.text(`${prefix}host`), readText);
  const port = read(
    'port',
    () => reader.integer(`${prefix}port`, null),
    (text) => readInteger(text, 1, 65_535),
  );
  const told =
    host === null && port === null
      ? null
      : { host: host ?? controlAddress.host, port: port ?? controlAddress.port };
  return reader.given('monitor') ? withPage(reader, told) : told;
}

/** One run has one server: --monitor says that it listens, and may say where, in place of --host and --port. */
function withPage(reader: AddressReader, told: Address | null): Address {
  const absent = told ?? controlAddress;
  if (reader.givenBare('monitor')) return absent;
  const address = reader.address('monitor', absent);
  if (told !== null && (told.host !== address.host || told.port !== address.port)) {
    reader.problems.push(
      '--monitor names another address than --host and --port: a run listens on one of them',
    );
  }
  return address;
}
