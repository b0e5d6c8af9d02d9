import { workerData } from 'node:worker_threads';
import type { EventSource } from '../../application/ports/event-source.ts';
import type { EventStore } from '../../application/ports/event-store.ts';
import type { Point } from '../../application/ports/queries.ts';
import type { Log } from '../../application/ports/system.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { type RecordedQuery, telemetryAsRecorded } from '../../application/telemetry/as-recorded.ts';
import { CachedDeviceDirectory } from '../../infrastructure/cached-device-directory.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { uuidIds } from '../../infrastructure/identity.ts';
import { WorkerEndpoint } from '../../infrastructure/worker-channel.ts';
import { openEventFile, openTelemetryFile } from './embedded.ts';
import { openLog } from './process.ts';

export type AsRecordedTask = { readonly config: Config; readonly query: RecordedQuery };

/** Each request is for the next page of points. */
const thread = new WorkerEndpoint<'next', IteratorResult<readonly Point[], void>>(
  'The client no longer waits for the response',
);
const { config, query } = workerData as AsRecordedTask;
const pages = pointsOf(query, thread.closing);
thread.serve(() => pages.next());
await thread.closed;
await pages.return();
thread.end();

/** Needs the two logs and nothing else: no read models, so no migration check, and no container. */
async function* pointsOf(query: RecordedQuery, signal: AbortSignal): AsyncGenerator<readonly Point[], void> {
  const log = openLog(config.LOG_LEVEL, 'query');
  const opened = new AsyncDisposableStack();
  try {
    const eventStore = await openEventStore(opened);
    const source = await openTelemetrySource(log, opened);
    const directory = new CachedDeviceDirectory(eventStore, eventRegistry, config.DIRECTORY_SIZE);
    const asRecorded = telemetryAsRecorded(source, eventRegistry, uuidIds, directory);
    for await (const points of asRecorded(query, signal)) {
      signal.throwIfAborted();
      yield points;
    }
  } finally {
    await opened.disposeAsync();
  }
}

async function openEventStore(opened: AsyncDisposableStack): Promise<EventStore> {
  const { EVENTSTORE_URL } = config;
  if (EVENTSTORE_URL === undefined) return opened.adopt(openEventFile(config), (store) => store.close());
  const { openEventStoreDb } = await import('./distributed.ts');
  return opened.adopt(openEventStoreDb(EVENTSTORE_URL), ({ close }) => close()).store;
}

async function openTelemetrySource(
  log: Log,
  opened: AsyncDisposableStack,
): Promise<EventSource<TelemetryRecord>> {
  const { KAFKA_BROKERS } = config;
  if (KAFKA_BROKERS === undefined) return opened.adopt(openTelemetryFile(config), (source) => source.close());
  const { openKafkaSource } = await import('./distributed.ts');
  return opened.adopt(openKafkaSource(KAFKA_BROKERS, config, log), ({ close }) => close()).source;
}
