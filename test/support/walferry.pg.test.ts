import { describe, expect, test } from 'vitest';
import { walferry } from './walferry.js';

describe('the program as a process', () => {
  test('ends with its exit code and what it printed', async () => {
    const { code, stdout, stderr } = await walferry(['--help']).exit;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/walferry/);
  });

  test('that ends without the awaited output is told at once', async () => {
    await using running = walferry(['--help']);
    await expect(running.waitForOutput(/never printed/)).rejects.toThrow(/ended without \/never printed\//);
    expect((await running.waitForOutput(/usage: (\w+)/i))[1]).toBe('walferry');
  });

  test('sees no variable of this machine that means something to it', async () => {
    process.env['PGHOST'] = 'machine.invalid';
    process.env['WALFERRY_SOURCE_PGURI'] = 'postgres://machine.invalid/x';
    try {
      const { stderr, code } = await walferry(['ping']).exit;
      expect(code).not.toBe(0);
      expect(stderr).not.toContain('machine.invalid');
    } finally {
      delete process.env['PGHOST'];
      delete process.env['WALFERRY_SOURCE_PGURI'];
    }
  });
});
