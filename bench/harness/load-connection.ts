import net from 'node:net';

/**
 * One HTTP/1.1 connection with one request in flight: as little of a client as there can be, because it shares the
 * machine with what it measures. It understands answers with `Content-Length` and those without a body.
 */
export class LoadConnection {
  readonly #socket: net.Socket;
  #answer = '';
  #resolve: ((status: number) => void) | undefined;
  #reject: ((error: Error) => void) | undefined;

  constructor(url: URL) {
    this.#socket = net.connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => this.#take(text));
    this.#socket.on('error', (error) => this.#reject?.(error));
    this.#socket.on('close', () => this.#reject?.(new Error('The server closed the connection')));
  }

  /** Resolves with the status once the whole answer is there. */
  send(request: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#socket.write(request, 'latin1');
    });
  }

  close(): void {
    this.#resolve = undefined;
    this.#reject = undefined;
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#answer += text;
    const headEnd = this.#answer.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const length = /\r\ncontent-length: *(\d+)/i.exec(this.#answer.slice(0, headEnd))?.[1] ?? '0';
    if (this.#answer.length < headEnd + 4 + Number(length)) return;
    const status = Number(this.#answer.slice(9, 12));
    this.#answer = '';
    this.#resolve?.(status);
  }
}
