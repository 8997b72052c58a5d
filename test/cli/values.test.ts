import { expect, test } from 'vitest';
import { readBoolean, readInteger, readLsnOption, readSize, readSlotName } from '../../src/cli/values.js';

/** The value, or `refused`. */
const value = (read: { value: unknown } | { expected: string }) => ('value' in read ? read.value : 'refused');

test.each([
  ['true', true],
  ['YES', true],
  ['on', true],
  ['1', true],
  ['false', false],
  ['No', false],
  ['off', false],
  ['0', false],
  ['', 'refused'],
  ['enabled', 'refused'],
  ['2', 'refused'],
  [' true', 'refused'],
])('the boolean "%s" is %s', (text, expected) => {
  expect(value(readBoolean(text))).toBe(expected);
});

test.each([
  ['1', 1],
  ['128', 128],
  ['04', 4],
  ['0', 'refused'],
  ['129', 'refused'],
  ['-1', 'refused'],
  ['4.5', 'refused'],
  ['4x', 'refused'],
  ['0x4', 'refused'],
  ['1e2', 'refused'],
  ['', 'refused'],
  ['99999999999999999999', 'refused'],
])('the job count "%s" is %s', (text, expected) => {
  expect(value(readInteger(text, 1, 128))).toBe(expected);
});

test.each([
  ['0', 0],
  ['1024', 1024],
  ['10 GB', 10 * 1024 ** 3],
  ['10GB', 10 * 1024 ** 3],
  ['512kB', 512 * 1024],
  ['3 B', 3],
  ['1 TB', 1024 ** 4],
  ['7 PB', 7 * 1024 ** 5],
  ['2 mb', 2 * 1024 ** 2],
  ['8 PB', 'refused'],
  ['1 EB', 'refused'],
  ['10 G', 'refused'],
  ['GB', 'refused'],
  ['-1 GB', 'refused'],
  ['1.5 GB', 'refused'],
  ['1  GB', 'refused'],
  ['', 'refused'],
])('the size "%s" is %s', (text, expected) => {
  expect(value(readSize(text))).toBe(expected);
});

test.each([
  ['0/0', 0n],
  ['16/B374D848', 0x16_b374_d848n],
  ['16/b374d848', 0x16_b374_d848n],
  ['16', 'refused'],
  ['16/', 'refused'],
  ['x/1', 'refused'],
  ['123456789/0', 'refused'],
])('the LSN "%s" is %s', (text, expected) => {
  expect(value(readLsnOption(text))).toBe(expected);
});

test.each([
  ['walferry', 'walferry'],
  ['a_1', 'a_1'],
  ['x'.repeat(63), 'x'.repeat(63)],
  ['x'.repeat(64), 'refused'],
  ['Upper', 'refused'],
  ['a-b', 'refused'],
  ['', 'refused'],
  ["a'; drop", 'refused'],
])('the slot name "%s" is %s', (text, expected) => {
  expect(value(readSlotName(text))).toBe(expected);
});
