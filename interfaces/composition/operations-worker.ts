import { parentPort, workerData } from 'node:worker_threads';
import type { AuditQuery } from '../../application/operations/audit.ts';
import type { BuildTask, Operations, WorkOptions } from '../../application/operations/operations.ts';
import type { Claimed } from '../../application/rebuild/rebuild.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { lowerThreadPriority, openLog } from './process.ts';
import { openOperations } from './sessions.ts';
import { type Failure, serializeFailure } from './worker-channel.ts';

export type Task =
  | BuildTask
  | { readonly do: 'audit'; readonly query: AuditQuery }
  | { readonly do: 'digest'; readonly projection: string; readonly generation?: number | undefined };

/** What the thread tells of its task. */
export type TaskReply =
  | { readonly claimed: Claimed }
  | { readonly done: unknown }
  | { readonly failed: Failure };

if (!parentPort) throw new Error('The replay thread is started by a server, not by hand');
const port = parentPort;
const { config, task } = workerData as { readonly config: Config; readonly task: Task };
const log = openLog(config.LOG_LEVEL, 'replay');
lowerThreadPriority();
const stopped = new AbortController();
port.once('message', () => stopped.abort(new Error('the server was stopped')));

const projection = 'projection' in task ? task.projection : 'telemetry';
const replay = await openOperations(config, log, `${task.do} of ${projection} by a server`);
try {
  const done = await perform(replay, task);
  if (task.do !== 'audit' && task.do !== 'digest') log.info({ task, done }, 'a build has ended');
  tell({ done });
} catch (error) {
  log.warn({ task, err: error }, 'a build or audit has ended');
  tell({ failed: serializeFailure(error) });
} finally {
  await replay.close();
  port.close();
}

function perform(on: Operations, wanted: Task): Promise<unknown> {
  if (wanted.do === 'audit') return on.audit(wanted.query, stopped.signal);
  if (wanted.do === 'digest') return on.digest(wanted.projection, wanted.generation);
  const { do: what, projection: name, deviceId, throttle, keepOlder = false } = wanted;
  const options: WorkOptions = {
    throttle,
    signal: stopped.signal,
    onClaimed: (claimed) => tell({ claimed }),
  };
  if (what === 'switch') return on.switchTo('ready', name, options);
  if (what === 'rollback') return on.switchTo('retired', name, options);
  return deviceId === undefined
    ? on.rebuild(name, { ...options, keepOlder })
    : on.rebuildDevice(name, deviceId, { ...options, keepOlder });
}

function tell(told: TaskReply): void {
  port.postMessage(told);
}
