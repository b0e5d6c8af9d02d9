import assert from 'node:assert/strict';
import { type DistributedStores, distributedStores } from '../support/distributed-stores.ts';
import { eventually } from '../support/eventually.ts';
import { type RunningServer, runningServer } from '../support/running-server.ts';
import { secureKafka } from '../support/secure-kafka.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';

needs('LOCAL_CA_FILE', 'Every role', (caFile) =>
  needs('LOCAL_KAFKA_SECURE', 'with Kafka by TLS and password', (listener) =>
    onMariadbAndMysql('and the database by TLS', function (mysqlUrl) {
      this.timeout(120_000);
      let stores: DistributedStores;
      let server: RunningServer;

      before(async () => {
        const kafka = secureKafka(listener, caFile);
        stores = await distributedStores(kafka.KAFKA_BROKERS, mysqlUrl);
        const named = new URL(stores.mysqlUrl);
        named.hostname = 'localhost';
        server = await runningServer(
          { ...stores.env, ...kafka, MYSQL_URL: named.href, MYSQL_SSL: 'true', MYSQL_SSL_CA_FILE: caFile },
          ['api', 'device-projector', 'telemetry-projector'],
        );
      });
      after(async () => {
        await server?.close();
        await stores?.close();
      });

      it('stores what the API answered for', async () => {
        await server.register('d-1');
        await server.measure('d-1', [1, 2, 3]);
        await eventually(
          async () => {
            const { json } = await server.call('GET', '/api/v1/devices/d-1/telemetry?metric=n');
            assert.equal(json.points?.length, 3, JSON.stringify(json));
          },
          { within: 30_000 },
        );
      });
    }),
  ),
);
