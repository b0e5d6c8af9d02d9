import { createServer, IncomingMessage, type Server, ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Express } from 'express';
import type { Certificate } from './certificate-files.ts';

/**
 * A server whose requests and responses are born with Express's prototypes. Express sets them on every request it
 * handles, and changing the prototype of a live object is most of what a small request costs it; setting the one
 * already there costs nothing. Express itself is as it was.
 */
export function expressServer(app: Express, certificate?: Certificate): Server | TlsServer {
  const options = {
    IncomingMessage: bornWith(IncomingMessage, app.request),
    ServerResponse: bornWith(ServerResponse, app.response),
  };
  return certificate ? createTlsServer({ ...options, ...certificate }, app) : createServer(options, app);
}

function bornWith<Base extends typeof IncomingMessage | typeof ServerResponse>(
  base: Base,
  prototype: object,
): Base {
  function Born(...args: unknown[]): object {
    return Reflect.construct(base, args, Born);
  }
  Born.prototype = prototype;
  return Born as unknown as Base;
}
