import { describe, expect, test } from 'vitest';
import { filteredPlugin, keepMessage, keepsOf, keptSequencesOf } from '../../src/filter/scope.js';
import type { FilterScope } from '../../src/model/object-filter.js';
import type { PluginMessage } from '../../src/model/message.js';
import type { Plugin } from '../../src/model/plugin.js';
import type { Relation } from '../../src/model/relation.js';

const scope: FilterScope = {
  withoutRows: [['app', 'tmp']],
  onlyTables: null,
  onlySchemas: null,
  excludedSchemas: ['audit'],
  sequences: [['app', 'tmp_seq']],
};
const relation = (schema: string, name: string): Relation => ({
  schema,
  name,
  identity: 'default',
  columns: [],
  key: [],
});
const stays = relation('app', 'stays');
const tmp = relation('app', 'tmp');

describe('a scope', () => {
  test.each<[Partial<FilterScope>, string, string, boolean]>([
    [{}, 'app', 'stays', true],
    [{}, 'app', 'tmp', false],
    [{}, 'audit', 'any', false],
    [{}, 'new', 'made_later', true],
    [{ onlySchemas: ['app'] }, 'new', 'made_later', false],
    [{ onlySchemas: ['app'] }, 'app', 'made_later', true],
    [{ onlyTables: [['app', 'stays']] }, 'app', 'stays', true],
    [{ onlyTables: [['app', 'stays']] }, 'app', 'made_later', false],
    [{ onlyTables: [['app', 'tmp']] }, 'app', 'tmp', false],
    [{ withoutRows: [['a","b', 'c']] }, 'a', 'b","c', true],
  ])('%j keeps %s.%s: %s', (more, schema, name, kept) => {
    expect(keepsOf({ ...scope, ...more })({ schema, name })).toBe(kept);
  });

  test('knows the sequences that are not set', () => {
    const keeps = keptSequencesOf(scope);
    expect([keeps({ schema: 'app', name: 'tmp_seq' }), keeps({ schema: 'app', name: 'seq' })]).toEqual([
      false,
      true,
    ]);
  });
});

const change = (one: Extract<PluginMessage, { kind: 'change' }>['change']): PluginMessage => ({
  kind: 'change',
  xid: 1n,
  lsn: 1n as never,
  change: one,
});
const truncate = (...relations: Relation[]) =>
  change({ kind: 'truncate', relations, restartIdentity: false, cascade: false });
const begin: PluginMessage = { kind: 'begin', xid: 1n, commitLsn: null, commitTime: null };

describe('a stream', () => {
  const keeps = keepsOf(scope);
  const insert = (into: Relation) => change({ kind: 'insert', relation: into, row: [] });

  test('has no change of what is left out, and every transaction', () => {
    expect(keepMessage(insert(stays), keeps)).toEqual(insert(stays));
    expect(keepMessage(insert(tmp), keeps)).toBeNull();
    expect(keepMessage(change({ kind: 'delete', relation: tmp, key: [] }), keeps)).toBeNull();
    expect(keepMessage(begin, keeps)).toBe(begin);
  });

  test('truncates the tables that stay', () => {
    expect(keepMessage(truncate(stays, tmp), keeps)).toEqual(truncate(stays));
    expect(keepMessage(truncate(tmp), keeps)).toBeNull();
    const whole = truncate(stays);
    expect(keepMessage(whole, keeps)).toBe(whole);
  });

  test('of any plugin is filtered as it is decoded: one message, several, none, and what is none', () => {
    const stale = Symbol('stale');
    const outputs: unknown[] = [
      insert(tmp),
      insert(stays),
      [insert(tmp), insert(stays)],
      [insert(tmp)],
      null,
      stale,
    ];
    const plugin = {
      name: 'pgoutput',
      createDecoder: () => ({ decode: () => outputs.shift() }),
    } as unknown as Plugin;
    const filtered = filteredPlugin(plugin, keeps);
    expect(filtered.name).toBe('pgoutput');
    const decoder = filtered.createDecoder({} as never);
    const decoded = Array.from({ length: 6 }, () => decoder.decode(Buffer.of(), 0n as never));
    expect(decoded).toEqual([null, insert(stays), [insert(stays)], null, null, stale]);
  });

  test('is read in place where the plugin can do that', () => {
    const places: unknown[] = [];
    const outputs = [insert(tmp), insert(stays)];
    const decodeWithin = (...place: readonly unknown[]) => {
      places.push(place);
      return outputs.shift();
    };
    const plugin = { createDecoder: () => ({ decode: () => null, decodeWithin }) } as unknown as Plugin;
    const decoder = filteredPlugin(plugin, keeps).createDecoder({} as never);
    const bytes = Buffer.from('any');
    const decoded = [1, 2].map((start) => decoder.decodeWithin?.(bytes, start, 3, 9n as never));
    expect(decoded).toEqual([null, insert(stays)]);
    expect(places).toEqual([1, 2].map((start) => [bytes, start, 3, 9n]));
  });
});
