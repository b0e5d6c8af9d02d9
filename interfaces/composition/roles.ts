import type { Log } from '../../application/ports/system.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { workerServer } from '../http/worker-server.ts';
import { startApi } from './api.ts';
import { openCallers } from './callers.ts';
import { openContainer } from './container.ts';
import { giveWay } from './give-way.ts';
import { listen } from './listening.ts';
import { measure } from './measurements.ts';
import { type Projectors, startProjectors } from './projectors.ts';
import { type Served, serve } from './serve.ts';
import { services as s } from './services.ts';

/** The projectors that run apart, and what each of them projects. */
const workerRoles = {
  'device-projector': ['devices', 'device_history'],
  'telemetry-projector': ['telemetry'],
} as const satisfies Record<string, readonly ProjectionName[]>;

type WorkerRole = keyof typeof workerRoles;

/** Not the replica, if there is one: only queries read it. */
const neededToProject = ['eventStore', 'telemetryLog', 'readModels'];

/** Everything a process can be. */
export type Role = 'serve' | 'api' | WorkerRole;

export function startRole(role: Role, config: Config, log: Log): Promise<Served> {
  if (role === 'serve') return serve(config, log);
  return role === 'api' ? runApi(config, log) : runWorker(role, config, log);
}

/** The HTTP API alone, one of any number; the projectors run elsewhere. */
async function runApi(config: Config, log: Log): Promise<Served> {
  requireServers('api', config);
  const container = await openContainer(config, log, 'api');
  try {
    const api = await startApi(container);
    return {
      url: api.url,
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
  giveWay();
  const container = await openContainer(config, log, role);
  const stopped = new AbortController();
  try {
    const [ids, metrics, checks] = await Promise.all([
      container.getAsync(s.ids),
      container.getAsync(s.metrics),
      container.getAllAsync(s.check),
    ]);
    await measure(container);
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
