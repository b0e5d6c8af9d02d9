import type { ReadableSubscription, StreamingRead } from '@eventstore/db-client';

/**
 * Reads a stream of the client's, and ends it on the server when `read` is done or `signal` aborts: the client leaves
 * the call open when its stream is left early.
 */
export async function reading<Event, T>(
  stream: StreamingRead<Event> | ReadableSubscription<Event>,
  signal: AbortSignal,
  read: (events: AsyncIterable<Event>) => Promise<T>,
): Promise<T> {
  const abort = () => stream.destroy(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await read(stream);
  } finally {
    signal.removeEventListener('abort', abort);
    stream.destroy();
    const ended = 'cancel' in stream ? stream.cancel() : stream.unsubscribe();
    ended.catch(neverBegun);
  }
}

/** The call could not be made, which the reader knows already. */
const neverBegun = () => undefined;
