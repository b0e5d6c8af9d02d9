import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';

export type Shutdown = {
  /** Whether the server is about to stop, and so not ready. */
  readonly begun: () => boolean;
  /** Keeps account of the requests under way. */
  watch(server: Server): void;
  /**
   * From now on no connection is kept. After `lead` milliseconds, which load balancers need to notice, none is
   * accepted. Requests under way may go on for `drain` milliseconds more; what is left then is cut off.
   */
  close(server: Server, drain: number, lead: number): Promise<void>;
};

export function shutdown(): Shutdown {
  let begun = false;
  let refusing = false;
  const underWay = new Set<ServerResponse>();
  return { begun: () => begun, watch, close };

  function watch(server: Server): void {
    // Before the application, which may have answered when it returns.
    server.prependListener('request', (_req, res: ServerResponse) => {
      underWay.add(res);
      if (begun) giveUpConnection(res);
      res.on('close', () => {
        underWay.delete(res);
        // Not sooner: on what looks idle the next request may be on its way, and during the lead it is welcome.
        if (refusing) server.closeIdleConnections();
      });
    });
  }

  async function close(server: Server, drain: number, lead: number): Promise<void> {
    begun = true;
    for (const res of underWay) giveUpConnection(res);
    if (lead > 0) await new Promise((resolve) => setTimeout(resolve, lead));
    refusing = true;
    const closed = once(server, 'close');
    server.close();
    const deadline = setTimeout(() => server.closeAllConnections(), drain);
    await closed;
    clearTimeout(deadline);
  }
}

function giveUpConnection(res: ServerResponse): void {
  if (!res.headersSent) res.setHeader('Connection', 'close');
}
