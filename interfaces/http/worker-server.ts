import type { Registry } from 'prom-client';
import type { Ids, Log } from '../../application/ports/system.ts';
import type { Access } from './access.ts';
import { httpApp } from './app.ts';
import { requestMetrics } from './http-metrics.ts';
import { operationRoutes } from './operation-routes.ts';
import type { Checks } from './readiness-route.ts';
import { type HttpServer, serving } from './serving.ts';
import { shutdown } from './shutdown.ts';

export type WorkerServices = {
  readonly ids: Ids;
  readonly log: Log;
  readonly metrics: Registry;
  readonly checks: Checks;
  /** Of the checks, those that must pass for the worker to be ready. */
  readonly needed: readonly string[];
  /** What stands still although it should move. */
  readonly stalled: () => readonly string[];
  readonly version: string;
  readonly access: Access;
};

/** What a worker answers over HTTP: whether it lives, whether it is ready, and its metrics. */
export function workerServer(services: WorkerServices): HttpServer {
  const stopping = shutdown();
  const routes = operationRoutes({ ...services, moreMetrics: [], closing: stopping.begun });
  const requests = requestMetrics(services.metrics);
  return serving(httpApp([], routes, { ...services, requests, maxBodyBytes: 1024 }), stopping);
}
