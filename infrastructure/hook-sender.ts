import { createHmac } from 'node:crypto';
import { type LookupAddress, type LookupOptions, lookup } from 'node:dns';
import type { OutgoingHttpHeaders } from 'node:http';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { HookAnswer, HookRequest, HookSender } from '../application/ports/hooks.ts';

/** Resolves a name to all its addresses, as `dns.lookup` does. */
type Resolve = (
  name: string,
  options: LookupOptions & { readonly all: true },
  done: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

const timeoutMilliseconds = 10_000;
/** Of an answer, which nobody reads. */
const answerBytes = 4096;

class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
}

/**
 * Posts to public addresses and to those that `allowed` names: hosts, addresses and CIDR ranges. An address is checked
 * when it is connected to, so that a name which is resolved anew cannot lead elsewhere; redirects are not followed.
 */
export function hookSender(allowed: readonly string[], resolve: Resolve = lookup): HookSender {
  const hosts = new Set(allowed.map((one) => one.toLowerCase()));
  const ranges = allowed.map(rangeOf).filter((range) => range !== undefined);

  const isAllowed = (address: string): boolean => {
    const parsed = ipaddr.process(address);
    if (isPublic(parsed)) return true;
    return ranges.some(([base, bits]) => parsed.kind() === base.kind() && parsed.match(base, bits));
  };
  const refusal = (host: string, address: string): string => {
    const which = host === address ? host : `${host} (${address})`;
    return `${which} is not a public address: name it in HOOKS_ALLOW to permit it`;
  };

  /** Refused when one of the addresses is, whichever would be used. */
  const checkedLookup: LookupFunction = (name, options, done) =>
    resolve(name, { ...options, all: true }, (error, addresses) => {
      if (error) return done(error, [], 0);
      const wrong = hosts.has(name.toLowerCase())
        ? undefined
        : addresses.find(({ address }) => !isAllowed(address));
      if (wrong) return done(new AddressRefused(refusal(name, wrong.address)), [], 0);
      const [first] = addresses;
      if (options.all) return done(null, addresses);
      if (!first) return done(new Error(`${name} has no address`), [], 0);
      done(null, first.address, first.family);
    });

  function faultOf(url: string): string | undefined {
    const host = hostOf(url);
    if (hosts.has(host)) return undefined;
    if (/(^|\.)localhost\.?$/.test(host)) return refusal(host, host);
    // An address is connected to without being looked up.
    return ipaddr.isValid(host) && !isAllowed(host) ? refusal(host, host) : undefined;
  }

  return {
    faultOf,
    async post(request, signal) {
      const reason = faultOf(request.url);
      if (reason !== undefined) return { is: 'refused', reason };
      try {
        return await exchange(request, AbortSignal.any([signal, AbortSignal.timeout(timeoutMilliseconds)]));
      } catch (error) {
        return failureOf(error);
      }
    },
  };

  function exchange(hook: HookRequest, signal: AbortSignal): Promise<HookAnswer> {
    const { url, body } = hook;
    const { request } = clientOf(url);
    return new Promise((resolved, rejected) => {
      const sent = request(url, {
        method: 'POST',
        headers: headersOf(hook),
        // A connection of its own, whose address is checked.
        agent: false,
        lookup: checkedLookup,
        signal,
      });
      sent.on('error', rejected);
      sent.on('response', (response) => {
        const { statusCode: status = 0, headers: answered } = response;
        let bytes = 0;
        const finish = () => {
          resolved({ is: 'answered', status, retryAfter: answered['retry-after'] });
          sent.destroy();
        };
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > answerBytes) finish();
        });
        response.on('end', finish);
        response.on('error', finish);
      });
      sent.end(body);
    });
  }
}

/** An import of Node's clients loads its fetch as well: 40 ms and 14 MiB of each thread that knows what hooks are. */
const clientOf = (url: string) =>
  url.startsWith('https:') ? process.getBuiltinModule('node:https') : process.getBuiltinModule('node:http');

/** Signed as Standard Webhooks say. */
function headersOf({ secret, id, timestamp, contentType, body }: HookRequest): OutgoingHttpHeaders {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'User-Agent': 'Fieldlog',
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': `v1,${signature}`,
  };
}

function failureOf(error: unknown): HookAnswer {
  if (error instanceof AddressRefused) return { is: 'refused', reason: error.message };
  const { name, code, message } = error as NodeJS.ErrnoException;
  const isLate = name === 'AbortError' || name === 'TimeoutError';
  if (isLate) return { is: 'unreachable', reason: `no answer within ${timeoutMilliseconds / 1000} s` };
  return { is: 'unreachable', reason: `the receiver cannot be reached: ${code ?? message}` };
}

const hostOf = (url: string): string => new URL(url).hostname.replace(/^\[|\]$/g, '').toLowerCase();

/** A host as URLs have it, an address or a CIDR range. */
export const isHostOrRange = (text: string): boolean =>
  rangeOf(text) !== undefined || /^[a-z0-9]([a-z0-9.-]{0,252})$/i.test(text);

/** What is assigned to networks that can be reached by all, and to nothing special among it. */
const isPublic = (address: ipaddr.IPv4 | ipaddr.IPv6): boolean =>
  address.range() === 'unicast' && (address instanceof ipaddr.IPv4 || address.match(globalUnicast));

/** Outside of it, some addresses stand for an IPv4 address: `::127.0.0.1` for example. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

function rangeOf(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] | undefined {
  if (ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text);
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) && !ipaddr.IPv6.isValid(text)) return undefined;
  const address = ipaddr.process(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}
