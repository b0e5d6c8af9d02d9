import { workerData } from 'node:worker_threads';
import type { AuditQuery } from '../../application/operations/audit.ts';
import type { BuildTask, Operations, WorkOptions } from '../../application/operations/operations.ts';
import type { Claimed } from '../../application/rebuild/claim.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { WorkerEndpoint } from '../../infrastructure/worker-channel.ts';
import { openApplication } from './application.ts';
import { lowerThreadPriority, openLog } from './process.ts';

export type OperationTask =
  | BuildTask
  | { readonly do: 'audit'; readonly query: AuditQuery }
  | { readonly do: 'digest'; readonly projection: string; readonly generation?: number | undefined };

/** Sent when a build has claimed its generation, before it begins. */
export type ClaimNotice = { readonly claimed: Claimed };

const thread = new WorkerEndpoint<OperationTask, unknown, ClaimNotice>('the server was stopped');
const config = workerData as Config;
const log = openLog(config.LOG_LEVEL, 'replay');
lowerThreadPriority();
thread.serve(run);
await thread.closed;
thread.end();

async function run(task: OperationTask): Promise<unknown> {
  const projection = 'projection' in task ? task.projection : 'telemetry';
  const application = await openApplication(config, log, { migrate: false });
  try {
    const operations = await application.operations(`${task.do} of ${projection} by a server`);
    const result = await perform(operations, task);
    if (task.do !== 'audit' && task.do !== 'digest') log.info({ task, done: result }, 'build ended');
    return result;
  } catch (err) {
    log.warn({ task, err }, 'build or audit failed');
    throw err;
  } finally {
    await application.close();
  }
}

function perform(operations: Operations, task: OperationTask): Promise<unknown> {
  if (task.do === 'audit') return operations.audit(task.query, thread.closing);
  if (task.do === 'digest') return operations.digest(task.projection, task.generation);
  const { projection, deviceId, throttle, keepOlder = false } = task;
  const options: WorkOptions = {
    throttle,
    signal: thread.closing,
    onClaimed: (claimed) => thread.notify({ claimed }),
  };
  if (task.do === 'switch') return operations.switchTo('ready', projection, options);
  if (task.do === 'rollback') return operations.switchTo('retired', projection, options);
  return deviceId === undefined
    ? operations.rebuild(projection, { ...options, keepOlder })
    : operations.rebuildDevice(projection, deviceId, { ...options, keepOlder });
}
