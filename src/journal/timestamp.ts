/**
 * Times in transform files: `2024-02-28 08:28:35.455195+0000`, to the microsecond. What a calendar of four-digit
 * years cannot say (the server's -infinity and infinity among it) stands as plain microseconds since 2000-01-01, so
 * that every 64-bit value comes back as it was.
 */

const zone = '+0000';
/** Length of `2024-02-28 08:28:35.`. */
const secondLength = 20;

const epochMs = 946_684_800_000;
const firstMicros = BigInt(Date.parse('0000-01-01T00:00:00.000Z') - epochMs) * 1000n;
const lastMicros = BigInt(Date.parse('9999-12-31T23:59:59.999Z') - epochMs) * 1000n + 999n;

/** Prints microseconds since 2000-01-01 UTC. */
export function formatTimestamp(time: bigint): string {
  if (time < firstMicros || time > lastMicros) return time.toString();
  let ms = time / 1000n;
  let micros = time % 1000n;
  if (micros < 0n) {
    ms -= 1n;
    micros += 1000n;
  }
  const iso = new Date(Number(ms) + epochMs).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}${micros.toString().padStart(3, '0')}+0000`;
}

const calendar = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3})(\d{3})\+0000$/;
const plain = /^-?\d{1,19}$/;

/** Reads what formatTimestamp printed; null when it is something else. */
export function parseTimestamp(text: string): bigint | null {
  const match = calendar.exec(text);
  if (match === null) return plain.test(text) ? BigInt.asIntN(64, BigInt(text)) : null;
  const ms = Date.parse(`${match[1]}T${match[2]}Z`);
  if (Number.isNaN(ms)) return null;
  return BigInt(ms - epochMs) * 1000n + BigInt(match[3] as string);
}

/** formatTimestamp for times that mostly share their second with the one before. */
export class TimestampPrinter {
  /** The second at hand: where it begins, and its text up to the point before the microseconds. */
  #start = 0n;
  #text = '2000-01-01 00:00:00.';

  format(time: bigint): string {
    const micros = time - this.#start;
    if (micros >= 0n && micros < 1_000_000n) {
      // With a digit in front, so that zeros stay.
      return `${this.#text}${String(1_000_000 + Number(micros)).slice(1)}+0000`;
    }
    const text = formatTimestamp(time);
    if (text.endsWith(zone)) {
      this.#text = text.slice(0, secondLength);
      this.#start = time - BigInt(text.slice(secondLength, -zone.length));
    }
    return text;
  }
}

/** parseTimestamp for times that mostly share their second with the one before. */
export class TimestampScanner {
  #start = 0n;
  #text = '2000-01-01 00:00:00.';

  parse(text: string): bigint | null {
    if (text.startsWith(this.#text)) {
      const micros = /^(\d{6})\+0000$/.exec(text.slice(secondLength));
      return micros === null ? null : this.#start + BigInt(micros[1] as string);
    }
    const time = parseTimestamp(text);
    if (time !== null && text.endsWith(zone)) {
      this.#text = text.slice(0, secondLength);
      this.#start = time - BigInt(text.slice(secondLength, -zone.length));
    }
    return time;
  }
}
