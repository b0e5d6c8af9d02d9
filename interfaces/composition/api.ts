import { isIP } from 'node:net';
import type { Container } from 'inversify';
import type { DeviceCommands } from '../../application/devices/device-commands.ts';
import { type LiveServices, LiveStreams } from '../../application/live/live-streams.ts';
import { isStreamLost } from '../../application/ports/event-store.ts';
import type { Log } from '../../application/ports/system.ts';
import { type ProjectionName, projectionNames } from '../../application/projections/projection.ts';
import { Rejection } from '../../domain/decider.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { measureDetection } from '../../infrastructure/metrics/detection-metrics.ts';
import { measureHooks } from '../../infrastructure/metrics/hook-metrics.ts';
import { liveMetrics, measureStreams } from '../../infrastructure/metrics/live-metrics.ts';
import {
  measureConnections,
  measureDependencies,
  measureDisk,
  measureProcess,
  measureWriteAheadLog,
} from '../../infrastructure/metrics/process-metrics.ts';
import { measureRebuilds } from '../../infrastructure/metrics/projector-metrics.ts';
import {
  measureLedger,
  measureProgress,
  measureRetention,
} from '../../infrastructure/metrics/read-model-metrics.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { type Access, access } from '../http/access.ts';
import { readingMetrics } from '../http/http-metrics.ts';
import { intakeOf, type RegisterUnknown } from '../http/intake.ts';
import { type CertificateFiles, certificateFiles, type HttpServer } from '../http/listener.ts';
import { QuerySlots } from '../http/query-slots.ts';
import { type RateLimits, rateLimits } from '../http/rate-limits.ts';
import { httpServer } from '../http/server.ts';
import { importRoute } from '../import/import-route.ts';
import { operationsOf } from './application.ts';
import { projectionsCheck } from './log-checks.ts';
import { mqttIntakes } from './mqtt.ts';
import { services as s } from './services.ts';
import { asRecordedThreads, operationThreads } from './worker-threads.ts';

type Api = {
  readonly url: string;
  /** Of the MQTT endpoint, where there is one. */
  readonly mqttUrl: string | undefined;
  /** Drains requests, stops the worker threads and stops following the event store. */
  close(): Promise<void>;
};

/** Metrics and stalls of the other threads of the process. */
type OtherThreads = {
  readonly moreMetrics: readonly (() => Promise<string>)[];
  readonly stalled: () => readonly string[];
  /** The checks without which the process is not ready. */
  readonly needed: readonly string[];
};

/** Not the read models: without them readings and commands are still accepted, and queries wait. */
export const neededToAccept = ['eventStore', 'telemetryLog', 'disk'];

const noOtherThreads: OtherThreads = { moreMetrics: [], stalled: () => [], needed: neededToAccept };

/** The HTTP API, with its worker threads and the device directory that it follows. */
export async function startApi(container: Container, otherThreads = noOtherThreads): Promise<Api> {
  const [config, log, ids, directory, source] = await Promise.all([
    container.getAsync(s.config),
    container.getAsync(s.log),
    container.getAsync(s.ids),
    container.getAsync(s.directory),
    container.getAsync(s.deviceSource),
  ]);
  await measure(container);
  const recorded = asRecordedThreads(config);
  const tasks = operationThreads(config);
  const files = certificateOf(config, log);
  const certificate = files?.read();
  const callers = await openCallers(container, { isPublic: true });
  const contained = await containedServices(container);
  const intake = intakeOf(
    contained.ingest,
    contained.directory,
    readingMetrics(contained.metrics),
    callers.rates,
    registerUnknown(contained.commands, config.AUTO_REGISTER),
  );
  const mqtt = await mqttIntakes(config, { ...contained, ...callers, intake }, certificate);
  const live = new LiveStreams(await liveServices(container), {
    streams: config.LIVE_STREAMS,
    perKey: config.LIVE_STREAMS_PER_KEY,
  });
  measureStreams(contained.metrics, live);
  const server = httpServer(
    {
      ...contained,
      checks: { ...contained.checks, ...mqtt.checks },
      live,
      ...otherThreads,
      access: callers.access,
      browsers: { origins: config.CORS_ORIGINS, isOpen: callers.isOpen },
      rates: callers.rates,
      intake,
      mqttRejections: mqtt.rejections,
      mqttEndpoint: mqtt.endpoint,
      moreRoutes: [importRoute({ ...contained, intake }, config.IMPORT_MAX_BYTES)],
      slots: new QuerySlots(config.QUERIES_AT_ONCE),
      tasks,
      asRecorded: recorded.asRecorded,
    },
    {
      version: packageJson.version,
      maxBodyBytes: config.MAX_BODY_BYTES,
      allowOld: config.ALLOW_OLD,
      certificate,
    },
  );
  const unfollow = files?.follow((renewed) => {
    server.renew(renewed);
    mqtt.renew(renewed);
  });
  const url = await listen(server, config.PORT, config.HOST);
  const mqttUrl = await mqtt.open().catch(async (error) => {
    await server.close(0);
    unfollow?.();
    throw error;
  });
  const stopped = new AbortController();
  const keysFollowed = callers.follow(stopped.signal);
  const following = directory.follow(source, `directory-${ids.uuidV7()}`, stopped.signal, (err) =>
    log.error({ err }, 'device directory does not follow the event store, will retry'),
  );

  return {
    url,
    mqttUrl,
    async close() {
      await Promise.all([
        live.close(Math.min(5000, config.SHUTDOWN_MS / 2)),
        server.close(config.SHUTDOWN_MS, config.SHUTDOWN_LEAD_MS),
        mqtt.close(config.SHUTDOWN_MS),
      ]);
      await Promise.all([tasks.close(), recorded.close()]);
      unfollow?.();
      stopped.abort();
      await keysFollowed;
      await following;
    },
  };
}

async function liveServices(container: Container): Promise<LiveServices> {
  return {
    telemetry: await container.getAsync(s.telemetrySource),
    devices: await container.getAsync(s.deviceSource),
    alarms: await container.getAsync(s.alarmSource),
    eventStore: await container.getAsync(s.eventStore),
    history: await container.getAsync(s.history),
    registry: await container.getAsync(s.registry),
    ids: await container.getAsync(s.ids),
    log: await container.getAsync(s.log),
    telemetryQueries: await container.getAsync(s.telemetryQueries),
    progress: await container.getAsync(s.progressQueries),
    freshness: await container.getAsync(s.freshness),
    metrics: liveMetrics(await container.getAsync(s.metrics)),
  };
}

/** What the API needs of the container. */
async function containedServices(container: Container) {
  const stores = await container.getAllAsync(s.check);
  const checks = [...stores, projectionsCheck(await container.getAsync(s.control), projectionNames)];
  const tracing = await container.getAsync(s.tracing, { optional: true });
  return {
    commands: await container.getAsync(s.commands),
    history: await container.getAsync(s.history),
    directory: await container.getAsync(s.directory),
    ingest: await container.getAsync(s.ingest),
    retract: await container.getAsync(s.retract),
    erase: await container.getAsync(s.erase),
    rules: await container.getAsync(s.rules),
    alarms: await container.getAsync(s.alarms),
    hooks: await container.getAsync(s.hooks),
    liveQueries: await container.getAsync(s.liveQueries),
    hookDeliveries: await container.getAsync(s.hookDeliveries),
    hookSender: await container.getAsync(s.hookSender),
    alarmQueries: await container.getAsync(s.alarmQueries),
    replay: await operationsOf(container, 'an operator by the API'),
    credentials: await container.getAsync(s.credentials),
    devices: await container.getAsync(s.deviceQueries),
    telemetry: await container.getAsync(s.telemetryQueries),
    progress: await container.getAsync(s.progressQueries),
    retention: await container.getAsync(s.retentionRecords),
    writeAheadLog: await container.getAsync(s.writeAheadLog, { optional: true }),
    calendar: await container.getAsync(s.calendar),
    buckets: await container.getAsync(s.buckets),
    freshness: await container.getAsync(s.freshness),
    ids: await container.getAsync(s.ids),
    log: await container.getAsync(s.log),
    metrics: await container.getAsync(s.metrics),
    spans: tracing?.requests,
    checks: Object.fromEntries(checks.map(({ name, check }) => [name, check])),
  };
}

/** `undefined` where only people register devices. */
function registerUnknown(commands: DeviceCommands, type: string | undefined): RegisterUnknown | undefined {
  if (type === undefined) return undefined;
  return async (deviceId, caller) => {
    const command = {
      type: 'RegisterDevice',
      deviceId,
      details: { name: deviceId, type, labels: {} },
    } as const;
    try {
      await commands.handle(command, { ...caller, idempotencyKey: 'auto-register' });
    } catch (error) {
      // By another node, a moment ago.
      if (error instanceof Rejection && error.code === 'DeviceAlreadyRegistered') return;
      // It stays unknown, so that its own readings are refused and no others.
      if (!isStreamLost(error)) throw error;
    }
  };
}

function certificateOf({ TLS_CERT_FILE, TLS_KEY_FILE }: Config, log: Log): CertificateFiles | undefined {
  if (TLS_CERT_FILE === undefined && TLS_KEY_FILE === undefined) return undefined;
  if (TLS_CERT_FILE === undefined || TLS_KEY_FILE === undefined)
    throw new StartupError('TLS needs both TLS_CERT_FILE and TLS_KEY_FILE');
  return certificateFiles(TLS_CERT_FILE, TLS_KEY_FILE, log);
}

type Callers = {
  readonly access: Access;
  /** Whether there is no API key yet. */
  readonly isOpen: () => boolean;
  readonly rates: RateLimits | undefined;
  /** Follows created and revoked keys until `signal` is aborted. */
  follow(signal: AbortSignal): Promise<void>;
};

/** Authentication and rate limits. Throws a `StartupError` where the API would be open to everybody. */
export async function openCallers(
  container: Container,
  { isPublic }: { isPublic: boolean },
): Promise<Callers> {
  const config = await container.getAsync(s.config);
  const credentials = await container.getAsync(s.credentials);
  const directory = await container.getAsync(s.directory);
  const keys = await container.getAsync(s.keyRing);
  await keys.load();
  if (isPublic && !keys.isAuthRequired()) refuseOpenAddress(config);

  const rates = rateLimits({
    perKey: config.RATE_LIMIT_PER_KEY,
    perToken: config.RATE_LIMIT_PER_TOKEN,
    perDevice: config.RATE_LIMIT_PER_DEVICE,
    burstSeconds: config.RATE_LIMIT_BURST_SECONDS,
  });
  const metricsToken = config.METRICS_TOKEN;
  return {
    access: access({ keys, credentials, directory, metricsToken, limits: rates }),
    rates,
    isOpen: () => !keys.isAuthRequired(),
    follow: (signal) => keys.follow(signal),
  };
}

/** Starts to listen and resolves with the URL. Throws a `StartupError` when the address is not available. */
export async function listen(server: HttpServer, port: number, host: string): Promise<string> {
  try {
    const { port: taken } = await server.listen(port, host);
    return `${server.scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${taken}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE')
      throw new StartupError(`Port ${port} on ${host} is taken: stop what listens there or set another PORT`);
    throw new StartupError(`Cannot listen on ${host} port ${port}: ${(error as Error).message}`);
  }
}

/** Without API keys every client may do anything, so only loopback addresses are allowed. */
function refuseOpenAddress({ HOST }: Config): void {
  if (HOST === 'localhost' || HOST === '::1' || (isIP(HOST) === 4 && HOST.startsWith('127.'))) return;
  throw new StartupError(
    `HOST is ${HOST}, but there is no API key: make one with \`fieldlog keys create\`, or set HOST to 127.0.0.1`,
  );
}

/** Registers metrics of the process, its dependencies and the progress of the projections. */
export async function measure(
  container: Container,
  names: readonly ProjectionName[] = projectionNames,
): Promise<void> {
  const registry = await container.getAsync(s.metrics);
  measureProcess(registry);
  // Before metrics that query the database, which would count themselves as waiting callers.
  measureConnections(
    registry,
    container.isBound(s.connections) ? await container.getAllAsync(s.connections) : [],
  );
  const projections = projectionsCheck(await container.getAsync(s.control), names);
  measureDependencies(registry, [...(await container.getAllAsync(s.check)), projections]);
  measureLedger(registry, await container.getAsync(s.auditOutcomes));
  measureProgress(registry, await container.getAsync(s.progressQueries), {
    devices: await container.getAsync(s.deviceSource),
    telemetry: await container.getAsync(s.telemetrySource),
  });
  measureRebuilds(registry, await container.getAsync(s.control));
  measureRetention(registry, await container.getAsync(s.retentionRecords));
  measureDetection(registry, await container.getAsync(s.alarmQueries));
  measureHooks(registry, await container.getAsync(s.hookDeliveries), await container.getAsync(s.clock));
  if (container.isBound(s.disk)) measureDisk(registry, await container.getAsync(s.disk));
  if (container.isBound(s.writeAheadLog))
    measureWriteAheadLog(registry, await container.getAsync(s.writeAheadLog));
}
