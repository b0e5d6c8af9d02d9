import { EventStoreDBClient, jsonEvent, NO_STREAM } from '@eventstore/db-client';
import { inFlight } from '../harness/in-flight.ts';
import { serveCalls } from '../harness/peer.ts';
import { deviceHistory } from '../harness/workload.ts';

export type BareEventStoreDb = typeof calls;
const calls = { append };
serveCalls(calls);

let client: EventStoreDBClient | undefined;

/** Appends registrations to streams of their own, so many at a time: events a second. */
async function append({
  url,
  events,
  atOnce,
  prefix,
}: {
  url: string;
  events: number;
  atOnce: number;
  prefix: string;
}): Promise<number> {
  client ??= unaryClient(url);
  const connected = client;
  const began = performance.now();
  await inFlight(events, atOnce, async (n) => {
    const history = deviceHistory(n, 1).map(({ type, data, metadata }) =>
      jsonEvent({ type, data, metadata }),
    );
    await connected.appendToStream(`${prefix}-${n}`, history, { expectedRevision: NO_STREAM });
  });
  return (events * 1000) / (performance.now() - began);
}

/** A call for each append, as the adapter makes them: it says why the client's batch append is not to be used. */
function unaryClient(url: string): EventStoreDBClient {
  return Object.assign(EventStoreDBClient.connectionString(url), { supports: async () => false });
}
