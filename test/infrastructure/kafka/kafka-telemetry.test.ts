import { loggedTelemetrySourceContract } from '../../contracts/event-source.contract.ts';
import { telemetryLogContract } from '../../contracts/telemetry-log.contract.ts';
import { needs } from '../../support/servers.ts';
import { kafkaFixture } from './kafka-fixture.ts';

needs('KAFKA_BROKERS', 'Kafka', (brokers) => {
  telemetryLogContract('KafkaTelemetryLog', () => kafkaFixture(brokers));
  loggedTelemetrySourceContract('KafkaTelemetrySource', () => kafkaFixture(brokers));
});
