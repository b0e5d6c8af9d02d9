import { parentPort, workerData } from 'node:worker_threads';
import type { Point } from '../../application/ports/queries.ts';
import type { RecordedQuery } from '../../application/telemetry/as-recorded.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { openContainer } from './container.ts';
import { openLog } from './process.ts';
import { services as s } from './services.ts';
import { type Failure, serializeFailure } from './worker-channel.ts';

/** The next chunk comes when it is asked for. */
export type PointsReply = { readonly points: readonly Point[] } | 'done' | { readonly failed: Failure };
export type Asked = 'more' | 'stop';

if (!parentPort) throw new Error('The thread of a query is started by a server, not by hand');
const port = parentPort;
const { config, query } = workerData as { readonly config: Config; readonly query: RecordedQuery };
const stopped = new AbortController();
let asked = Promise.withResolvers<void>();
port.on('message', (message: Asked) => {
  if (message === 'stop') stopped.abort(new Error('Nobody waits for the answer any more'));
  asked.resolve();
});

const container = await openContainer(config, openLog(config.LOG_LEVEL, 'query'));
try {
  const asRecorded = await container.getAsync(s.asRecorded);
  for await (const points of asRecorded(query, stopped.signal)) {
    stopped.signal.throwIfAborted();
    asked = Promise.withResolvers();
    tell({ points });
    await asked.promise;
  }
  tell('done');
} catch (error) {
  tell({ failed: serializeFailure(error) });
} finally {
  await container.unbindAllAsync();
  port.close();
}

function tell(told: PointsReply): void {
  port.postMessage(told);
}
