import type { Registry } from 'prom-client';
import type { Alarms } from '../../application/detection/alarms.ts';
import type { Hooks } from '../../application/detection/hooks.ts';
import type { Rules } from '../../application/detection/rules.ts';
import type { DeviceCommands, EraseDevice } from '../../application/devices/device-commands.ts';
import type { DeviceHistory } from '../../application/devices/device-stream.ts';
import type { LiveStreams } from '../../application/live/live-streams.ts';
import type { SavedQueries } from '../../application/live/saved-queries.ts';
import type { Credentials } from '../../application/ports/api-keys.ts';
import type { AlarmQueries } from '../../application/ports/detection.ts';
import type { HookDeliveries, HookSender } from '../../application/ports/hooks.ts';
import type { DeviceQueries, ProgressQueries } from '../../application/ports/queries.ts';
import type { RetentionRecords } from '../../application/ports/retention.ts';
import type { WriteAheadLog } from '../../application/ports/storage.ts';
import type { Ids, Log } from '../../application/ports/system.ts';
import type { IngestTelemetry, RetractTelemetry } from '../../application/telemetry/ingest.ts';
import type { Access } from './access.ts';
import { alarmRoutes } from './alarm-routes.ts';
import { httpApp, type RequestSpans } from './app.ts';
import { type BrowserRules, browserGuard } from './browser-guard.ts';
import { dashboardRoutes, type MqttEndpoint } from './dashboard-routes.ts';
import { deadLetterRoutes } from './dead-letter-routes.ts';
import { deviceBulkRoute } from './device-bulk-route.ts';
import { deviceCommandRoutes } from './device-command-routes.ts';
import { devicePushRoutes } from './device-push-routes.ts';
import { deviceQueryRoutes } from './device-query-routes.ts';
import { documentationRoutes } from './documentation-routes.ts';
import { type Checks, operationRoutes, statusRoute } from './health-routes.ts';
import { hookRoutes } from './hook-routes.ts';
import { readingMetrics, requestMetrics } from './http-metrics.ts';
import { type Intake, intakeOf } from './intake.ts';
import { lineProtocolRoutes } from './line-protocol-routes.ts';
import { type Certificate, type HttpServer, serving, shutdown } from './listener.ts';
import { liveQueryRoutes } from './live-query-routes.ts';
import { liveRoute } from './live-route.ts';
import { otlpRoute, remoteWriteRoute } from './metric-push-routes.ts';
import { type MqttRejection, mqttRejectionsRoute } from './mqtt-rejections-route.ts';
import { auditRoute, type OperatorServices, projectionRoutes } from './projection-routes.ts';
import type { RateLimits } from './rate-limits.ts';
import type { Route } from './route.ts';
import { ruleRoutes } from './rule-routes.ts';
import {
  type TelemetryQueryServices,
  telemetryLatestRoutes,
  telemetrySeriesRoutes,
} from './telemetry-query-routes.ts';
import { retractionRoute, telemetryIngestRoute } from './telemetry-write-routes.ts';

export type HttpServices = TelemetryQueryServices &
  OperatorServices & {
    readonly commands: DeviceCommands;
    readonly ingest: IngestTelemetry;
    /** Made of `ingest` when absent. */
    readonly intake?: Intake;
    /** Publications by MQTT that were rejected; none when absent. */
    readonly mqttRejections?: (() => readonly MqttRejection[]) | undefined;
    /** Where this process takes readings by MQTT; nowhere when absent. */
    readonly mqttEndpoint?: (() => MqttEndpoint | undefined) | undefined;
    readonly retract: RetractTelemetry;
    readonly credentials: Credentials;
    readonly access: Access;
    /** No page of another origin when absent, and any `Host`. */
    readonly browsers?: BrowserRules;
    /** Off when absent. */
    readonly rates?: RateLimits | undefined;
    readonly history: DeviceHistory;
    readonly devices: DeviceQueries;
    readonly progress: ProgressQueries;
    readonly erase: EraseDevice;
    readonly rules: Rules;
    readonly alarms: Alarms;
    readonly alarmQueries: AlarmQueries;
    readonly hooks: Hooks;
    readonly hookDeliveries: Pick<HookDeliveries, 'list' | 'retry' | 'drop'>;
    readonly hookSender: HookSender;
    readonly live: LiveStreams;
    readonly liveQueries: SavedQueries;
    readonly retention: Pick<RetentionRecords, 'schedule' | 'activeSweep'>;
    readonly writeAheadLog?: WriteAheadLog | undefined;
    /** Of parts that are built on this one. */
    readonly moreRoutes?: readonly Route[];
    readonly log: Log;
    readonly metrics: Registry;
    /** Metrics of other threads of the process, in the text format of Prometheus. */
    readonly moreMetrics?: readonly (() => Promise<string>)[];
    readonly checks: Checks;
    /** Of the checks, those that must pass for the server to be ready; all of them when absent. */
    readonly needed?: readonly string[];
    /** Reports stalled parts; none when absent. */
    readonly stalled?: () => readonly string[];
    /** Requests are not traced when absent. */
    readonly spans?: RequestSpans | undefined;
  };

export type HttpOptions = {
  /** After how long a response is cut off of which the client takes nothing; 30 s when absent. */
  readonly unreadMs?: number;
  readonly version: string;
  /** Of a request body, before and after it is inflated; 10 MiB when absent. */
  readonly maxBodyBytes?: number;
  /** Serves HTTPS by it; HTTP when absent. */
  readonly certificate?: Certificate | undefined;
  /** Readings in one request; 5000 when absent. */
  readonly maxReadings?: number;
  /** Takes timestamps of readings that look like epoch seconds for milliseconds; refuses them when absent. */
  readonly allowOld?: boolean;
  /** Devices in one bulk registration; 1000 when absent. */
  readonly maxBulk?: number;
};

export function httpServer(services: HttpServices, options: HttpOptions): HttpServer {
  const stopping = shutdown(services.log, options.unreadMs);
  const { version, maxBodyBytes = 10 * 1024 * 1024, maxReadings = 5000, maxBulk = 1000 } = options;
  const { ingest, access, ids, log, metrics, directory, progress, freshness } = services;

  const intake = services.intake ?? intakeOf(ingest, directory, readingMetrics(metrics), services.rates);
  const forms = { bytes: maxBodyBytes, readings: maxReadings };
  const api = [
    telemetryIngestRoute(intake, { bytes: maxBodyBytes, items: maxReadings }, options.allowOld ?? false),
    ...devicePushRoutes(intake, forms),
    ...lineProtocolRoutes(intake, forms, log),
    otlpRoute(intake, forms),
    remoteWriteRoute(intake, forms),
    ...deviceCommandRoutes(services),
    deviceBulkRoute(services, { bytes: maxBodyBytes, items: maxBulk }),
    ...deviceQueryRoutes(services),
    liveRoute(services.live, services.liveQueries, access),
    ...liveQueryRoutes(services.liveQueries),
    ...telemetryLatestRoutes(services),
    ...telemetrySeriesRoutes(services),
    retractionRoute(services.retract),
    ...ruleRoutes(services),
    ...hookRoutes(services),
    ...alarmRoutes(services.alarmQueries, services.alarms, freshness, ids, directory),
    mqttRejectionsRoute(services.mqttRejections ?? (() => [])),
    ...projectionRoutes(services),
    ...deadLetterRoutes(services),
    auditRoute(services),
    statusRoute(progress, freshness, services.retention, services.writeAheadLog),
    ...(services.moreRoutes ?? []),
    ...dashboardRoutes(services.mqttEndpoint ?? (() => undefined)),
    ...operationRoutes({ moreMetrics: [], stalled: () => [], ...services, version, closing: stopping.begun }),
  ];
  const routes = [...api, ...documentationRoutes(api, version)];
  const requests = requestMetrics(metrics);
  return serving(
    httpApp(routes, {
      ...{ ids, log, requests, access, maxBodyBytes, spans: services.spans },
      guard: browserGuard(services.browsers ?? { origins: [], isOpen: () => false }),
    }),
    stopping,
    log,
    options.certificate,
  );
}

type WorkerServices = {
  readonly ids: Ids;
  readonly log: Log;
  readonly metrics: Registry;
  readonly checks: Checks;
  /** Of the checks, those that must pass for the worker to be ready. */
  readonly needed: readonly string[];
  /** Reports stalled parts. */
  readonly stalled: () => readonly string[];
  readonly version: string;
  readonly access: Access;
};

/** The HTTP server of a worker: liveness, readiness and metrics. */
export function workerServer(services: WorkerServices): HttpServer {
  const stopping = shutdown(services.log);
  const routes = operationRoutes({ ...services, moreMetrics: [], closing: stopping.begun });
  const requests = requestMetrics(services.metrics);
  const guard = browserGuard({ origins: [], isOpen: () => false });
  return serving(
    httpApp(routes, { ...services, requests, guard, maxBodyBytes: 1024 }),
    stopping,
    services.log,
  );
}
