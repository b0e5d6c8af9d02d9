import assert from 'node:assert/strict';
import mqtt, { type MqttClient } from 'mqtt';
import { Registry } from 'prom-client';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import type { SubmittedReading } from '../../../application/telemetry/ingest.ts';
import { uuidIds } from '../../../infrastructure/identity.ts';
import { intakeOf } from '../../../interfaces/http/intake.ts';
import { MqttBridge } from '../../../interfaces/mqtt/bridge.ts';
import { MqttRejections } from '../../../interfaces/mqtt/publications.ts';
import { describeWith } from '../../deploy/tools.ts';
import { eventually } from '../../support/eventually.ts';
import { Mosquitto, passwordLine } from '../../support/mosquitto.ts';
import { selfSigned } from '../../support/self-signed.ts';

type Options = Partial<ConstructorParameters<typeof MqttBridge>[1]>;

/** A node whose telemetry log is replaced: what is durable is in `taken`. */
class Node {
  readonly taken: SubmittedReading[] = [];
  readonly rejections = new MqttRejections();
  readonly metrics = new Registry();
  readonly logged: string[] = [];
  attempts = 0;
  failure: Error | undefined;
  held: Promise<void> | undefined;
  readonly bridge: MqttBridge;

  constructor(port: number, options: Options = {}) {
    const log = (fields: object, message: string) =>
      void this.logged.push(`${message} ${JSON.stringify(fields)}`);
    this.bridge = new MqttBridge(
      {
        intake: intakeOf(
          async (readings) => {
            this.attempts += 1;
            const { failure } = this;
            await this.held;
            if (failure) throw failure;
            this.taken.push(...readings);
            return { accepted: readings.length, refused: [], positions: [] };
          },
          { find: async () => new Map() },
          { accepted: () => {}, rejected: () => {} },
          undefined,
        ),
        ...{ rejections: this.rejections, ids: uuidIds, metrics: this.metrics },
        log: { debug: log, info: log, warn: log, error: log },
      },
      {
        ...{ url: `mqtt://127.0.0.1:${port}`, share: 'fieldlog', clientId: 'node', topics: [] },
        ...{ maxPacketBytes: 100_000, maxReadings: 100, retryMs: 20, ...options },
      },
    );
  }

  async isReady(): Promise<void> {
    await eventually(() => this.bridge.check());
  }

  async count(metric: string): Promise<number> {
    const { values } = (await this.metrics.getSingleMetric(metric)?.get()) ?? { values: [] };
    return values.reduce((sum, { value }) => sum + value, 0);
  }

  numbers(): readonly number[] {
    return this.taken.map(({ metrics }) => metrics.n as number);
  }
}

describeWith(['mosquitto'], 'The bridge to an MQTT broker', function () {
  this.timeout(30_000);
  let broker: Mosquitto;
  const nodes: Node[] = [];
  let publisher: MqttClient | undefined;
  /** Ids of packets that the broker acknowledged and, as nobody was subscribed, threw away. */
  const unsubscribed = new Set<number>();

  async function open(options: Options = {}): Promise<Node> {
    const node = new Node(broker.port, options);
    nodes.push(node);
    await node.bridge.open();
    return node;
  }

  function publisherOf(options: mqtt.IClientOptions = {}): MqttClient {
    publisher = mqtt.connect(`mqtt://127.0.0.1:${broker.port}`, {
      ...{ protocolVersion: 5, reconnectPeriod: 20, clientId: 'publisher', clean: false, ...options },
      properties: { sessionExpiryInterval: 60 },
    });
    publisher.on('error', () => {});
    publisher.on('packetreceive', (packet) => {
      if (packet.cmd === 'puback' && packet.reasonCode === 0x10) unsubscribed.add(packet.messageId ?? 0);
    });
    return publisher;
  }

  const reading = (n: number): string =>
    JSON.stringify({ timestamp: new Date(1_790_000_000_000 + n).toISOString(), metrics: { n } });
  const publish = (n: number) =>
    (publisher as MqttClient).publishAsync('fieldlog/d-1/telemetry', reading(n), { qos: 1 });

  /** Publishes one after another, ten at a time, until `over`, and returns how many the broker has taken. */
  function load() {
    const acknowledged = new Set<number>();
    let sent = 0;
    let isOver = false;
    const running = Array.from({ length: 10 }, async () => {
      while (!isOver) {
        sent += 1;
        const n = sent;
        const packet = await publish(n);
        if (!unsubscribed.delete(packet?.messageId ?? 0)) acknowledged.add(n);
      }
    });
    return {
      acknowledged,
      async progress() {
        const before = acknowledged.size;
        await eventually(() => assert.ok(acknowledged.size > before + 100));
      },
      async over() {
        isOver = true;
        await Promise.all(running);
      },
    };
  }

  const missing = (acknowledged: ReadonlySet<number>) => {
    const taken = new Set(nodes.flatMap((node) => node.numbers()));
    return [...acknowledged].filter((n) => !taken.has(n));
  };

  afterEach(async () => {
    unsubscribed.clear();
    await Promise.all(nodes.splice(0).map(({ bridge }) => bridge.close(0)));
    await publisher?.endAsync(true);
    await broker?.remove();
  });

  it('shares publications among nodes, and loses none while the broker and nodes restart', async () => {
    broker = await Mosquitto.start(['allow_anonymous true']);
    const first = await open({ clientId: 'a' });
    let second = await open({ clientId: 'b' });
    await Promise.all([first.isReady(), second.isReady()]);
    publisherOf();
    const { acknowledged, progress, over } = load();
    for (let round = 0; round < 3; round += 1) {
      await progress();
      await broker.stop();
      await broker.start();
      await progress();
      // As when it dies: what it has received and not stored is not acknowledged.
      second.failure = new TelemetryLogUnavailable('gone');
      await progress();
      await second.bridge.close(0);
      second = await open({ clientId: 'b' });
      await second.isReady();
    }
    await over();
    await eventually(() => assert.deepEqual(missing(acknowledged), []));
    const ofOthers = nodes.filter((node) => node !== first).flatMap((node) => node.taken);
    assert.ok(first.taken.length > 100 && ofOthers.length > 100);
    const all = nodes.flatMap((node) => node.numbers());
    // One whose acknowledgement was lost with the connection comes again, with the same time.
    assert.ok(
      all.length - new Set(all).size < 500,
      `${all.length - new Set(all).size} of ${all.length} twice`,
    );
  });

  it('of one node alone gets everything that the broker acknowledged over its restarts', async () => {
    broker = await Mosquitto.start(['allow_anonymous true']);
    const node = await open({ share: undefined });
    publisherOf();
    const { acknowledged, progress, over } = load();
    for (let round = 0; round < 3; round += 1) {
      await progress();
      await broker.stop();
      await broker.start();
    }
    await progress();
    await over();
    await eventually(() => assert.deepEqual(missing(acknowledged), []));
    assert.equal(acknowledged.size, Math.max(...node.numbers()));
  });

  it('does not acknowledge what is not durable: the broker sends it again', async () => {
    broker = await Mosquitto.start(['allow_anonymous true']);
    publisherOf();
    const first = await open();
    await first.isReady();
    first.failure = new TelemetryLogUnavailable('disk');
    await Promise.all(Array.from({ length: 60 }, (_, n) => publish(n)));
    await eventually(() => assert.ok(first.attempts > 100));
    // As many as there are connections: the others wait at the broker.
    assert.equal(await first.count('fieldlog_mqtt_bridge_inflight'), 16);
    await first.bridge.close(0);
    assert.deepEqual(first.taken, []);
    const second = await open();
    await eventually(() => assert.equal(new Set(second.numbers()).size, 60));
    assert.equal(second.taken.length, 60);
    await second.bridge.close(1000);
    const third = await open();
    await third.isReady();
    await publish(61);
    await eventually(() => assert.deepEqual(third.numbers(), [61]));
  });

  it('does not acknowledge on a connection what came by another', async () => {
    broker = await Mosquitto.start(['allow_anonymous true']);
    publisherOf();
    const node = await open();
    await node.isReady();
    const gate = Promise.withResolvers<void>();
    node.held = gate.promise;
    await Promise.all(Array.from({ length: 16 }, (_, n) => publish(n)));
    await eventually(() => assert.equal(node.attempts, 16));
    // Without its memory the broker gives the same packet ids to others.
    await broker.stop('SIGKILL');
    await broker.start();
    await eventually(async () => assert.equal(await node.count('fieldlog_mqtt_bridge_connections'), 16));
    node.failure = new TelemetryLogUnavailable('disk');
    node.held = undefined;
    await Promise.all(Array.from({ length: 16 }, (_, n) => publish(100 + n)));
    await eventually(() => assert.ok(node.attempts > 48));
    gate.resolve();
    await eventually(() => assert.equal(node.taken.length, 16));
    await node.bridge.close(0);
    const second = await open();
    await eventually(() => assert.equal(second.numbers().filter((n) => n >= 100).length, 16));
  });

  it('takes topics of MQTT_TOPICS, and answers and lists what it rejects', async () => {
    broker = await Mosquitto.start(['allow_anonymous true']);
    publisherOf();
    const topics = [{ filter: 'plant/{device}/data', form: 'json' }] as const;
    const node = await open({ topics });
    await node.isReady();
    const client = publisher as MqttClient;
    await client.publishAsync('fieldlog/d-1/telemetry', reading(1), { qos: 1 });
    await client.publishAsync('plant/d-1/data', '{"n": ', { qos: 1 });
    await client.publishAsync('plant/d-1/data', reading(2), { qos: 0 });
    await client.publishAsync('plant/d-1/data', reading(3), { qos: 2 });
    await eventually(() => assert.deepEqual(node.numbers().toSorted(), [2, 3]));
    await eventually(() => assert.equal(node.rejections.list().length, 1));
    assert.match(node.rejections.list()[0]?.topic ?? '', /^plant\/d-1\/data$/);
    assert.equal(await node.count('fieldlog_mqtt_bridge_publishes_total'), 3);
    assert.equal(await node.count('fieldlog_mqtt_bridge_connections'), 16);
  });

  it('takes a value by itself by what its topic names', async () => {
    broker = await Mosquitto.start(['allow_anonymous true']);
    publisherOf();
    const node = await open({
      topics: [
        { filter: 'homeassistant/sensor/{device}/state', form: 'value' },
        { filter: 'shellies/{device}/{metric}', form: 'value' },
      ],
    });
    await node.isReady();
    const client = publisher as MqttClient;
    // Home Assistant's statestream: the state as it is, QoS 1, retained.
    const state = 'homeassistant/sensor/boiler_temperature/state';
    for (const payload of ['21.5', 'unavailable', '{"a": 1}', ''])
      await client.publishAsync(state, payload, { qos: 1, retain: true });
    for (const payload of ['-0.5e1', 'true', 'on', '021', '1e999', '9007199254740993', 'NaN'])
      await client.publishAsync('shellies/plug-1/power state', payload, { qos: 1 });
    // The broker spreads them over the connections of the bridge, so they come in any order.
    const values = (device: string, metric: string) =>
      node.taken.flatMap(({ deviceId, metrics }) => (deviceId === device ? [metrics[metric]] : [])).sort();
    await eventually(() => assert.equal(node.taken.length + node.rejections.list().length, 11));
    assert.deepEqual(values('boiler_temperature', 'value'), [21.5, 'unavailable'].sort());
    assert.deepEqual(values('plug-1', 'power_state'), [-5, true, 'on', '021', 'NaN'].sort());
    assert.deepEqual(
      node.rejections
        .list()
        .map(({ topic }) => topic)
        .sort(),
      [state, state, 'shellies/plug-1/power state', 'shellies/plug-1/power state'],
    );
  });

  it('speaks TLS and shows a password, and says when the broker refuses', async () => {
    const { cert, key } = selfSigned();
    broker = await Mosquitto.start(
      [
        'allow_anonymous false',
        'password_file $FOLDER/users',
        'certfile $FOLDER/cert.pem',
        'keyfile $FOLDER/key.pem',
      ],
      { 'cert.pem': cert, 'key.pem': key, users: passwordLine('reader', 'secret') },
    );
    const url = (password: string) => `mqtts://reader:${password}@localhost:${broker.port}`;
    await assert.rejects(
      open({ url: url('wrong'), tls: { ca: cert } }),
      /Not authorized|user name or password/i,
    );
    const trusting = await open({ url: url('secret'), tls: { ca: cert } });
    await trusting.isReady();
    const other = await open({ url: url('secret'), clientId: 'other' });
    await assert.rejects(other.bridge.check(), /self.signed certificate/);
    assert.ok(!trusting.logged.concat(other.logged).join().includes('secret'));
  });

  it('starts while the broker is away, says so once, and subscribes when it is there', async () => {
    broker = await Mosquitto.start(['allow_anonymous true']);
    await broker.stop();
    const node = await open();
    await assert.rejects(node.bridge.check(), { message: /is not subscribed to: .*ECONNREFUSED/ });
    await broker.start();
    await node.isReady();
    const lines = node.logged.filter((line) => line.startsWith('mqtt broker'));
    assert.deepEqual(
      lines.map((line) => line.split(' {')[0]),
      ['mqtt broker not subscribed', 'mqtt broker subscribed'],
    );
  });
});
