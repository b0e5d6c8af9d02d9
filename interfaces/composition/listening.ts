import { isIP } from 'node:net';
import type { Config } from '../../infrastructure/config/config.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import type { HttpServer } from '../http/serving.ts';

/** Starts to listen and resolves with the URL. Throws a `StartupError` when the address cannot be had. */
export async function listen(server: HttpServer, port: number, host: string): Promise<string> {
  try {
    const { port: taken } = await server.listen(port, host);
    return `${server.scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${taken}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE')
      throw new StartupError(`Port ${port} on ${host} is taken: stop what listens there or set another PORT`);
    throw new StartupError(`Cannot listen on ${host} port ${port}: ${(error as Error).message}`);
  }
}

/** Without API keys anybody who reaches the API may do anything, so only this machine may reach it. */
export function refuseOpenAddress({ HOST }: Config): void {
  if (HOST === 'localhost' || HOST === '::1' || (isIP(HOST) === 4 && HOST.startsWith('127.'))) return;
  throw new StartupError(
    `HOST is ${HOST}, but there is no API key: make one with \`fieldlog keys create\`, or set HOST to 127.0.0.1`,
  );
}
