/**
 * A picture on a terminal that is drawn over and over, in place: on the alternate screen, so that what was there before
 * comes back, with one write a picture, so that nothing flickers. Keys are read while it is open.
 * https://www.ecma-international.org/publications-and-standards/standards/ecma-48/
 */

const csi = '\u001b[';
const enter = `${csi}?1049h${csi}?25l${csi}?7l`;
const leave = `${csi}?7h${csi}?25h${csi}?1049l`;
/** Drawn as one by terminals that know it; the others ignore it. */
const beginPicture = `${csi}?2026h`;
const endPicture = `${csi}?2026l`;

export type Screen = Disposable & {
  readonly size: () => { readonly columns: number; readonly rows: number };
  readonly draw: (lines: readonly string[]) => void;
};

export type ScreenOptions = {
  readonly output: NodeJS.WriteStream;
  readonly input: NodeJS.ReadStream;
  /** `q` or Ctrl-C was pressed. */
  readonly onQuit: () => void;
  /** The terminal has another size now. */
  readonly onResize: () => void;
};

/** Takes the terminal; disposing of it gives it back as it was. */
export function openScreen({ output, input, onQuit, onResize }: ScreenOptions): Screen {
  const keys = (data: Buffer) => {
    const text = data.toString('latin1');
    if (text.includes('q') || text.includes('Q') || text.includes('\u0003')) onQuit();
  };
  const raw = input.isTTY;
  if (raw) {
    input.setRawMode(true);
    input.resume();
    input.on('data', keys);
  }
  output.on('resize', onResize);
  output.write(enter);
  const restore = () => output.write(leave);
  // Also when something else ends the process: nobody gets back a terminal without a cursor.
  process.once('exit', restore);
  return {
    size: () => ({ columns: output.columns || 80, rows: output.rows || 24 }),
    draw: (lines) => {
      const body = lines.map((line) => `${line}${csi}K`).join('\r\n');
      output.write(`${beginPicture}${csi}H${body}${csi}J${endPicture}`);
    },
    [Symbol.dispose]: () => {
      process.off('exit', restore);
      output.off('resize', onResize);
      if (raw) {
        input.off('data', keys);
        input.setRawMode(false);
        input.pause();
      }
      restore();
    },
  };
}
