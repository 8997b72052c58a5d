/** A server gives the process id of a backend that is gone to another one, which says nothing about the first. */
import { expect, test } from 'vitest';
import type { Failure } from '../../../src/failure.js';
import { connect, type Backend, type Session } from '../../../src/postgres/connect.js';
import { readConninfo } from '../../../src/postgres/connection-string.js';
import { SilenceWatch } from '../../../src/postgres/silence.js';
import { createDatabase } from '../../support/databases.js';

function open(uri: string): Promise<Session> {
  return connect(readConninfo(uri, {}), { side: 'target', applicationName: 'walferry test', watched: true });
}

/** Looks after a connection that has been silent for long, as an ordinary role; resolves when it is called lost. */
function watch(uri: string, backend: Backend): Disposable & { readonly lost: Promise<Failure> } {
  const silentSince = performance.now() - 1000;
  let watched: SilenceWatch | null = null;
  const lost = new Promise<Failure>((resolve) => {
    watched = new SilenceWatch({
      conninfo: readConninfo(uri, {}),
      side: 'target',
      backend,
      silentSince: () => silentSince,
      onLost: resolve,
      afterMs: 20,
    });
  });
  return { lost, [Symbol.dispose]: () => watched?.close() };
}

test.each(['its own', 'another'])(
  'an id that a busy backend of %s role has now: the connection is lost',
  async (role) => {
    await using database = await createDatabase('target');
    const uri = database.neonUri;
    // Given a backend that is gone, and another one that works, with its id as far as the server says,
    await using gone = await open(uri);
    const { start } = gone.backend;
    expect(start).toMatch(/^\d+\.\d{6}$/);
    await gone.close();
    await using other = await open(role === 'another' ? database.uri : uri);
    const works = other.query('select pg_sleep(2), 1 as done');

    // when the connection of the first is looked after, it is found to be lost,
    using watched = watch(uri, { pid: other.backend.pid, start });
    const failure = await watched.lost;
    expect(failure.code).toBe('target-disconnected');
    expect(failure.message).toContain('its process for this connection is gone');

    // and the other one is left in peace.
    expect(await works).toMatchObject([{ done: '1' }]);
  },
);

test('a backend that works is waited for; one that waits for us is ended', async () => {
  await using database = await createDatabase('target');
  const uri = database.neonUri;
  await using session = await open(uri);
  const works = session.query('select pg_sleep(1), 1 as done');
  using watched = watch(uri, session.backend);
  expect(await Promise.race([works, watched.lost])).toMatchObject([{ done: '1' }]);
  expect((await watched.lost).message).toContain('waits for what was sent long ago');
  await expect(session.query('select 1')).rejects.toMatchObject({ code: 'target-disconnected' });
});
