/** `list … --filters` shows what is kept, with --list-skipped the complement. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';
import { walferry } from '../support/walferry.js';

test('the lists show what filters keep, and what they leave out', async () => {
  await using source = await createDatabase('source');
  await using directory = await temporaryDirectory();
  await source.sql(`
    create table stays (id serial primary key); create table goes (id serial primary key, s int references stays);
    create table empty (id int primary key); create view seen as select * from goes;`);
  const file = path.join(directory.path, 'f.ini');
  await writeFile(file, '[exclude-table]\npublic.goes\n[exclude-table-data]\npublic.empty');
  const list = async (...words: string[]) => {
    await using process = walferry(['list', ...words, '--dir', path.join(directory.path, 'work')], {
      env: { PGCOPYDB_SOURCE_PGURI: source.uri },
    });
    return await process.exit;
  };
  const names = async (...words: string[]) => {
    const rows = JSON.parse((await list(...words, '--json')).stdout) as { name: string }[];
    return rows.map(({ name }) => name).toSorted();
  };

  expect(await names('tables', '--filters', file)).toEqual(['empty', 'stays']);
  expect(await names('tables', '--filters', file, '--list-skipped')).toEqual(['goes']);
  expect(await names('sequences', '--filters', file)).toEqual(['stays_id_seq']);
  expect(await names('sequences', '-F', file, '-x')).toEqual(['goes_id_seq']);
  expect(await names('indexes', '--filters', file)).toEqual(['empty_pkey', 'stays_pkey']);
  expect(await names('indexes', '--filters', file, '--list-skipped')).toEqual(['goes_pkey']);

  const schema = JSON.parse((await list('schema', '--filters', file, '--json')).stdout) as {
    filters: unknown;
    tables: { name: string; 'exclude-data': boolean }[];
  };
  expect(schema.filters).toEqual({
    type: 'SOURCE_FILTER_TYPE_EXCL',
    'exclude-table': ['public.goes'],
    'exclude-table-data': ['public.empty'],
  });
  const rowless = schema.tables.filter((table) => table['exclude-data']).map(({ name }) => name);
  expect(rowless).toEqual(['empty']);

  const depends = await list('depends', '--filters', file, '--list-skipped');
  expect(depends.stdout).toMatch(/ public \| +goes \| +1259 \| +\d+ \| +view \| +public\.seen\n/);
  expect(depends.stdout).toMatch(/ table constraint \| +goes_s_fkey on public\.goes\n/);

  const refused = [await list('tables', '--list-skipped'), await list('depends', '--filters', file)];
  expect(refused.map(({ code }) => code)).toEqual([1, 1]);
});
