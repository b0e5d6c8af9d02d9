import type { Container } from 'inversify';
import {
  measureConnections,
  measureDependencies,
  measureProcess,
} from '../../infrastructure/metrics/process-metrics.ts';
import { measureRebuilds } from '../../infrastructure/metrics/projector-metrics.ts';
import {
  measureLedger,
  measureProgress,
  measureRetention,
} from '../../infrastructure/metrics/read-model-metrics.ts';
import { services as s } from './services.ts';

/** Has the metrics of a process tell of itself, of what it depends on and of how far the projections have come. */
export async function measure(container: Container): Promise<void> {
  const registry = await container.getAsync(s.metrics);
  measureProcess(registry);
  // Before what asks the database, which would count its own questions as callers that wait.
  measureConnections(
    registry,
    container.isBound(s.connections) ? await container.getAllAsync(s.connections) : [],
  );
  measureDependencies(registry, await container.getAllAsync(s.check));
  measureLedger(registry, await container.getAsync(s.auditOutcomes));
  measureProgress(registry, await container.getAsync(s.progressQueries), {
    devices: await container.getAsync(s.deviceSource),
    telemetry: await container.getAsync(s.telemetrySource),
  });
  measureRebuilds(registry, await container.getAsync(s.control));
  measureRetention(registry, await container.getAsync(s.retentionRecords));
}
