import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import fc from 'fast-check';
import { generate, type IConnectPacket, type Packet, parser } from 'mqtt-packet';
import { eventually } from '../../support/eventually.ts';
import { mqttEndpoint } from '../../support/mqtt-endpoint.ts';

const versions = [3, 4, 5] as const;
type Version = (typeof versions)[number];

const connectPacket = (protocolVersion: Version): IConnectPacket => ({
  ...{ cmd: 'connect', clientId: 'any', clean: true, keepalive: 60, username: 'token-a' },
  ...{ protocolVersion, protocolId: protocolVersion === 3 ? 'MQIsdp' : 'MQTT' },
  password: Buffer.from(''),
});

const encoded = (packets: readonly object[], protocolVersion: Version): Buffer =>
  Buffer.concat(packets.map((packet) => generate(packet as Packet, { protocolVersion })));

describe('The MQTT endpoint, whatever comes', function () {
  this.timeout(60_000);
  let at: ReturnType<typeof mqttEndpoint>;
  let port: number;

  beforeEach(async () => {
    at = mqttEndpoint();
    ({ port } = await at.server.listen(0, '127.0.0.1'));
  });
  afterEach(() => at.server.close(1000));

  async function open(protocolVersion: Version) {
    const socket: Socket = connectSocket(port, '127.0.0.1');
    const packets: Packet[] = [];
    const reads = parser({ protocolVersion });
    reads.on('packet', (packet) => packets.push(packet as Packet));
    reads.on('error', assert.fail);
    socket.on('data', (chunk) => reads.parse(chunk));
    socket.on('error', () => {});
    socket.setNoDelay(true);
    await once(socket, 'connect');
    return { socket, packets };
  }

  it('takes what mqtt-packet encodes, in whatever parts it comes', async () => {
    const publication = fc.record({
      n: fc.integer(),
      text: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
      time: fc.integer({ min: 300_000_000_000, max: 4_000_000_000_000 }),
      alias: fc.option(fc.integer({ min: 1, max: 10 }), { nil: undefined }),
      dup: fc.boolean(),
    });
    const all = fc.array(publication, { minLength: 1, maxLength: 12 });
    const cuts = fc.array(fc.nat(1000), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...versions), all, cuts, async (version, publications, cuts) => {
        at.taken.length = 0;
        const known = new Set<number>();
        const sent = publications.map(({ n, text, time, alias, dup }, i) => {
          const isKnown = alias !== undefined && known.has(alias);
          if (alias !== undefined) known.add(alias);
          return {
            ...{ cmd: 'publish', qos: 1, dup, retain: false, messageId: i + 1 },
            topic: version === 5 && isKnown ? '' : 'v1/devices/me/telemetry',
            payload: JSON.stringify({ ts: time, values: { n, text } }),
            ...(version === 5 && alias !== undefined && { properties: { topicAlias: alias } }),
          };
        });
        const bytes = encoded([connectPacket(version), ...sent], version);
        const { socket, packets } = await open(version);
        const places = [...new Set(cuts.map((cut) => cut % bytes.length))].toSorted((a, b) => a - b);
        for (const [i, place] of [...places, bytes.length].entries()) {
          socket.write(bytes.subarray(i === 0 ? 0 : places[i - 1], place));
          await new Promise((resolve) => setImmediate(resolve));
        }
        await eventually(() => assert.equal(packets.length, 1 + sent.length));
        const acknowledged = packets.slice(1).map((packet) => 'messageId' in packet && packet.messageId);
        assert.deepEqual(
          acknowledged,
          sent.map(({ messageId }) => messageId),
        );
        assert.deepEqual(
          at.taken,
          publications.map(({ n, text, time }) => ({
            ...{ deviceId: 'a', timestamp: time },
            metrics: { n, text },
          })),
        );
        socket.destroy();
      }),
      { numRuns: 60 },
    );
  });

  it('closes or reads on at any bytes, and others do not notice', async () => {
    const well = await open(4);
    well.socket.write(encoded([{ ...connectPacket(4), clientId: 'well' }], 4));
    await eventually(() => assert.equal(well.packets.length, 1));
    const seeds = versions.map((version) => {
      const publish = {
        cmd: 'publish',
        topic: 'v2/t',
        payload: '{"a":1}',
        qos: 1,
        dup: false,
        retain: false,
      };
      const subscribe = { cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: '#', qos: 1 }] };
      const packets = [{ ...publish, messageId: 1 }, subscribe, { cmd: 'pingreq' }, { cmd: 'disconnect' }];
      return {
        version,
        connect: encoded([connectPacket(version)], version),
        rest: encoded(packets, version),
      };
    });
    const changes = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 5 });
    const mutated = fc
      .tuple(fc.constantFrom(...seeds), fc.boolean(), changes)
      .map(([{ connect, rest }, isAfterConnect, changes]) => {
        const bytes = Buffer.from(isAfterConnect ? rest : Buffer.concat([connect, rest]));
        for (const [place, byte] of changes) bytes[place % bytes.length] = byte;
        return isAfterConnect ? Buffer.concat([connect, bytes]) : bytes;
      });
    const random = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    let messageId = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutated, random), async (bytes) => {
        const socket = connectSocket(port, '127.0.0.1');
        socket.on('error', () => {});
        socket.end(bytes);
        socket.resume();
        await once(socket, 'close');
        messageId += 1;
        const payload = JSON.stringify({ ts: 1_790_000_000_000 + messageId, values: { n: messageId } });
        const publish = {
          cmd: 'publish',
          topic: 'v2/t',
          qos: 1,
          dup: false,
          retain: false,
          messageId,
          payload,
        };
        well.socket.write(encoded([publish], 4));
        await eventually(() => assert.equal(well.packets.length, 1 + messageId), { every: 1 });
      }),
      { numRuns: 300 },
    );
    assert.ok(at.taken.filter(({ metrics }) => metrics.n !== undefined).length >= messageId);
    await eventually(async () => assert.match(await at.metrics.metrics(), /^fieldlog_mqtt_connections 1$/m));
    assert.match(await at.metrics.metrics(), /^fieldlog_mqtt_inflight 0$/m);
    well.socket.destroy();
  });

  const connectOf = (version: Version, more: object) =>
    encoded([{ ...connectPacket(version), ...more }], version);
  /** A fixed header that announces more than any packet may have. */
  const announced = (type: number) => Buffer.of(type, 0xff, 0xff, 0xff, 0x7f);
  const bombs: Readonly<Record<string, () => Buffer>> = {
    'a CONNECT of 256 MB': () => Buffer.concat([announced(0x10), Buffer.alloc(100_000)]),
    'a PUBLISH of 256 MB': () => Buffer.concat([connectOf(4, {}), announced(0x32), Buffer.alloc(100_000)]),
    'a length without an end': () => Buffer.concat([connectOf(4, {}), Buffer.alloc(1000, 0xff)]),
    'a will and properties of 64 KB each': () =>
      connectOf(5, {
        will: { topic: 't', payload: Buffer.alloc(65_000), qos: 0, retain: false },
        properties: { userProperties: { a: 'x'.repeat(60_000) } },
      }),
    'a megabyte of packets that only servers send': () =>
      Buffer.concat([connectOf(4, {}), Buffer.alloc(1_000_000, Buffer.of(0xd0, 0))]),
  };
  for (const [name, bomb] of Object.entries(bombs))
    it(`closes soon at ${name}`, async () => {
      const { socket } = await open(4);
      socket.on('data', () => {});
      const closed = once(socket, 'close');
      socket.write(bomb());
      await Promise.race([
        closed,
        new Promise((_, reject) => setTimeout(() => reject(new Error('It is still open')), 3000).unref()),
      ]);
    });

  it('does not read on from a client that does not read its answers', async () => {
    const socket = connectSocket(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(connectOf(5, { keepalive: 1 }));
    // Each is rejected by a reason of 300 characters: 24 MB, which is more than the buffers of the system hold.
    const payload = JSON.stringify({ ['x'.repeat(300)]: 1 });
    const publish = {
      cmd: 'publish',
      topic: 'v2/t',
      qos: 1,
      dup: false,
      retain: false,
      messageId: 1,
      payload,
    };
    const one = encoded([publish], 5);
    socket.write(Buffer.alloc(80_000 * one.length, one));
    await new Promise((resolve) => socket.once('close', resolve));
    const counted = await at.metrics.getSingleMetric('fieldlog_mqtt_publishes_total')?.get();
    const rejected = counted?.values[0]?.value ?? 0;
    assert.ok(rejected > 1000 && rejected < 70_000, `${rejected} were read`);
    socket.destroy();
  });

  it('answers many pings and subscriptions in linear time', async () => {
    const { socket, packets } = await open(4);
    const subscribe = encoded(
      [{ cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: '#', qos: 1 }] }],
      4,
    );
    socket.write(connectOf(4, {}));
    socket.write(Buffer.alloc(200_000, encoded([{ cmd: 'pingreq' }], 4)));
    socket.write(Buffer.alloc(subscribe.length * 20_000, subscribe));
    await eventually(() => assert.equal(packets.length, 1 + 100_000 + 20_000), { within: 20_000 });
    socket.destroy();
  });
});
