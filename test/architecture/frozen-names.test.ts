import assert from 'node:assert/strict';
import {
  commandJsonNames,
  commandNames,
  exitCodeNames,
  variableNames,
} from '../support/frozen-names/command-names.ts';
import { type DistributedNames, distributedNames } from '../support/frozen-names/distributed-names.ts';
import { formNames } from '../support/frozen-names/form-names.ts';
import { answerNames, httpNames, problemNames } from '../support/frozen-names/http-names.ts';
import { encodedMessages, kafkaNames } from '../support/frozen-names/kafka-names.ts';
import { metricNames, spanNames } from '../support/frozen-names/operation-names.ts';
import { type PlainServer, plainServer } from '../support/frozen-names/plain-server.ts';
import { type Observed, runScenario } from '../support/frozen-names/scenario.ts';
import { checkNames, frozenNames } from '../support/frozen-names/snapshot.ts';
import { eventNames, storedNames } from '../support/frozen-names/stored-names.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';

type Names = ReadonlySet<string>;

/**
 * Names that are stored or public, as the running product shows them, against `test/fixtures/frozen-names/`. Titles,
 * descriptions and help texts are not among them.
 */
describe('Frozen names', function () {
  this.timeout(120_000);
  let server: PlainServer;
  before(async () => {
    server = await plainServer();
  });
  after(() => server?.close());

  describe('that are declared', () => {
    unchanged({
      http: () => httpNames(server.openApi),
      commands: commandNames,
      variables: variableNames,
      kafka: async () => kafkaNames(await encodedMessages('iot-telemetry'), 'iot-telemetry'),
      'event-store-db': () => server.eventStoreDbNames(),
    });
  });

  describe('that appear in use', () => {
    let seen: Observed;
    before(async () => {
      seen = await runScenario();
    });
    after(() => seen?.close());

    unchanged({
      events: () => eventNames(seen.dataDir),
      tables: () => storedNames(seen.dataDir),
      answers: () => answerNames(server.openApi, seen.replies),
      problems: () => problemNames(server.openApi, seen.replies),
      forms: () => formNames(seen.replies, seen.commands),
      'command-json': () => commandJsonNames(seen.commands, seen.rejects),
      'exit-codes': () => exitCodeNames(seen.commands),
      metrics: () => metricNames(seen.metrics),
      spans: () => spanNames(seen.spans),
    });
  });
});

function unchanged(kinds: Readonly<Record<string, () => Names | Promise<Names>>>): void {
  for (const [kind, find] of Object.entries(kinds))
    it(`${kind}: every name is there, and no other`, async () => checkNames(kind, await find()));
}

needs('KAFKA_BROKERS', 'Frozen names in servers', (brokers) =>
  onMariadbAndMysql('of three processes', function (mysqlUrl) {
    this.timeout(180_000);
    let distributed: DistributedNames;
    before(async () => {
      distributed = await distributedNames(brokers, mysqlUrl);
    });

    it('has the tables, views and columns of the embedded file', () => {
      const isColumn = (name: string) => / (table|view) \w+#?( column \w+)?$/.test(name);
      const embedded = [...frozenNames('tables')].filter(
        (name) => name.startsWith('read-models.db') && isColumn(name),
      );
      assert.deepEqual([...distributed.tables].sort(), embedded.sort());
    });

    it('has no other headers and fields in messages', () => {
      assert.ok(distributed.kafka.size > 40, `only ${distributed.kafka.size} names were seen`);
      const frozen = frozenNames('kafka');
      assert.deepEqual(
        [...distributed.kafka].filter((name) => !frozen.has(name)),
        [],
      );
    });

    it('has no other metrics', () => {
      const frozen = frozenNames('metrics');
      // Without a value yet, a metric shows no labels.
      const isFrozen = (metric: string) =>
        frozen.has(metric) || [...frozen].some((one) => one.startsWith(metric.replace(/{}$/, '{')));
      const found = [...metricNames(distributed.metrics)];
      assert.deepEqual(
        found.filter((metric) => !isFrozen(metric)),
        [],
      );
    });

    it('has topics and groups of the configured names', () => {
      assert.deepEqual(distributed.topics, ['{topic}', '{topic}-dead-letters']);
      assert.deepEqual(distributed.groups, ['{group}']);
    });
  }),
);
