import type { Container } from 'inversify';
import type { Log } from '../../application/ports/system.ts';
import { type ProjectionName, projectionNames } from '../../application/projections/projection.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { measureThread, withinScrape } from '../../infrastructure/metrics/process-metrics.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import { WorkerChannel } from '../../infrastructure/worker-channel.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { measureBackups, runBackups } from './backups.ts';
import { openContainer } from './container.ts';
import { requireWholeFiles } from './file-checks.ts';
import { compareLogs, projectionsCheck } from './log-checks.ts';
import { lowerThreadPriority } from './process.ts';
import type { Heartbeat, ProjectorRequest } from './projector-worker.ts';
import { services as s } from './services.ts';
import { type Projectors, startProjectors } from './start-projectors.ts';

/** The projections of each role that runs projectors only. */
const workerRoles = {
  'device-projector': ['devices', 'device_history'],
  'telemetry-projector': ['telemetry', 'detection'],
} as const satisfies Record<string, readonly ProjectionName[]>;

type WorkerRole = keyof typeof workerRoles;

/** Not the replica, if there is one: only queries read it. */
const neededToProject = ['eventStore', 'telemetryLog', 'readModels', 'projections'];

export type Role = 'serve' | 'api' | WorkerRole;

export function startRole(role: Role, config: Config, log: Log): Promise<Served> {
  if (role === 'serve') return serve(config, log);
  return role === 'api' ? runApi(config, log) : runWorker(role, config, log);
}

/** The HTTP API alone, one of any number; the projectors run elsewhere. */
async function runApi(config: Config, log: Log): Promise<Served> {
  requireServers('api', config);
  const { container, startApi } = await openWithApi(config, log, 'api');
  try {
    const api = await startApi(container);
    return {
      url: api.url,
      mqttUrl: api.mqttUrl,
      notices: [],
      failed: new Promise<never>(() => {}),
      async close() {
        await api.close();
        await container.unbindAllAsync();
      },
    };
  } catch (error) {
    await container.unbindAllAsync();
    throw error;
  }
}

/** One of any number of workers of a role, with health and metrics on `WORKER_PORT`. */
async function runWorker(role: WorkerRole, config: Config, log: Log): Promise<Served> {
  requireServers(role, config);
  lowerThreadPriority();
  const { container, listen, measure, openCallers } = await openWithApi(config, log, role);
  const { workerServer } = await import('../http/server.ts');
  const stopped = new AbortController();
  try {
    const [ids, metrics, stores, control] = await Promise.all([
      container.getAsync(s.ids),
      container.getAsync(s.metrics),
      container.getAllAsync(s.check),
      container.getAsync(s.control),
    ]);
    const checks = [...stores, projectionsCheck(control, workerRoles[role])];
    const notices = await compareLogs(container, workerRoles[role]);
    await measure(container, workerRoles[role]);
    const callers = await openCallers(container, { isPublic: false });
    let projectors: Projectors | undefined;
    const server = workerServer({
      ids,
      log,
      metrics,
      checks: Object.fromEntries(checks.map(({ name, check }) => [name, check])),
      needed: neededToProject,
      stalled: () => projectors?.stalled() ?? [],
      version: packageJson.version,
      access: callers.access,
    });
    const url = await listen(server, config.WORKER_PORT, config.HOST);
    const keysFollowed = callers.follow(stopped.signal);
    projectors = await startProjectors(container, workerRoles[role], stopped.signal);
    const { running } = projectors;
    return {
      url,
      notices,
      failed: running.then(() => new Promise<never>(() => {})),
      async close() {
        stopped.abort();
        await running;
        await server.close(config.SHUTDOWN_MS);
        await keysFollowed;
        await container.unbindAllAsync();
      },
    };
  } catch (error) {
    stopped.abort();
    await container.unbindAllAsync();
    throw error;
  }
}

/** The object graph of a role, and the API's modules, loaded while threads start that the graph waits for. */
async function openWithApi(config: Config, log: Log, role: Role) {
  const opening = openRole(config, log, role);
  opening.catch(() => {});
  const api = await import('./api.ts');
  return { ...api, container: await opening };
}

/** The object graph of a role, once what it cannot do without is known to be there. */
async function openRole(config: Config, log: Log, role: Role): Promise<Container> {
  const container = await openContainer(config, log, { role });
  try {
    if (container.isBound(s.startCheck)) await (await container.getAsync(s.startCheck))();
    return container;
  } catch (error) {
    await container.unbindAllAsync();
    throw error;
  }
}

/** Roles that run apart meet in shared servers; an embedded file would be one process's own. */
function requireServers(role: string, config: Config): void {
  const missing = (['EVENTSTORE_URL', 'KAFKA_BROKERS', 'MYSQL_URL'] as const).filter(
    (name) => config[name] === undefined,
  );
  if (missing.length > 0)
    throw new StartupError(
      `${role} shares its stores with other processes: set ${missing.join(', ')}, or run \`fieldlog serve\``,
    );
}

export type Served = {
  readonly url: string;
  /** Of the MQTT endpoint, where there is one. */
  readonly mqttUrl?: string | undefined;
  /** A line for each projection that does not continue until somebody acts. */
  readonly notices: readonly string[];
  /** Rejects when a part of the process has died and the process should end. */
  readonly failed: Promise<never>;
  /** Drains requests, stops the projectors after the batch in progress and closes the stores. */
  close(): Promise<void>;
};

/** Every role in one process: the API here, the projectors in a thread of their own. */
export async function serve(config: Config, log: Log): Promise<Served> {
  requireWholeFiles(config);
  // It loads its modules while this one does, and begins once what it works on is known to be there.
  const thread = projectorThread(config);
  const opening = openWithApi(config, log, 'serve');
  const { container, startApi, neededToAccept } = await opening.catch(stopThread);
  const notices = await compareLogs(container, projectionNames).catch(async (error) => {
    await container.unbindAllAsync();
    return stopThread(error);
  });
  thread.begin();
  const stopped = new AbortController();
  try {
    measureThread(await container.getAsync(s.metrics), async () => (await thread.metrics()) !== undefined);
    const moreMetrics = [async () => (await thread.metrics()) ?? metricsMissing];
    const api = await startApi(container, {
      moreMetrics,
      stalled: thread.stalled,
      needed: [...neededToAccept, 'projections'],
    });
    measureBackups(await container.getAsync(s.metrics), config);
    const backingUp = runBackups(config, log, stopped.signal);
    return {
      url: api.url,
      mqttUrl: api.mqttUrl,
      notices,
      failed: thread.failed,
      async close() {
        await api.close();
        stopped.abort();
        await backingUp;
        await thread.stop();
        await container.unbindAllAsync();
      },
    };
  } catch (error) {
    await thread.stop();
    await container.unbindAllAsync();
    throw error;
  }

  async function stopThread(error: unknown): Promise<never> {
    await thread.stop();
    throw error;
  }
}

const metricsMissing = '# The projector thread did not answer in time: its metrics are missing.\n';

type ProjectorThread = {
  /** To be called once. */
  begin(): void;
  readonly failed: Promise<never>;
  /** `undefined` when it does not reply in time. Concurrent calls share one request. */
  metrics(): Promise<string | undefined>;
  /** The projections that are stalled; the thread itself is when it sent no heartbeat for `PROJECTOR_STALL_MS`. */
  stalled(): readonly string[];
  stop(): Promise<void>;
};

function projectorThread(config: Config): ProjectorThread {
  let requested: Promise<string | undefined> | undefined;
  let isStopping = false;
  let heartbeatAt = Date.now();
  let stalled: readonly string[] = [];
  const channel = new WorkerChannel<ProjectorRequest, string, Heartbeat>(
    new URL('./projector-worker.ts', import.meta.url),
    config,
    {
      errors: [StartupError],
      lost: (cause, exitCode) =>
        cause instanceof Error
          ? cause
          : new Error(`The projector thread ended by itself, with code ${exitCode}`),
      onNotice(heartbeat) {
        heartbeatAt = Date.now();
        stalled = heartbeat.stalled;
      },
    },
  );
  const failed = new Promise<never>((_, reject) => {
    void channel.exited.then((error) => {
      if (!isStopping) reject(error);
    });
  });
  // The caller of serve decides what follows from it; until then it is no unhandled rejection.
  failed.catch(() => {});

  return {
    begin() {
      heartbeatAt = Date.now();
      channel.send('begin');
    },
    failed,
    metrics() {
      requested ??= withinScrape(channel.request('metrics')).finally(() => {
        requested = undefined;
      });
      return requested;
    },
    stalled() {
      const silent = Date.now() - heartbeatAt;
      if (isStopping || silent <= config.PROJECTOR_STALL_MS) return stalled;
      return [`nothing was heard of the projector thread for ${silent} ms`];
    },
    async stop() {
      isStopping = true;
      await channel.close();
    },
  };
}
