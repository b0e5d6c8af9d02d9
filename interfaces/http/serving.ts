import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Express } from 'express';
import type { Certificate } from './certificate-files.ts';
import { expressServer } from './express-server.ts';
import type { Shutdown } from './shutdown.ts';

export type HttpServer = {
  readonly app: Express;
  readonly scheme: 'http' | 'https';
  /** Resolves with the address once connections are accepted; port 0 is any that is free. */
  listen(port: number, host: string): Promise<AddressInfo>;
  /**
   * Not ready from now on; after `lead` milliseconds no connection is accepted any more, and requests under way may
   * go on for `drain` milliseconds, after which what is left is cut off.
   */
  close(drain: number, lead?: number): Promise<void>;
  /** Connections made from now on are shown this certificate. Throws for a server without one. */
  renew(certificate: Certificate): void;
};

/** The application on a server of its own, which stops as `stopping` says. */
export function serving(app: Express, stopping: Shutdown, certificate?: Certificate): HttpServer {
  const server = expressServer(app, certificate);
  stopping.watch(server);
  // Longer than load balancers and devices keep an idle connection, so that it is they who close it.
  server.keepAliveTimeout = 75_000;
  return {
    app,
    scheme: certificate ? 'https' : 'http',

    async listen(port, host) {
      server.listen(port, host);
      await once(server, 'listening');
      return server.address() as AddressInfo;
    },

    close: (drain, lead = 0) => stopping.close(server, drain, lead),

    renew(renewed) {
      if (!('setSecureContext' in server)) throw new Error('This server was started without a certificate');
      server.setSecureContext(renewed);
    },
  };
}
