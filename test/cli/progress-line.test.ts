import { expect, test } from 'vitest';
import { makeProgressLine } from '../../src/cli/progress-line.js';

const clear = '\r\u001b[K';

function terminal(isTTY = true, columns = 20) {
  const written: string[] = [];
  return { isTTY, columns, written, write: (text: string) => written.push(text) };
}

test('one line is written over and over, not more often than people can read', () => {
  const screen = terminal();
  let time = 0;
  const line = makeProgressLine(screen, true, () => time);
  line.show('1 of 3');
  time = 199;
  line.show('2 of 3');
  time = 200;
  line.show('3 of 3');
  expect(screen.written).toEqual([`${clear}1 of 3`, `${clear}3 of 3`]);
});

test('a line that is wider than the terminal is cut, since it could not be taken back', () => {
  const screen = terminal(true, 12);
  makeProgressLine(screen, true).show('0123456789abcdef');
  expect(screen.written).toEqual([`${clear}0123456789a`]);
});

test('hiding takes it away once', () => {
  const screen = terminal();
  const line = makeProgressLine(screen, true);
  line.hide();
  line.show('x');
  line.hide();
  line.hide();
  expect(screen.written).toEqual([`${clear}x`, clear]);
});

test('nothing is written where there is no terminal, or when it is switched off', () => {
  const file = terminal(false);
  const quiet = terminal();
  for (const line of [makeProgressLine(file, true), makeProgressLine(quiet, false)]) {
    line.show('x');
    line.hide();
  }
  expect([...file.written, ...quiet.written]).toEqual([]);
});
