import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import { encode } from 'cborg';
import mqtt, { type IClientOptions, type MqttClient, type Packet } from 'mqtt';
import { generate, parser } from 'mqtt-packet';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import { rateLimits } from '../../../interfaces/http/rate-limits.ts';
import { eventually } from '../../support/eventually.ts';
import { mqttEndpoint } from '../../support/mqtt-endpoint.ts';

type Raw = { readonly socket: Socket; readonly packets: Packet[]; send(packet: Packet): void };

describe('The MQTT endpoint', function () {
  this.timeout(20_000);
  let at: ReturnType<typeof mqttEndpoint>;
  let port: number;
  const clients: MqttClient[] = [];
  const sockets: Socket[] = [];

  async function start(options: Parameters<typeof mqttEndpoint>[0] = {}): Promise<void> {
    at = mqttEndpoint(options);
    ({ port } = await at.server.listen(0, '127.0.0.1'));
  }
  afterEach(async () => {
    for (const client of clients.splice(0)) client.end(true);
    for (const socket of sockets.splice(0)) socket.destroy();
    await at?.server.close(1000);
  });

  async function client(options: IClientOptions = {}): Promise<MqttClient> {
    const made = mqtt.connect({
      host: '127.0.0.1',
      port,
      reconnectPeriod: 0,
      username: 'token-a',
      ...options,
    });
    clients.push(made);
    made.on('error', () => {});
    await new Promise<void>((resolve) => made.once('connect', () => resolve()));
    return made;
  }

  /** Without a client of its own ideas. */
  function raw(version: 3 | 4 | 5 = 4): Raw {
    const socket = connectSocket(port, '127.0.0.1');
    sockets.push(socket);
    const packets: Packet[] = [];
    const reads = parser({ protocolVersion: version });
    reads.on('packet', (packet) => packets.push(packet as Packet));
    socket.on('data', (chunk) => reads.parse(chunk));
    socket.on('error', () => {});
    return {
      socket,
      packets,
      send: (packet) => void socket.write(generate(packet as never, { protocolVersion: version })),
    };
  }

  async function connected(version: 3 | 4 | 5 = 4, more: object = {}): Promise<Raw> {
    const made = raw(version);
    made.send({
      cmd: 'connect',
      clientId: 'raw',
      protocolVersion: version,
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      clean: true,
      keepalive: 60,
      username: 'token-a',
      password: Buffer.from(''),
      ...more,
    } as Packet);
    await eventually(() => assert.equal(made.packets[0]?.cmd, 'connack'));
    return made;
  }

  const publish = (messageId: number, payload: string | Buffer, more: object = {}): Packet =>
    ({
      cmd: 'publish',
      topic: 'v1/devices/me/telemetry',
      qos: 1,
      dup: false,
      retain: false,
      messageId,
      payload,
      ...more,
    }) as Packet;

  for (const [name, protocolVersion, protocolId] of [
    ['3.1', 3, 'MQIsdp'],
    ['3.1.1', 4, 'MQTT'],
    ['5', 5, 'MQTT'],
  ] as const)
    it(`takes readings by MQTT ${name}, and acknowledges them only once they are durable`, async () => {
      await start();
      const one = await client({ protocolVersion, protocolId });
      const release = at.hold();
      let isAcknowledged = false;
      const sent = one
        .publishAsync('v1/devices/me/telemetry', '{"ts":1790000000000,"values":{"t":1}}', { qos: 1 })
        .then(() => {
          isAcknowledged = true;
        });
      await eventually(async () => assert.match(await at.metrics.metrics(), /fieldlog_mqtt_inflight 1/));
      assert.equal(isAcknowledged, false);
      release();
      await sent;
      assert.deepEqual(at.taken, [{ deviceId: 'a', timestamp: 1_790_000_000_000, metrics: { t: 1 } }]);
    });

  it('reads each topic in its form', async () => {
    await start();
    const one = await client({ username: 'gateway', password: 'key', protocolVersion: 5 });
    const send = (topic: string, payload: string | Buffer, contentType?: string) =>
      one.publishAsync(topic, payload, { qos: 1, ...(contentType && { properties: { contentType } }) });
    await send('v1/gateway/telemetry', '{"d-1":[{"ts":1790000000000,"values":{"t":1}}],"d-2":[{"t":2}]}');
    await send('fieldlog/d-3/telemetry', '{"timestamp":1790000000000,"metrics":{"t":3}}');
    await send('fieldlog/d-4/telemetry', Buffer.from(encode({ t: 4 })));
    await send('fieldlog/d-5/senml', '[{"n":"t","v":5,"bt":1790000000}]');
    await send('telegraf/any/thing', 'cpu,host=d-6 t=6 1790000000000000000');
    await send('telemetry/tenant/d-7', '{"t":7}');
    await send('plant/d-8/data', '{"t":8}');
    await send('telemetry/tenant/d-9', '[{"n":"t","v":9}]', 'application/senml+json');
    await send('e/tenant/d-10/?content-type=application%2Fsenml%2Bjson', '[{"n":"t","v":10}]');
    assert.deepEqual(
      at.taken.map(({ deviceId, metrics }) => [deviceId, Object.values(metrics)[0]]),
      Array.from({ length: 10 }, (_, i) => [`d-${i + 1}`, i + 1]),
    );
  });

  describe('at CONNECT', () => {
    const codeOf = async (version: 4 | 5, more: object) => {
      const { packets } = await connected(version, more);
      const { returnCode, reasonCode } = packets[0] as { returnCode?: number; reasonCode?: number };
      return version === 5 ? reasonCode : returnCode;
    };

    it('refuses what is no credential, by the codes of each version', async () => {
      await start({ maxConnections: 1 });
      const none = { username: undefined, password: undefined };
      assert.deepEqual([await codeOf(4, none), await codeOf(5, none)], [4, 0x86]);
      const wrong = { username: 'token-a-wrong' };
      assert.deepEqual([await codeOf(4, wrong), await codeOf(5, wrong)], [5, 0x87]);
      await client();
      assert.deepEqual([await codeOf(4, {}), await codeOf(5, {})], [3, 0x97]);
    });

    it('says in MQTT 5 what is not offered', async () => {
      await start();
      const { packets } = await connected(5, { clientId: '', keepalive: 0 });
      const { properties } = packets[0] as { properties: Record<string, unknown> };
      assert.match(String(properties.assignedClientIdentifier), /^[0-9a-f-]{36}$/);
      assert.equal(properties.serverKeepAlive, 300);
      assert.deepEqual(
        [
          'receiveMaximum',
          'maximumQoS',
          'retainAvailable',
          'topicAliasMaximum',
          'sessionExpiryInterval',
          'maximumPacketSize',
        ].map((name) => properties[name]),
        [100, 1, false, 10, 0, 10_000],
      );
    });

    it('closes the older connection of a client id, of the same credential alone', async () => {
      await start();
      const first = await connected(5);
      const other = await connected(5, { username: 'token-b' });
      await connected(5);
      await eventually(() => assert.equal((first.packets[1] as { reasonCode?: number })?.reasonCode, 0x8e));
      assert.equal(other.packets.length, 1);
    });

    it('closes one that sends something else, or nothing that can be read', async () => {
      await start();
      const early = raw();
      early.send({ cmd: 'pingreq' } as Packet);
      await once(early.socket, 'close');
      const nonsense = raw();
      nonsense.socket.write(Buffer.alloc(50, 0xff));
      await once(nonsense.socket, 'close');
    });
  });

  it('ends a connection whose credential is no longer good', async () => {
    await start();
    const one = await connected(5);
    at.identities.delete('token-a');
    await once(one.socket, 'close');
    assert.equal((one.packets[1] as { reasonCode?: number }).reasonCode, 0x87);
  });

  it('says by MQTT 5 what is wrong with a publication, and continues', async () => {
    await start();
    const one = await connected(5);
    one.send(publish(1, 'nonsense {'));
    one.send(publish(2, '{"t":1}', { topic: 'fieldlog/b/telemetry' }));
    one.send(publish(3, '{"t":1}', { topic: 'nowhere' }));
    one.send(publish(4, '{"t":1,"list":[{}],"bad name":2}'));
    one.send(publish(5, '{"t":2}'));
    await eventually(() => assert.equal(one.packets.length, 6));
    const acks = one.packets.slice(1) as unknown as {
      messageId: number;
      reasonCode: number;
      properties?: { reasonString: string };
    }[];
    assert.deepEqual(
      acks.map(({ messageId, reasonCode }) => [messageId, reasonCode]),
      [
        [1, 0x99],
        [2, 0x87],
        [3, 0x90],
        [4, 0],
        [5, 0],
      ],
    );
    assert.match(acks[3]?.properties?.reasonString ?? '', /1 rejected.*bad name/);
    assert.deepEqual(
      at.taken.map(({ metrics }) => metrics),
      [{ t: 1 }, { t: 2 }],
    );
    assert.equal(at.rejections.list().length, 4);
  });

  it('acknowledges by MQTT 3.1.1 what it rejects, and lists it', async () => {
    await start();
    const one = await client({ username: 'x', password: 'key' });
    await one.publishAsync('fieldlog/unknown/telemetry', '{"t":1}', { qos: 1 });
    await one.publishAsync('fieldlog/a/telemetry', '{"t":', { qos: 1 });
    assert.deepEqual(
      at.rejections.list().map(({ kind, actor, topic }) => [kind, actor, topic]),
      [
        ['invalid-request', 'writer', 'fieldlog/a/telemetry'],
        ['device-not-registered', 'writer', 'fieldlog/unknown/telemetry'],
      ],
    );
  });

  it('takes by a key for a part of the fleet readings of that alone', async () => {
    await start();
    const one = await client({ username: 'x', password: 'key-of-a' });
    await one.publishAsync('fieldlog/b/telemetry', '{"t":1}', { qos: 1 });
    await one.publishAsync('fieldlog/a/telemetry', '{"t":2}', { qos: 1 });
    assert.deepEqual(
      at.taken.map(({ deviceId }) => deviceId),
      ['a'],
    );
    assert.deepEqual(
      at.rejections.list().map(({ kind }) => kind),
      ['device-not-registered'],
    );
  });

  it('closes the connection instead where it is strict', async () => {
    await start({ isStrict: true });
    const one = await connected();
    one.send(publish(1, '{"t":1}'));
    one.send(publish(2, 'nonsense {'));
    one.send(publish(3, '{"t":3}'));
    await once(one.socket, 'close');
    assert.ok(!one.packets.some(({ messageId }) => messageId === 2));
  });

  it('acknowledges in order, and stops reading a client of which 100 are not durable', async () => {
    await start();
    const one = await connected();
    const release = at.hold();
    for (let id = 1; id <= 1000; id += 1)
      one.send(publish(id, `{"ts":${1_790_000_000_000 + id},"values":{"t":${id}}}`.padEnd(500)));
    await eventually(async () => assert.match(await at.metrics.metrics(), /fieldlog_mqtt_paused 1/));
    assert.equal(one.packets.length, 1);
    release();
    await eventually(() => assert.equal(one.packets.length, 1001));
    assert.deepEqual(
      one.packets.slice(1).map(({ messageId }) => messageId),
      Array.from({ length: 1000 }, (_, i) => i + 1),
    );
    assert.deepEqual(
      at.taken.map(({ metrics }) => metrics.t),
      Array.from({ length: 1000 }, (_, i) => i + 1),
    );
  });

  it('acknowledges nothing while the log cannot be reached, and takes it in once it can', async () => {
    await start();
    at.fail(new TelemetryLogUnavailable('gone', 1));
    const one = await client();
    const sent = one.publishAsync('v2/t', '{"ts":1790000000000,"values":{"t":1}}', { qos: 1 });
    const first = await Promise.race([
      sent.then(() => 'acknowledged'),
      new Promise((resolve) => setTimeout(resolve, 100, 'waiting')),
    ]);
    assert.equal(first, 'waiting');
    at.fail(undefined);
    await sent;
    assert.equal(at.taken.length, 1);
  });

  it('closes the connection when the log cannot be reached for long', async () => {
    await start({ unavailableMs: 100 });
    at.fail(new TelemetryLogUnavailable('gone', 1));
    const one = await connected(5);
    one.send(publish(1, '{"t":1}'));
    await once(one.socket, 'close');
    assert.deepEqual(
      one.packets.slice(1).map((packet) => [packet.cmd, (packet as { reasonCode?: number }).reasonCode]),
      [['disconnect', 0x89]],
    );
  });

  it('stores a repeated publication without a time once', async () => {
    await start();
    const first = await connected();
    first.send(publish(7, '{"t":1}'));
    await eventually(() => assert.equal(first.packets.length, 2));
    first.socket.destroy();
    const second = await connected();
    second.send(publish(7, '{"t":1}', { dup: true }));
    second.send(publish(8, '{"t":1}', { dup: true }));
    second.send(publish(7, '{"t":1}'));
    await eventually(() => assert.equal(second.packets.length, 4));
    assert.equal(at.taken.length, 3);
    assert.match(await at.metrics.metrics(), /fieldlog_mqtt_duplicates_total 1/);
  });

  it('takes QoS 2 by MQTT 3.1.1 once, and refuses it by MQTT 5', async () => {
    await start();
    const one = await connected();
    one.send(publish(9, '{"t":1}', { qos: 2 }));
    await eventually(() => assert.equal(one.packets[1]?.cmd, 'pubrec'));
    one.send(publish(9, '{"t":1}', { qos: 2, dup: true }));
    await eventually(() => assert.equal(one.packets[2]?.cmd, 'pubrec'));
    one.send({ cmd: 'pubrel', messageId: 9 } as Packet);
    await eventually(() => assert.equal(one.packets[3]?.cmd, 'pubcomp'));
    assert.equal(at.taken.length, 1);
    const five = await connected(5, { clientId: 'five' });
    five.send(publish(1, '{"t":1}', { qos: 2 }));
    await once(five.socket, 'close');
    assert.equal((five.packets[1] as { reasonCode?: number }).reasonCode, 0x9b);
  });

  it('takes QoS 0, and drops it when there is no room', async () => {
    await start();
    const one = await connected();
    one.send(publish(0, '{"t":1}', { qos: 0 }));
    await eventually(() => assert.equal(at.taken.length, 1));
    const release = at.hold();
    one.socket.write(
      Buffer.concat(Array.from({ length: 400 }, () => generate(publish(0, '{"t":2}', { qos: 0 }) as never))),
    );
    await eventually(async () => assert.match(await at.metrics.metrics(), /outcome="dropped_qos0"} [1-9]/));
    release();
  });

  it('grants nothing but what SDKs of ThingsBoard need, upon which nothing is sent', async () => {
    await start();
    const granted = async (version: 4 | 5) => {
      const one = await connected(version, { clientId: `subscriber-${version}` });
      const subscriptions = ['#', 'v1/devices/me/rpc/request/+', 'v1/devices/me/attributes'].map((topic) => ({
        topic,
        qos: 1,
        nl: false,
        rap: false,
        rh: 0,
      }));
      one.send({ cmd: 'subscribe', messageId: 1, subscriptions } as unknown as Packet);
      await eventually(() => assert.equal(one.packets[1]?.cmd, 'suback'));
      one.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['#'] } as Packet);
      one.send({ cmd: 'pingreq' } as Packet);
      await eventually(() =>
        assert.deepEqual(
          one.packets.slice(2).map(({ cmd }) => cmd),
          ['unsuback', 'pingresp'],
        ),
      );
      return (one.packets[1] as { granted?: unknown[] }).granted;
    };
    assert.deepEqual(await granted(4), [0x80, 1, 1]);
    assert.deepEqual(await granted(5), [0x87, 1, 1]);
  });

  it('publishes the will of a client that is lost, and of no other', async () => {
    await start();
    const will = {
      topic: 'v1/devices/me/telemetry',
      payload: Buffer.from('{"online":false}'),
      qos: 1,
      retain: true,
    };
    const lost = await connected(4, { will });
    lost.socket.destroy();
    await eventually(() => assert.equal(at.taken.length, 1));
    const left = await connected(4, { will });
    left.send({ cmd: 'disconnect' } as Packet);
    await once(left.socket, 'close');
    assert.equal(at.taken.length, 1);
  });

  it('keeps to topic aliases, and ends at one that stands for nothing', async () => {
    await start();
    const one = await connected(5);
    one.send(publish(1, '{"t":1}', { topic: 'v2/t', properties: { topicAlias: 3 } }));
    one.send(publish(2, '{"t":2}', { topic: '', properties: { topicAlias: 3 } }));
    await eventually(() => assert.equal(at.taken.length, 2));
    one.send(publish(3, '{"t":3}', { topic: '', properties: { topicAlias: 4 } }));
    await once(one.socket, 'close');
    assert.equal((one.packets.at(-1) as { reasonCode?: number }).reasonCode, 0x94);
  });

  it('ends at a packet that is too large before it has come, and at silence', async () => {
    await start();
    const large = await connected(5, { clientId: 'large' });
    large.socket.write(Buffer.from([0x32, 0xff, 0xff, 0xff, 0x7f, 0, 1]));
    await once(large.socket, 'close');
    assert.equal((large.packets[1] as { reasonCode?: number }).reasonCode, 0x95);
    const silent = await connected(4, { clientId: 'silent', keepalive: 1 });
    await once(silent.socket, 'close');
  });

  it('has a client of MQTT 5 know of a rate limit, and one of 3.1.1 wait for it', async () => {
    const rates = rateLimits({ perDevice: 5, burstSeconds: 1 });
    assert.ok(rates);
    await start({ rates });
    const five = await connected(5, { clientId: 'five' });
    five.send(publish(1, JSON.stringify(Array.from({ length: 8 }, (_, i) => ({ t: i })))));
    five.send(publish(2, '{"t":1}'));
    await eventually(() => assert.equal(five.packets.length, 3));
    const codes = five.packets.slice(1).map((packet) => (packet as { reasonCode?: number }).reasonCode);
    if (codes[1] !== 0x97) {
      // Both came in one batch, which is let through once.
      five.send(publish(3, '{"t":1}'));
      await eventually(() => assert.equal((five.packets[3] as { reasonCode?: number }).reasonCode, 0x97));
    }
    const before = at.taken.length;
    const old = await client({ clientId: 'old' });
    await old.publishAsync('v2/t', '{"t":9}', { qos: 1 });
    assert.equal(at.taken.length, before + 1);
  });

  it('when it stops, has what is in flight be durable first', async () => {
    await start();
    const one = await connected(5);
    const release = at.hold();
    one.send(publish(1, '{"t":1}'));
    await eventually(async () => assert.match(await at.metrics.metrics(), /fieldlog_mqtt_inflight 1/));
    const closed = at.server.close(5000);
    release();
    await closed;
    assert.deepEqual(
      one.packets.slice(1).map(({ cmd }) => cmd),
      ['puback', 'disconnect'],
    );
    at = undefined as never;
  });
});
