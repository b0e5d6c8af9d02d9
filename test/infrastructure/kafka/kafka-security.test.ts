import assert from 'node:assert/strict';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { kafkaClient } from '../../../infrastructure/kafka/client.ts';
import { ensureTopic } from '../../../infrastructure/kafka/topics.ts';
import { kafkaSecurity } from '../../../interfaces/composition/distributed.ts';
import { loggedTelemetrySourceContract } from '../../contracts/event-source.contract.ts';
import { telemetryLogContract } from '../../contracts/telemetry-log.contract.ts';
import { secureKafka } from '../../support/secure-kafka.ts';
import { needs } from '../../support/servers.ts';
import { kafkaFixture } from './kafka-fixture.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const settings = { topic: 'test-refused', partitions: 1, replication: 1, minInSync: 1, retention: -1 };

needs('LOCAL_CA_FILE', 'Kafka', (caFile) =>
  needs('LOCAL_KAFKA_SECURE', 'that wants TLS and a password', (listener) => {
    const security = (env: Record<string, string>) => kafkaSecurity(configFrom(env));
    const given = secureKafka(listener, caFile);

    const client = security(given);
    telemetryLogContract('KafkaTelemetryLog', () => kafkaFixture(given.KAFKA_BROKERS, { client }));
    loggedTelemetrySourceContract('KafkaTelemetrySource', () =>
      kafkaFixture(given.KAFKA_BROKERS, { client }),
    );

    // How the password was shown changes nothing of what follows.
    for (const mechanism of ['plain', 'scram-sha-256'])
      it(`takes a password by ${mechanism}`, async () => {
        const options = security({ ...given, KAFKA_SASL_MECHANISM: mechanism });
        const admin = kafkaClient({ brokers: given.KAFKA_BROKERS.split(','), ...options }, quiet).admin();
        await admin.connect();
        assert.ok(Array.isArray(await admin.listTopics()));
        await admin.disconnect();
      });

    const refused = (env: Record<string, string>) =>
      ensureTopic(
        kafkaClient({ brokers: given.KAFKA_BROKERS.split(','), ...security(env) }, quiet),
        settings,
        quiet,
      );

    it('refuses a wrong password, with another error than one that does not run', () =>
      assert.rejects(refused({ ...given, KAFKA_SASL_PASSWORD: 'wrong' }), {
        name: 'StartupError',
        message: /authentication/i,
      }));

    it('is not spoken to when its certificate stems from nobody known', () => {
      const { KAFKA_SSL_CA_FILE: _, ...withoutCa } = given;
      return assert.rejects(refused(withoutCa), { name: 'StartupError', message: /certificate/ });
    });
  }),
);
