import { Container } from 'inversify';
import type { Log } from '../../application/ports/system.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { migrateReadModels } from '../../infrastructure/sql/schema.ts';
import { applicationModule } from './application.ts';
import { eventStoreDb, kafka, mysql } from './distributed.ts';
import { embeddedEventStore, embeddedReadModels, embeddedTelemetryLog } from './embedded.ts';
import { services as s } from './services.ts';

/**
 * The object graph for a configuration, its read models brought up to this release. Each port is chosen by itself:
 * the server its variable names, or the embedded file. With `traced`, a role, it is traced where that is configured.
 * `unbindAllAsync` closes what was opened.
 */
export async function openContainer(config: Config, log: Log, traced?: string): Promise<Container> {
  const { EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL, OTEL_EXPORTER_OTLP_ENDPOINT } = config;
  const container = new Container({ defaultScope: 'Singleton' });
  container.load(
    applicationModule(config, log),
    EVENTSTORE_URL === undefined ? embeddedEventStore(config) : eventStoreDb(EVENTSTORE_URL, log),
    KAFKA_BROKERS === undefined ? embeddedTelemetryLog(config) : kafka(KAFKA_BROKERS, config, log),
    MYSQL_URL === undefined ? embeddedReadModels(config) : mysql(MYSQL_URL, config, log),
  );
  if (traced !== undefined && OTEL_EXPORTER_OTLP_ENDPOINT !== undefined) {
    const { tracing } = await import('./tracing.ts');
    container.load(tracing(OTEL_EXPORTER_OTLP_ENDPOINT, traced, config, log));
  }
  try {
    await migrateReadModels(container.get(s.database), Date.now());
    return container;
  } catch (error) {
    await container.unbindAllAsync();
    throw error;
  }
}
