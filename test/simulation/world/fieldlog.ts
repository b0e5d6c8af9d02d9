import { Container } from 'inversify';
import type { Operations } from '../../../application/operations/operations.ts';
import type { Log } from '../../../application/ports/system.ts';
import { type ProjectionName, projectionNames } from '../../../application/projections/projection.ts';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { uuidIds } from '../../../infrastructure/identity.ts';
import { operationsOf } from '../../../interfaces/composition/application.ts';
import { applicationModule } from '../../../interfaces/composition/container.ts';
import { metering } from '../../../interfaces/composition/metering.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { startProjectors } from '../../../interfaces/composition/start-projectors.ts';
import type { WorldOptions } from '../options.ts';
import type { Random } from '../random.ts';
import type { DatabaseServer } from './database.ts';
import type { EventStoreServer } from './event-store.ts';
import { type Network, SimulatedProcess } from './process.ts';
import type { TelemetryLogServer } from './telemetry-log.ts';

/** What stands still when every process is gone. */
export type Servers = {
  readonly eventStore: EventStoreServer;
  readonly telemetryLog: TelemetryLogServer;
  readonly database: DatabaseServer;
};

/** The application as the entry points compose it, over the models of its servers. */
export type RunningProcess = {
  readonly process: SimulatedProcess;
  readonly container: Container;
  readonly release: Release;
};

/** A release by the versions of its projections' code. */
export type Release = Readonly<Record<ProjectionName, number>>;

/** What a process is started with. */
export type Start = {
  readonly network: Network;
  readonly servers: Servers;
  readonly options: WorldOptions;
  readonly release: Release;
};

const configs = new Map<number | null, ReturnType<typeof configFrom>>();

/** The same for all processes of a world, and much of what a start costs. */
function configOf({ retentionDays }: WorldOptions): ReturnType<typeof configFrom> {
  const known = configs.get(retentionDays);
  const config =
    known ??
    configFrom({
      DATA_DIR: '/simulated',
      EVENTSTORE_URL: 'esdb://simulated:2113',
      KEEP_GENERATIONS: '1',
      CLOCK_TOLERANCE: '1h',
      BACKLOG_LIMIT: '0',
      DIRECTORY_SIZE: '100',
      ...(retentionDays !== null && { RETENTION: JSON.stringify([{ points: `${retentionDays}d` }]) }),
    });
  configs.set(retentionDays, config);
  return config;
}

function compose(process: SimulatedProcess, { network, servers, options, release }: Start): Container {
  const { eventStore, telemetryLog, database } = servers;
  const container = new Container({ defaultScope: 'Singleton' });
  container.load(applicationModule(configOf(options), logOf(process)), metering());
  const events = eventStore.client(process);
  const telemetry = telemetryLog.client(process);
  const sql = database.connect(process);
  container.bind(s.plainEventStore).toConstantValue(events.store);
  container.bind(s.eventEraser).toConstantValue(events.eraser);
  container.bind(s.deviceSource).toConstantValue(events.sourceOf('device-'));
  container.bind(s.ruleSource).toConstantValue(events.sourceOf('rule-'));
  container.bind(s.hookSource).toConstantValue(events.sourceOf('hook-'));
  container.bind(s.plainTelemetryLog).toConstantValue(telemetry.log);
  container.bind(s.telemetrySource).toConstantValue(telemetry.source);
  container.bind(s.database).toConstantValue(sql);
  container.bind(s.queryDatabase).toConstantValue(sql);
  container
    .bind(s.disk)
    .toConstantValue({ room: () => ({ folder: '/simulated', free: 1e12, reserve: 1e6 }) });
  container.rebind(s.clock).toConstantValue({ now: () => Date.now() + process.clockSkew });
  container.rebind(s.ids).toConstantValue({ ...uuidIds, uuidV7: () => uuidFrom(network.random) });
  container.bind(s.codeVersions).toConstantValue(release);
  return container;
}

/** In order of nothing: an order of ids is not promised to hold between processes. */
const uuidFrom = (random: Random): string =>
  `${random.hex(8)}-${random.hex(4)}-7${random.hex(3)}-8${random.hex(3)}-${random.hex(12)}`;

/** Lines that an operator would see, in the timeline. */
function logOf({ name, network }: SimulatedProcess): Log {
  const line = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    const { err, reason, projection, partition } = fields;
    const about = [projection, partition, reason, err instanceof Error ? err.message : undefined];
    const text = [message, ...about.filter((one) => one !== undefined)].join('; ');
    network.timeline.add(name, `${level} ${text}`);
  };
  return { debug: () => {}, info: line('info'), warn: line('warn'), error: line('error') };
}

/** A node of the API: it follows what others change of devices. */
export async function startApi(name: string, start: Start): Promise<RunningProcess> {
  const process = new SimulatedProcess(name, start.network);
  const container = compose(process, start);
  const directory = await container.getAsync(s.directory);
  const source = await container.getAsync(s.deviceSource);
  // The API ends when it cannot follow, and is started again.
  directory
    .follow(source, `api of ${name}`, process.stopping.signal)
    .catch((error) => process.crash(`ended by ${error.message}`));
  return { process, container, release: start.release };
}

/** A worker with every projector, the keeper of retention and what retries late registrations. */
export async function startWorker(name: string, start: Start): Promise<RunningProcess> {
  const process = new SimulatedProcess(name, start.network);
  const container = compose(process, start);
  const { running } = await startProjectors(container, projectionNames, process.stopping.signal);
  running.catch((error) => process.crash(`ended by ${error.message}`));
  return { process, container, release: start.release };
}

/** A command of the command line: a process that ends with its work. */
export type Command = Omit<RunningProcess, 'release'> & { operations(): Promise<Operations> };

export function openCommand(name: string, start: Start): Command {
  const process = new SimulatedProcess(name, start.network);
  const container = compose(process, start);
  return { process, container, operations: () => operationsOf(container, name) };
}
