import { ContainerModule } from 'inversify';
import type { Log } from '../../application/ports/system.ts';
import { type Config, pairsOf } from '../../infrastructure/config/config.ts';
import { processTracing } from '../../infrastructure/tracing/process-tracing.ts';
import { openTracing } from '../../infrastructure/tracing/tracing.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { closeOnDeactivation } from './process.ts';
import { services as s } from './services.ts';

/** Traces of a role. To import this file loads OpenTelemetry: only where an endpoint is configured. */
export function tracing(endpoint: string, role: string, config: Config, log: Log): ContainerModule {
  const { EVENTSTORE_URL, KAFKA_BROKERS, KAFKA_TOPIC, OTEL_SERVICE_NAME } = config;
  const opened = openTracing(
    {
      endpoint,
      headers: pairsOf(config.OTEL_EXPORTER_OTLP_HEADERS),
      timeout: config.OTEL_EXPORTER_OTLP_TIMEOUT,
      sampler: config.OTEL_TRACES_SAMPLER,
      ratio: config.OTEL_TRACES_SAMPLER_ARG,
      service: `fieldlog-${role}`,
      version: packageJson.version,
      attributes: {
        ...pairsOf(config.OTEL_RESOURCE_ATTRIBUTES),
        ...(OTEL_SERVICE_NAME !== undefined && { 'service.name': OTEL_SERVICE_NAME }),
      },
    },
    log,
  );
  const traced = processTracing(opened, {
    devices: { system: EVENTSTORE_URL === undefined ? 'sqlite' : 'eventstoredb', name: 'devices' },
    telemetry:
      KAFKA_BROKERS === undefined
        ? { system: 'sqlite', name: 'telemetry' }
        : { system: 'kafka', name: KAFKA_TOPIC },
  });

  return new ContainerModule(({ bind }) => {
    bind(s.tracing)
      .toDynamicValue(() => traced)
      .onDeactivation(closeOnDeactivation);
  });
}
