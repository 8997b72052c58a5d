/** A way to a server that can go silent, as networks do: nothing is closed, and nobody is told. */
import { connect, createServer, type Socket } from 'node:net';

export type SilentProxy = AsyncDisposable & {
  readonly port: number;
  /** From now on nothing passes, on old connections and on new ones, and nothing is closed: a network cut. */
  silence(): void;
  /** New connections pass again; the old ones stay dead without a word. */
  speak(): void;
  /** From now on what the server answers is lost on the way; then `cut` ends the connections there are. */
  swallow(): void;
  cut(): void;
};

export async function openSilentProxy(to: { host: string; port: number }): Promise<SilentProxy> {
  const sockets = new Set<Socket>();
  /** What was open when the network was cut never learns of its end. */
  const ways = new Set<{ dead: boolean; deaf: boolean }>();
  let silent = false;
  const server = createServer((client) => {
    const upstream = connect({ ...to, allowHalfOpen: true });
    const way = { dead: silent, deaf: false };
    ways.add(way);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    }
    const pass = (from: Socket, other: Socket) => {
      from.on('data', (chunk: Buffer) => {
        if (!way.dead && !(way.deaf && from === upstream)) other.write(chunk);
      });
      from.on('end', () => {
        if (!way.dead) other.end();
      });
    };
    pass(client, upstream);
    pass(upstream, client);
    client.on('close', () => ways.delete(way));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    silence: () => {
      silent = true;
      for (const way of ways) way.dead = true;
    },
    speak: () => {
      silent = false;
    },
    swallow: () => {
      for (const way of ways) way.deaf = true;
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The same connection string, over the proxy. */
export function through(uri: string, { port }: SilentProxy): string {
  const url = new URL(uri);
  url.port = String(port);
  return url.toString();
}

/** Where a connection string leads. */
export function serverOf(uri: string): { host: string; port: number } {
  const { hostname, port } = new URL(uri);
  return { host: hostname, port: Number(port) };
}
