import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type ReceivedHook = {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The id of the event. */
  readonly id: string;
};

/** Receives webhooks on the loopback interface; `answer` says what to answer to the n-th, 204 when absent. */
export async function hookReceiver(
  answer: (received: ReceivedHook, res: ServerResponse, count: number) => void = (_, res) =>
    void res.writeHead(204).end(),
) {
  const received: ReceivedHook[] = [];
  const server = createServer((req, res) => {
    let body = '';
    req.setEncoding('utf8');
    req.on('data', (chunk) => {
      body += chunk;
    });
    req.on('end', () => {
      const one = { headers: req.headers, body, id: String(req.headers['webhook-id']) };
      received.push(one);
      answer(one, res, received.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/alarms`,
    port,
    received,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
