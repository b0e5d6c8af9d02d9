import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../../application/ports/system.ts';

/** Requests of one connection that are answered at once; those pipelined behind them wait. */
const atOnce = 16;
/** Requests of one connection that may wait. Node reads on as long as no answer does, so that they are held in memory. */
const waitingAtMost = 1000;

type Waiting = { readonly req: IncomingMessage; readonly res: ServerResponse };

/**
 * Bounds what the requests of one connection hold that were sent without waiting for answers: so many are answered at
 * once, in their order, and a connection with too many behind them is cut off.
 */
export class Pipelining {
  readonly #answer: RequestListener;
  readonly #log: Log;
  readonly #connections = new WeakMap<Socket, Connection>();

  constructor(answer: RequestListener, log: Log) {
    this.#answer = answer;
    this.#log = log;
  }

  handle(req: IncomingMessage, res: ServerResponse): void {
    const { socket } = req;
    let connection = this.#connections.get(socket);
    if (!connection) {
      connection = { answered: 0, waiting: [] };
      this.#connections.set(socket, connection);
    }
    if (connection.answered < atOnce) this.#begin(connection, socket, { req, res });
    else if (connection.waiting.push({ req, res }) > waitingAtMost) this.#cut(connection, socket);
  }

  /** Node takes the socket from a request that it gives up. */
  #begin(connection: Connection, socket: Socket, { req, res }: Waiting): void {
    connection.answered += 1;
    res.once('close', () => {
      connection.answered -= 1;
      if (socket.destroyed) connection.waiting.length = 0;
      const next = connection.waiting.shift();
      if (next) this.#begin(connection, socket, next);
    });
    this.#answer(req, res);
  }

  #cut(connection: Connection, socket: Socket): void {
    connection.waiting.length = 0;
    if (socket.destroyed) return;
    this.#log.warn(
      { client: socket.remoteAddress, requests: waitingAtMost },
      'connection cut off: too many pipelined requests',
    );
    socket.destroy();
  }
}

type Connection = { answered: number; readonly waiting: Waiting[] };
