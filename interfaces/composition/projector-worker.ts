import { workerData } from 'node:worker_threads';
import type { Registry } from 'prom-client';
import { projectionNames } from '../../application/projections/projection.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { WorkerEndpoint } from '../../infrastructure/worker-channel.ts';
import { loadAdapters, openContainer } from './container.ts';
import { lowerThreadPriority, openLog } from './process.ts';
import { services as s } from './services.ts';
import { startProjectors } from './start-projectors.ts';

/** `begin` comes first: until then the thread has loaded its modules, and opened nothing. */
export type ProjectorRequest = 'begin' | 'metrics';

/** Sent at intervals: a thread that does not run sends none. */
export type Heartbeat = { readonly stalled: readonly string[] };

const thread = new WorkerEndpoint<ProjectorRequest, string, Heartbeat>();
const config = workerData as Config;
lowerThreadPriority();
const begun = Promise.withResolvers<void>();
const opened = Promise.withResolvers<Registry>();
thread.serve(async (request) => {
  if (request === 'metrics') return (await opened.promise).metrics();
  begun.resolve();
  return '';
});
thread.closing.addEventListener('abort', () => begun.resolve());
await loadAdapters(config);
await begun.promise;
if (!thread.closing.aborted) await project();
thread.end();

async function project(): Promise<void> {
  const log = openLog(config.LOG_LEVEL, 'projector');
  const container = await openContainer(config, log, { role: 'serve', migrate: false });
  opened.resolve(container.get(s.metrics));

  const projectors = await startProjectors(container, projectionNames, thread.closing);
  const heartbeat = setInterval(
    () => thread.notify({ stalled: projectors.stalled() }),
    config.PROJECTOR_STALL_MS / 12,
  );
  await projectors.running;
  clearInterval(heartbeat);
  await container.unbindAllAsync();
}
