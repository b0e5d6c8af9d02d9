import { workerData } from 'node:worker_threads';
import { projectionNames } from '../../application/projections/projection.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { WorkerEndpoint } from '../../infrastructure/worker-channel.ts';
import { openContainer } from './container.ts';
import { lowerThreadPriority, openLog } from './process.ts';
import { startProjectors } from './projectors.ts';
import { services as s } from './services.ts';

/** Sent at intervals: a thread that does not run sends none. */
export type Heartbeat = { readonly stalled: readonly string[] };

const thread = new WorkerEndpoint<'metrics', string, Heartbeat>();
const config = workerData as Config;
lowerThreadPriority();
const log = openLog(config.LOG_LEVEL, 'projector');
const container = await openContainer(config, log, { traced: 'serve', migrate: false });
const metrics = container.get(s.metrics);
thread.serve(() => metrics.metrics());

const projectors = await startProjectors(container, projectionNames, thread.closing);
const heartbeat = setInterval(
  () => thread.notify({ stalled: projectors.stalled() }),
  config.PROJECTOR_STALL_MS / 12,
);
await projectors.running;
clearInterval(heartbeat);
await container.unbindAllAsync();
thread.end();
