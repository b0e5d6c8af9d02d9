import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import type { ExpectedVersion, Refusal } from './model/events.ts';
import type { Endpoint } from './model/membership.ts';

/** What the server answers instead of an answer: status, text, and trailers by which the client tells them apart. */
const failure = (
  code: status,
  details: string,
  trailers: Readonly<Record<string, string>> = {},
): StatusObject => {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(trailers)) metadata.set(key, value);
  return { code, details, metadata };
};

export const accessDenied = (): StatusObject =>
  failure(status.PERMISSION_DENIED, 'Access Denied', { exception: 'access-denied' });

export const unauthenticated = (): StatusObject => failure(status.UNAUTHENTICATED, '');

export const notLeader = ({ address, port }: Endpoint): StatusObject =>
  failure(status.NOT_FOUND, 'Leader info available', {
    exception: 'not-leader',
    'leader-endpoint-host': address,
    'leader-endpoint-port': String(port),
  });

export const notReady = (): StatusObject => failure(status.UNAVAILABLE, 'Server Is Not Ready');

export const streamDeleted = (stream: string): StatusObject =>
  failure(status.FAILED_PRECONDITION, `Event stream '${stream}' is deleted.`, {
    exception: 'stream-deleted',
    'stream-name': stream,
  });

export const tooLarge = (limit: number): StatusObject =>
  failure(status.INVALID_ARGUMENT, `Maximum Append Size of ${limit} Exceeded.`, {
    exception: 'maximum-append-size-exceeded',
    'maximum-append-size': String(limit),
  });

/** A read of `$all` that begins where no record does, or, backwards, beyond the end. */
export const unreadablePosition = (): StatusObject =>
  failure(status.UNKNOWN, 'Unexpected ReadAllResult: Error');

/** A subscription to `$all` that begins where no record does. */
export const handlerFailed = (): StatusObject => failure(status.UNKNOWN, 'Exception was thrown by handler.');

export const notOffered = (): StatusObject => failure(status.UNIMPLEMENTED, 'Not offered by the stand-in');

/** How a delete is refused; an append answers a conflict with a message of its own. */
export function refusedDelete(stream: string, expected: ExpectedVersion, refusal: Refusal): StatusObject {
  if (refusal.refused === 'stream-deleted') return streamDeleted(refusal.stream);
  if (refusal.refused === 'too-large') return tooLarge(refusal.limit);
  const numbers = { 'no-stream': -1n, any: -2n, 'stream-exists': -4n };
  return failure(status.FAILED_PRECONDITION, `Delete failed due to WrongExpectedVersion. Stream: ${stream}`, {
    exception: 'wrong-expected-version',
    'stream-name': stream,
    'expected-version': String(typeof expected === 'bigint' ? expected : numbers[expected]),
    ...(refusal.current !== undefined && { 'actual-version': String(refusal.current) }),
  });
}
