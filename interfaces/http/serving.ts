import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Express } from 'express';
import { expressServer } from './express-server.ts';
import type { Shutdown } from './shutdown.ts';

export type HttpServer = {
  readonly app: Express;
  /** Resolves with the address once connections are accepted; port 0 is any that is free. */
  listen(port: number, host: string): Promise<AddressInfo>;
  /**
   * Not ready from now on; after `lead` milliseconds no connection is accepted any more, and requests under way may
   * go on for `drain` milliseconds, after which what is left is cut off.
   */
  close(drain: number, lead?: number): Promise<void>;
};

/** The application on a server of its own, which stops as `stopping` says. */
export function serving(app: Express, stopping: Shutdown): HttpServer {
  const server = expressServer(app);
  stopping.watch(server);
  // Longer than load balancers and devices keep an idle connection, so that it is they who close it.
  server.keepAliveTimeout = 75_000;
  return {
    app,

    async listen(port, host) {
      server.listen(port, host);
      await once(server, 'listening');
      return server.address() as AddressInfo;
    },

    close: (drain, lead = 0) => stopping.close(server, drain, lead),
  };
}
