import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { EventStoreDBClient, jsonEvent, type RecordedEvent } from '@eventstore/db-client';

/**
 * Opens EventStoreDB's own client in a suite, and disposes of it after each test. It appends one call each, as the
 * adapter does, or by batch append.
 */
export function bareClients(): (url: string, appends?: 'batch') => EventStoreDBClient {
  const clients: EventStoreDBClient[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) {
      await client.dispose();
      // biome-ignore lint/complexity/useLiteralKeys: protected, and the only way to the channel
      await client['getChannel']().then(
        (channel) => channel.close(),
        () => undefined,
      );
    }
  });
  return (url, appends) => {
    const client = EventStoreDBClient.connectionString(url);
    if (appends !== 'batch') Object.assign(client, { supports: async () => false });
    clients.push(client);
    return client;
  };
}

/** An event for the client, with an id of its own unless one is given. */
export const someEvent = (data: Record<string, unknown> = {}, id: string = randomUUID()) =>
  jsonEvent({ id, type: 'Something', data: data as never });

export type ClientFailure = {
  readonly error: Error;
  readonly type: unknown;
  readonly code: unknown;
  readonly message: string;
  readonly trailers: Readonly<Record<string, unknown>>;
};

/** What the client throws: its type, the gRPC code and the trailers. */
export async function failureOf(call: Promise<unknown>): Promise<ClientFailure> {
  const error = await call.then(
    () => assert.fail('the call succeeded'),
    (thrown) => thrown,
  );
  const { type, code, message, _raw } = error;
  return { error, type, code, message, trailers: _raw?.metadata?.getMap() ?? {} };
}

/** Everything that a read yields. */
export async function eventsOf(
  read: AsyncIterable<{ readonly event?: RecordedEvent }>,
): Promise<readonly RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for await (const { event } of read) if (event) events.push(event);
  return events;
}
