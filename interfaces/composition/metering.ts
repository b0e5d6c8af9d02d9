import { ContainerModule } from 'inversify';
import { Registry } from 'prom-client';
import { ProjectorMetrics } from '../../infrastructure/metrics/projector-metrics.ts';
import { meteredSql } from '../../infrastructure/metrics/read-model-metrics.ts';
import { consumerMetrics, MeteredTelemetryLog } from '../../infrastructure/metrics/telemetry-log-metrics.ts';
import { services as s } from './services.ts';

/**
 * What a role counts and times. To import this file loads the client of Prometheus, which brings those of HTTP and TLS
 * along, whether anything is pushed by them or not: a command has no use for them.
 */
export const metering = (): ContainerModule =>
  new ContainerModule(({ bind }) => {
    bind(s.metrics).toConstantValue(new Registry());
    bind(s.projectorMetrics).toResolvedValue((registry) => new ProjectorMetrics(registry), [s.metrics]);
    bind(s.consumerMetrics).toResolvedValue(consumerMetrics, [s.metrics]);
    bind(s.meterLog).toResolvedValue(
      (registry) => (log) => new MeteredTelemetryLog(log, registry),
      [s.metrics],
    );
    bind(s.meterQueries).toResolvedValue((registry) => (sql) => meteredSql(sql, registry), [s.metrics]);
  });
