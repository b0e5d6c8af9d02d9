import { workerData } from 'node:worker_threads';
import type { Point } from '../../application/ports/queries.ts';
import type { RecordedQuery } from '../../application/telemetry/as-recorded.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { WorkerEndpoint } from '../../infrastructure/worker-channel.ts';
import { openContainer } from './container.ts';
import { openLog } from './process.ts';
import { services as s } from './services.ts';

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

async function* pointsOf(query: RecordedQuery, signal: AbortSignal): AsyncGenerator<readonly Point[], void> {
  const container = await openContainer(config, openLog(config.LOG_LEVEL, 'query'));
  try {
    const asRecorded = await container.getAsync(s.asRecorded);
    for await (const points of asRecorded(query, signal)) {
      signal.throwIfAborted();
      yield points;
    }
  } finally {
    await container.unbindAllAsync();
  }
}
