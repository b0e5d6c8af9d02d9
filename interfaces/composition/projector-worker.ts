import { parentPort, workerData } from 'node:worker_threads';
import { projectionNames } from '../../application/projections/projection.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { pinoLog } from '../../infrastructure/pino-log.ts';
import { openContainer } from './container.ts';
import { lowerThreadPriority } from './process.ts';
import { startProjectors } from './projectors.ts';
import { services as s } from './services.ts';

/** What the thread is asked, and what it answers to a question for its metrics. */
export type Request = { readonly ask: 'stop' } | { readonly ask: 'metrics'; readonly id: number };
export type Answer = { readonly id: number; readonly metrics: string };
/** Said again and again, for a thread that does not run cannot answer. */
export type Sign = { readonly stalled: readonly string[] };

if (!parentPort) throw new Error('The projector thread is started by serve, not by hand');
const port = parentPort;
const config = workerData as Config;
const log = pinoLog(config.LOG_LEVEL, 'projector');
lowerThreadPriority();
const container = await openContainer(config, log, 'serve');
const metrics = container.get(s.metrics);
const stopped = new AbortController();

port.on('message', (request: Request) => {
  if (request.ask === 'stop') stopped.abort();
  else
    void metrics
      .metrics()
      .then((text) => port.postMessage({ id: request.id, metrics: text } satisfies Answer));
});

const projectors = await startProjectors(container, projectionNames, stopped.signal);
const signs = setInterval(
  () => port.postMessage({ stalled: projectors.stalled() } satisfies Sign),
  config.PROJECTOR_STALL_MS / 12,
);
await projectors.running;
clearInterval(signs);
await container.unbindAllAsync();
port.close();
