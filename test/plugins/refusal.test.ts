import { expect, test } from 'vitest';
import { refuseLong } from '../../plugins/refusal.js';
import type { Lsn } from '../../src/model/lsn.js';

test.each([
  [
    'wal2json',
    '{"action":"I","xid":7,"schema":"public","table":"note","columns":[]}',
    'a row of public.note',
  ],
  ['test_decoding', "table public.note: INSERT: body[text]:'x'", 'a row of public.note'],
  ['test_decoding', 'table "my.own"."a: b": DELETE: body[text]:', 'a row of "my.own"."a: b"'],
] as const)(
  '%s: a payload that no string can hold is refused by its table, without a value',
  (plugin, text, what) => {
    const payload = Buffer.from(text + 'secret'.repeat(1000));
    const place = { plugin, walStart: 0x77n as Lsn };
    expect(() => refuseLong(payload, place, payload.length)).not.toThrow();
    expect(() => refuseLong(payload, place, payload.length - 1)).toThrow(
      expect.objectContaining({
        code: 'plugin-limit',
        message: expect.stringMatching(new RegExp(`^${what} at 0/77 is longer(?!.*secret)`)),
      }),
    );
  },
);
