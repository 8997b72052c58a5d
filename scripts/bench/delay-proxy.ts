/** A TCP proxy that keeps every byte for half a round trip in each direction: a server that is far away. */
import net from 'node:net';

export type DelayProxy = AsyncDisposable & { readonly port: number };

/** `roundTripMs` 0 passes everything on at once. Order and bandwidth are left alone. */
export async function startDelayProxy(
  to: { readonly host: string; readonly port: number },
  roundTripMs: number,
): Promise<DelayProxy> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((near) => {
    const far = net.connect({ host: to.host, port: to.port });
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      // Timers of the same length fire in the order they were set.
      from.on('data', (chunk) => setTimeout(() => into.writable && into.write(chunk), roundTripMs / 2));
      from.on('end', () => setTimeout(() => into.end(), roundTripMs / 2));
      from.on('error', () => into.destroy());
      from.on('close', () => {
        sockets.delete(from);
        setTimeout(() => into.destroy(), roundTripMs);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
