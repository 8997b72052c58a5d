/** Short texts among bytes: a call into the engine costs more than the few that are compared. */

/** Whether `text` stands in `buffer` at `at`. */
export function standsAt(buffer: Buffer, at: number, text: Buffer): boolean {
  const { length } = text;
  for (let nth = 0; nth < length; nth += 1) if (buffer[at + nth] !== text[nth]) return false;
  return true;
}
