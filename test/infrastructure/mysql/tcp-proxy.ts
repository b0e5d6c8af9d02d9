import { connect, createServer, type Server, type Socket } from 'node:net';

/** Stands between a client and a server, and fails in ways that a server cannot be asked to. */
export class TcpProxy {
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  /** Bytes that came from the server. */
  received = 0;
  /** Sees what a client sends before the server does; the connection is cut once the server has it when true. */
  cutAfter: (data: Buffer) => boolean = () => false;
  /** While true, nothing from the server reaches the clients. */
  silent = false;

  /** Answers with the same URL, but through the proxy. */
  async listen(target: string): Promise<string> {
    const { hostname, port } = new URL(target);
    this.#server = createServer((client) => this.#join(client, connect(Number(port || 3306), hostname)));
    await new Promise<void>((resolve) => this.#server?.listen(0, '127.0.0.1', resolve));
    const url = new URL(target);
    url.host = `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
    return url.href;
  }

  /** Open now, counting both sides of each. */
  get connections(): number {
    return this.#sockets.size;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  #join(client: Socket, server: Socket): void {
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (data) => {
      if (!this.cutAfter(data)) server.write(data);
      else server.write(data, () => client.destroy());
    });
    server.on('data', (data) => {
      this.received += data.length;
      if (this.silent || client.write(data)) return;
      server.pause();
      client.once('drain', () => server.resume());
    });
  }
}
