import { existsSync, readFileSync } from 'node:fs';
import http2 from 'node:http2';
import { isIP } from 'node:net';
import tls from 'node:tls';

type Address = { readonly host: string; readonly port: number };

const withinMs = 1_000;

/**
 * Why no connection comes about, when that is a matter of TLS: the client's own errors do not distinguish a port that speaks
 * something else from a server that is away. Nothing when TLS is not to blame, or nobody answers at all.
 */
export async function tlsFault(url: string): Promise<string | undefined> {
  const address = firstAddress(url);
  if (!address) return undefined;
  const certificate = await certificateAt(address, authoritiesIn(url));
  if (/[?&]tls=false/i.test(url))
    return certificate && !(await speaksPlain(address))
      ? 'its port speaks TLS, but the URL says tls=false'
      : undefined;
  if (certificate)
    return certificate.isTrusted
      ? undefined
      : `its certificate is not trusted: ${certificate.fault} (tlsCAFile in the URL names the authority to trust)`;
  return (await speaksPlain(address))
    ? 'its port does not speak TLS, but the URL asks for it (tls=false turns it off)'
    : undefined;
}

function firstAddress(url: string): Address | undefined {
  const [, first] = /^[^:]+:\/\/(?:[^@/]*@)?([^,/?]+)/.exec(url) ?? [];
  if (!first) return undefined;
  const [host = '', port = '2113'] = first.split(':');
  return { host, port: Number(port) };
}

function authoritiesIn(url: string): string | undefined {
  const [, encoded] = /[?&]tlsCAFile=([^&]+)/i.exec(url) ?? [];
  const file = encoded && decodeURIComponent(encoded);
  return file && existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

type Certificate = { readonly isTrusted: boolean; readonly fault: string };

/** What is there at a port that speaks TLS. */
function certificateAt(
  { host, port }: Address,
  authorities: string | undefined,
): Promise<Certificate | undefined> {
  return new Promise((resolve) => {
    const socket = tls.connect({
      host,
      port,
      ...(isIP(host) === 0 && { servername: host }),
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      ...(authorities !== undefined && { ca: authorities }),
    });
    const done = (found?: Certificate) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(found);
    };
    const timer = setTimeout(done, withinMs);
    socket.once('secureConnect', () =>
      done({ isTrusted: socket.authorized, fault: String(socket.authorizationError) }),
    );
    socket.once('error', () => done());
    socket.once('close', () => done());
  });
}

/** Whether HTTP/2 is spoken at a port without TLS. */
function speaksPlain({ host, port }: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const session = http2.connect(`http://${host}:${port}`);
    const done = (speaks: boolean) => {
      clearTimeout(timer);
      session.destroy();
      resolve(speaks);
    };
    const timer = setTimeout(done, withinMs, false);
    session.once('remoteSettings', () => done(true));
    session.once('error', () => done(false));
    session.once('close', () => done(false));
  });
}
