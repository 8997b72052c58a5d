/** docs/transform-files.md is what others read files by: every example in it is read here. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { decodeHeader, LineDecoder, RelationIntern } from '../../src/journal/decode.js';
import { encodeHeader, LineEncoder } from '../../src/journal/encode.js';
import { JournalReader } from '../../src/journal/reader.js';
import { drain, linesOf, lsn, openWriter, temporaryDirectory } from './messages.js';

const page = await readFile(new URL('../../docs/transform-files.md', import.meta.url), 'utf8');
const [explained = '', whole = ''] = page.split('## Two whole files');
const blocks = (text: string) => [...text.matchAll(/^```json\n(.*?)^```$/gms)].map((match) => match[1] ?? '');

test('every line in the text is one of ours, to the byte, and every kind of line is shown', () => {
  const decoder = new LineDecoder('page', new RelationIntern());
  const encoder = new LineEncoder(1);
  const shown = new Set<string>();
  const lines = blocks(explained).flatMap((block) => block.trimEnd().split('\n'));
  for (const line of lines) {
    shown.add(line.slice('{"action":"'.length)[0] ?? '');
    if (line.startsWith('{"action":"H"')) {
      const header = decodeHeader('000000010000000000000002.json', line);
      expect(`${encodeHeader(header)},"sum":"${line.slice(-10, -2)}"}`).toBe(line);
      continue;
    }
    const message = decoder.decode(line, 0);
    if (message === null || message.kind === 'switch') continue;
    // A description that the writer repeats stands right before its first use; the page shows it with the other.
    const written = `${linesOf(encoder, message)}}`.split('\n');
    expect(written.at(-1)).toBe(line);
    expect(lines).toEqual(expect.arrayContaining(written));
  }
  const documented = [...explained.matchAll(/^\| `([A-Z])` \|/gm)].map((match) => match[1]);
  expect(shown).toEqual(new Set(documented));
});

test('the two whole files are a journal, checksums and all, that a writer goes on with', async () => {
  await using directory = await temporaryDirectory();
  await mkdir(directory.path);
  const names = [...whole.matchAll(/^`([0-9A-F]{24}\.json)`/gm)].map((match) => match[1] ?? '');
  const files = blocks(whole);
  expect(files.length).toBe(2);
  for (const [index, text] of files.entries())
    await writeFile(join(directory.path, names[index] ?? ''), text);
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  const messages = await drain(reader);
  expect(messages.map((message) => (message.kind === 'change' ? message.change.kind : message.kind))).toEqual(
    [
      ...['connected', 'keepalive', 'relation', 'begin', 'insert', 'update', 'update', 'delete', 'commit'],
      ...['keepalive', 'endpos'],
    ],
  );
  await using writer = await openWriter(directory.path, { header: {} });
  expect(writer.recovered).toBe(lsn(0x3000060));
});
