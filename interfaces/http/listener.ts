import { once } from 'node:events';
import { unwatchFile, watchFile } from 'node:fs';
import type * as http from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { Express, Response } from 'express';
import type { Log } from '../../application/ports/system.ts';
import { fileNamedBy } from '../../infrastructure/config/config.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import { Pipelining } from './pipelining.ts';
import { contextOf } from './request-context.ts';

// An import of them loads Node's fetch as well: 40 ms of a start.
const { createServer, IncomingMessage, ServerResponse } = process.getBuiltinModule('node:http');
const { createServer: createTlsServer } = process.getBuiltinModule('node:https');

export type HttpServer = {
  readonly app: Express;
  readonly scheme: 'http' | 'https';
  /** Resolves with the address once connections are accepted; port 0 is any that is free. */
  listen(port: number, host: string): Promise<AddressInfo>;
  /**
   * Not ready from now on; after `lead` milliseconds no connection is accepted any more, and running requests get
   * `drain` milliseconds, after which the rest are aborted. Connections on which nothing was asked are not waited for.
   */
  close(drain: number, lead?: number): Promise<void>;
  /** New connections get this certificate. Throws for a server without one. */
  renew(certificate: Certificate): void;
};

/** The application on a server of its own, which stops as `stopping` says. */
export function serving(app: Express, stopping: Shutdown, log: Log, certificate?: Certificate): HttpServer {
  const pipelining = new Pipelining(app, log);
  const server = expressServer(app, certificate, (req, res) => pipelining.handle(req, res));
  stopping.watch(server);
  // Longer than load balancers and devices keep an idle connection, so that they close it first.
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

/**
 * A server whose requests and responses are created with Express's prototypes. Express sets them on every request it
 * handles, and changing the prototype of a live object is most of what a small request costs it; setting the one
 * already there costs nothing. Express itself is as it was.
 */
export function expressServer(
  app: Express,
  certificate?: Certificate,
  answer: RequestListener = app,
): Server | TlsServer {
  const options = {
    IncomingMessage: withPrototype(IncomingMessage, app.request),
    ServerResponse: withPrototype(ServerResponse, app.response),
  };
  return certificate
    ? createTlsServer({ ...options, ...certificate }, answer)
    : createServer(options, answer);
}

function withPrototype<Base extends typeof IncomingMessage | typeof ServerResponse>(
  base: Base,
  prototype: object,
): Base {
  function Born(...args: unknown[]): object {
    return Reflect.construct(base, args, Born);
  }
  Born.prototype = prototype;
  return Born as unknown as Base;
}

type Shutdown = {
  /** Whether the server is about to stop, and so not ready. */
  readonly begun: () => boolean;
  /** Tracks running requests. */
  watch(server: Server): void;
  /**
   * No connection is kept alive from now on. After `lead` milliseconds, which load balancers need to notice, none is
   * accepted. Running requests get `drain` milliseconds more; the rest are aborted and logged.
   */
  close(server: Server, drain: number, lead: number): Promise<void>;
};

/** How long a client may take nothing of a response that is written. */
const unreadMilliseconds = 30_000;

/** How often that is looked at within that time: it is noticed two looks late at most. */
const unreadLooks = 10;

/** How long the first request of a connection may be on its way when the server stops. */
const unusedMilliseconds = 500;

export function shutdown(log: Log, unreadMs = unreadMilliseconds): Shutdown {
  let begun = false;
  let refusing = false;
  const underWay = new Map<http.ServerResponse, Unsent | undefined>();
  /** Connections on which no request has begun, by their client's address. */
  const unused = new Map<string, Socket>();
  return { begun: () => begun, watch, close };

  function watch(server: Server): void {
    // Before the application, which may have answered when it returns.
    const unread = setInterval(cutUnread, unreadMs / unreadLooks);
    unread.unref();
    server.once('close', () => clearInterval(unread));
    server.on('connection', (socket: Socket) => {
      const client = clientOf(socket);
      unused.set(client, socket);
      socket.once('close', () => {
        if (unused.get(client) === socket) unused.delete(client);
      });
    });
    server.prependListener('request', (req, res: http.ServerResponse) => {
      unused.delete(clientOf(req.socket));
      underWay.set(res, undefined);
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
    for (const res of underWay.keys()) giveUpConnection(res);
    if (lead > 0) await new Promise((resolve) => setTimeout(resolve, lead));
    refusing = true;
    const closed = once(server, 'close');
    server.close();
    const grace = setTimeout(() => {
      // Node counts them as in flight, and waits.
      for (const socket of unused.values()) socket.destroy();
    }, unusedMilliseconds);
    const deadline = setTimeout(() => {
      for (const res of underWay.keys()) logCut(res, 'SHUTDOWN_MS is over');
      server.closeAllConnections();
    }, drain);
    await closed;
    clearTimeout(grace);
    clearTimeout(deadline);
  }

  /** What is written and not read is held for as long as its client likes, and what the response is made of with it. */
  function cutUnread(): void {
    const now = performance.now();
    for (const [res, before] of underWay) {
      const { socket } = res;
      const unsent = socket?.writableLength ?? 0;
      const written = socket?.bytesWritten ?? 0;
      if (unsent === 0) underWay.set(res, undefined);
      else if (unsent !== before?.unsent || written !== before.written)
        underWay.set(res, { unsent, written, since: now });
      else if (now - before.since >= unreadMs) {
        underWay.delete(res);
        logCut(res, 'its client reads nothing');
        socket?.destroy();
      }
    }
  }

  function logCut(res: http.ServerResponse, reason: string): void {
    // One that waits behind others of its connection has not begun.
    if (!(res as Partial<Response>).locals) return;
    const { caller, route, startedAt } = contextOf(res as Response);
    const seconds = (performance.now() - startedAt) / 1000;
    const { correlationId } = caller;
    log.warn({ correlationId, method: res.req.method, route, seconds }, `request cut off: ${reason}`);
  }
}

/** Bytes that the client has not taken, all that were written so far, and since when both have been the same. */
type Unsent = { readonly unsent: number; readonly written: number; readonly since: number };

/** The same for a connection and for what encrypts it. */
const clientOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

function giveUpConnection(res: http.ServerResponse): void {
  if (!res.headersSent) res.setHeader('Connection', 'close');
}

/** A chain of certificates and the private key of its first, both PEM. */
export type Certificate = { readonly cert: string; readonly key: string };

/** The certificate files, which an external tool renews in place. */
export type CertificateFiles = {
  /** Throws a `StartupError` that says what is wrong with which file. */
  read(): Certificate;
  /** Calls `renewed` with the files' contents after each change, until the returned function is called. */
  follow(renewed: (certificate: Certificate) => void): () => void;
};

const checkEvery = 5000;

/**
 * The files are looked at rather than watched: where a secret is mounted they are links, which are swapped without
 * any event for the file itself. While a pair does not match, as between two writes, the previous one stays in use.
 */
export function certificateFiles(certFile: string, keyFile: string, log: Log): CertificateFiles {
  return { read, follow };

  function read(): Certificate {
    const certificate = {
      cert: fileNamedBy('TLS_CERT_FILE', certFile),
      key: fileNamedBy('TLS_KEY_FILE', keyFile),
    };
    try {
      createSecureContext(certificate);
    } catch (error) {
      throw new StartupError(
        `TLS_CERT_FILE and TLS_KEY_FILE must be a certificate in PEM and its key: ${(error as Error).message}`,
      );
    }
    return certificate;
  }

  function follow(renewed: (certificate: Certificate) => void): () => void {
    const look = (): void => {
      try {
        renewed(read());
        log.info({ certFile }, 'The certificate was renewed');
      } catch (err) {
        log.error({ err, certFile }, 'The certificate cannot be renewed; the previous one stays in use');
      }
    };
    const files = [certFile, keyFile];
    for (const file of files) watchFile(file, { interval: checkEvery, persistent: false }, look);
    return () => {
      for (const file of files) unwatchFile(file, look);
    };
  }
}
