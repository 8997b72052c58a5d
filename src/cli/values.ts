/**
 * The texts of options and variables, read. Each reader gives the value, or says what it expected.
 */
import { parseLsn, type Lsn } from '../model/lsn.js';

/** A value, or what is expected instead of the text. */
export type Read<T> = { readonly value: T } | { readonly expected: string };

/** `true|yes|on|1` and `false|no|off|0`, in any case. */
export function readBoolean(text: string): Read<boolean> {
  switch (text.toLowerCase()) {
    case 'true':
    case 'yes':
    case 'on':
    case '1':
      return { value: true };
    case 'false':
    case 'no':
    case 'off':
    case '0':
      return { value: false };
    default:
      return { expected: 'true, yes, on or 1, or false, no, off or 0' };
  }
}

/** A whole decimal number within bounds. */
export function readInteger(text: string, min: number, max: number): Read<number> {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? { value } : { expected: `an integer >= ${min} and <= ${max}` };
}

const units = ['b', 'kb', 'mb', 'gb', 'tb', 'pb', 'eb'];

/** Bytes: `1024`, `10 GB`, `512kB`; units are powers of 1024. */
export function readSize(text: string): Read<number> {
  const match = /^(\d{1,16}) ?([kmgtpe]?b)?$/i.exec(text);
  const power = units.indexOf((match?.[2] ?? 'B').toLowerCase());
  const bytes = Number(match?.[1] ?? Number.NaN) * 1024 ** power;
  return Number.isSafeInteger(bytes)
    ? { value: bytes }
    : { expected: 'a size, as 1073741824, 512 MB or 10 GB (up to 7 PB)' };
}

/** `X/Y`. */
export function readLsnOption(text: string): Read<Lsn> {
  const value = parseLsn(text);
  return value === null ? { expected: 'an LSN, as 16/B374D848' } : { value };
}

/** An address to listen on or to ask. */
export type Address = { readonly host: string; readonly port: number };

/** `host:port`, `[::1]:port`, a port or a host alone. */
export function readAddress(text: string, absent: Address): Read<Address> {
  const expected = { expected: 'host:port, as 127.0.0.1:5442 or [::1]:5442' };
  if (/^\d{1,5}$/.test(text)) return addressOf(absent.host, text) ?? expected;
  const match = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/i.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) return expected;
  return addressOf(host, match?.[3] ?? String(absent.port)) ?? expected;
}

function addressOf(host: string, port: string): Read<Address> | null {
  const number = Number(port);
  return number >= 1 && number <= 65_535 ? { value: { host, port: number } } : null;
}

/** The server's rule for slot names (ReplicationSlotValidateName). */
export function readSlotName(text: string): Read<string> {
  return /^[a-z0-9_]{1,63}$/.test(text)
    ? { value: text }
    : { expected: 'up to 63 lower-case letters, digits and underscores' };
}

/** Anything but nothing. */
export function readText(text: string): Read<string> {
  return text === '' ? { expected: 'a value that is not empty' } : { value: text };
}
