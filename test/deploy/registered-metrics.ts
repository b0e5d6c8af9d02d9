import { type MetricObject, Registry } from 'prom-client';
import { configFrom } from '../../infrastructure/config/config.ts';
import { announcedAlarms, measureDetection } from '../../infrastructure/metrics/detection-metrics.ts';
import { measureHooks, triedDeliveries } from '../../infrastructure/metrics/hook-metrics.ts';
import {
  measureConnections,
  measureDependencies,
  measureDisk,
  measureProcess,
  measureThread,
} from '../../infrastructure/metrics/process-metrics.ts';
import { measureStalls, ProjectorMetrics } from '../../infrastructure/metrics/projector-metrics.ts';
import {
  measureLedger,
  measureProgress,
  querySeconds,
} from '../../infrastructure/metrics/read-model-metrics.ts';
import {
  consumerMetrics,
  measureWaiting,
  publishSeconds,
} from '../../infrastructure/metrics/telemetry-log-metrics.ts';
import { measureBackups } from '../../interfaces/composition/backups.ts';
import { readingMetrics, requestMetrics } from '../../interfaces/http/http-metrics.ts';

/** The series that the code registers, by name, with the labels of each. */
export function registeredMetrics(): ReadonlyMap<string, readonly string[]> {
  const registry = new Registry();
  requestMetrics(registry);
  readingMetrics(registry);
  new ProjectorMetrics(registry);
  measureProcess(registry);
  measureDependencies(registry, []);
  measureConnections(registry, []);
  measureDisk(registry, {} as never);
  consumerMetrics(registry);
  measureBackups(registry, configFrom({ BACKUP_DIR: 'backups' }));
  // Only asked when the metrics are read.
  const unasked = {} as never;
  measureProgress(registry, unasked, unasked);
  measureLedger(registry, unasked);
  measureDetection(registry, unasked);
  announcedAlarms(registry);
  measureHooks(registry, unasked, unasked);
  triedDeliveries(registry);
  measureStalls(registry, unasked);
  measureThread(registry, unasked);
  measureWaiting(registry, unasked);
  publishSeconds(registry);
  querySeconds(registry);

  const series = (
    registry.getMetricsAsArray() as (MetricObject & { labelNames: readonly string[] })[]
  ).flatMap(({ name, type, labelNames }): [string, readonly string[]][] =>
    String(type) === 'histogram'
      ? [
          [`${name}_bucket`, [...labelNames, 'le']],
          [`${name}_sum`, labelNames],
          [`${name}_count`, labelNames],
        ]
      : [[name, labelNames]],
  );
  return new Map(series);
}
