import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { load } from 'js-yaml';
import { isOnPath } from '../deploy/tools.ts';
import { root } from '../deploy/yaml-file.ts';
import { eventually } from '../support/eventually.ts';
import { type FormServer, formServer } from '../support/form-server.ts';
import { freePort } from '../support/free-port.ts';

const execute = promisify(execFile);
const documentation = readFileSync(path.join(root, 'docs/protocols.md'), 'utf8');
const at = 1_790_000_000_000;

/** Clients as their projects ship them, against the whole server. */
describe('Clients of other systems', function () {
  this.timeout(60_000);
  let server: FormServer;
  before(async () => {
    server = await formServer({ MQTT_PORT: '0', AUTO_REGISTER: 'client' });
  });
  after(() => server?.close());

  /** Without the program it is pending and says how to get it; under CI it fails. */
  function itBy(program: string, title: string, test: () => Promise<unknown>): void {
    if (isOnPath(program)) return void it(title, test);
    const missing = `${title} (needs ${program}: eval "$(.ci/tools)")`;
    it(missing, process.env.CI ? () => assert.fail(missing) : undefined);
  }

  const python = (environment: 'clients' | 'thingsboard', program: string, env: NodeJS.ProcessEnv = {}) =>
    execute(`python-${environment}`, ['-c', program], {
      timeout: 30_000,
      env: { ...process.env, PYTHONWARNINGS: 'ignore', ...env },
    });

  /** With this server's addresses and credentials in the place of those that the documentation stands for. */
  const asConfigured = (text: string, { token = '' } = {}) =>
    text
      .replaceAll('-h localhost', `-h 127.0.0.1 -p ${server.mqttPort}`)
      .replaceAll('"fieldlog", 1883', `"127.0.0.1", ${server.mqttPort}`)
      .replaceAll('http://fieldlog:8080', server.url)
      .replaceAll('flk_…', server.keys.admin)
      .replaceAll('fld_…', token);

  /** The only one of the documentation in this language that contains the text. */
  function example(language: string, text: string, credentials?: { readonly token: string }): string {
    const blocks = [...documentation.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
      .filter(([, written, block]) => written === language && block?.includes(text))
      .map(([, , block = '']) => block);
    assert.equal(blocks.length, 1, `${language} with ${text}`);
    return asConfigured(blocks[0] ?? '', credentials);
  }
  const namesOf = async (device: string, count: number) =>
    (await server.points(device, count)).map(([metric, value]) => [metric, value]).sort();

  for (const [version, name] of [
    ['mqttv31', '3.1'],
    ['mqttv311', '3.1.1'],
    ['mqttv5', '5'],
  ] as const)
    for (const qos of version === 'mqttv5' ? ['0', '1'] : ['0', '1', '2'])
      itBy('mosquitto_pub', `mosquitto_pub by MQTT ${name}, QoS ${qos}`, async () => {
        const device = `${version}-${qos}`;
        const message = JSON.stringify({ timestamp: at, metrics: { t: 1 } });
        const { stderr } = await execute('mosquitto_pub', [
          ...['-h', '127.0.0.1', '-p', server.mqttPort, '-V', version, '-q', qos],
          ...['-u', 'any', '-P', server.keys.admin, '-t', `fieldlog/${device}/telemetry`, '-m', message],
        ]);
        assert.equal(stderr, '');
        assert.deepEqual(await namesOf(device, 1), [['t', 1]]);
      });

  itBy('mosquitto_pub', 'mosquitto_pub gets by MQTT 5 what is wrong', async () => {
    const wrong = (...more: string[]) =>
      execute('mosquitto_pub', [
        '-h',
        '127.0.0.1',
        '-p',
        server.mqttPort,
        '-V',
        'mqttv5',
        '-q',
        '1',
        ...more,
      ]).then(
        ({ stderr }) => stderr,
        ({ stderr }) => stderr as string,
      );
    assert.match(await wrong('-t', 't', '-m', '{}', '-u', 'nobody'), /not authori[sz]ed/i);
    const known = ['-u', 'any', '-P', server.keys.writer];
    assert.match(await wrong('-t', 'nowhere', '-m', '{}', ...known), /topic name invalid/i);
    assert.match(await wrong('-t', 'fieldlog/d/telemetry', '-m', '{', ...known), /payload format invalid/i);
  });

  itBy('mosquitto_pub', 'mosquitto_pub as documented', async () => {
    const token = await server.register('documented');
    const commands = documentation.split('\n').filter((line) => /^ {4}mosquitto_pub /.test(line));
    assert.equal(commands.length, 2);
    for (const command of commands) {
      const { stderr } = await execute('sh', ['-c', asConfigured(command, { token })]);
      assert.equal(stderr, '');
    }
    assert.deepEqual(await namesOf('documented', 1), [['temperature', 21.5]]);
    assert.deepEqual(await namesOf('boiler-1', 1), [['temperature', 21.5]]);
  });

  itBy('python-clients', 'paho as documented', async () => {
    await python('clients', `${example('python', 'paho')}\nclient.disconnect()`);
    assert.deepEqual(await namesOf('d-1', 1), [['t', 1]]);
  });

  for (const version of ['MQTTv311', 'MQTTv5'])
    itBy('python-clients', `paho by ${version}`, async () => {
      await python(
        'clients',
        `
import paho.mqtt.client as mqtt
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.${version})
client.username_pw_set("any", "${server.keys.admin}")
client.connect("127.0.0.1", ${server.mqttPort})
client.loop_start()
sent = [client.publish("fieldlog/paho-${version}/telemetry", '{"timestamp": %d, "metrics": {"n": %d}}' % (${at} + n, n), qos=1) for n in range(300)]
for one in sent: one.wait_for_publish(20)
client.disconnect()
`,
      );
      assert.equal((await server.points(`paho-${version}`, 300)).length, 300);
    });

  itBy('python-thingsboard', "ThingsBoard's tb-mqtt-client, whose subscriptions are granted", async () => {
    const token = await server.register('thingsboard');
    await python('thingsboard', `${example('python', 'tb_device_mqtt', { token })}\nclient.disconnect()`);
    assert.deepEqual(await namesOf('thingsboard', 1), [['temperature', 42.5]]);
  });

  itBy('python-clients', 'influxdb-client as documented', async () => {
    await python('clients', example('python', 'InfluxDBClient'));
    await eventually(async () => {
      const points = await server.points('d-1', 2);
      assert.ok(points.some(([metric, value]) => metric === 'room.temperature' && value === 21.5));
    });
  });

  itBy('python-clients', 'influxdb-client', async () => {
    const { stdout } = await python(
      'clients',
      `
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
client = InfluxDBClient(url="${server.url}", token="${server.keys.admin}", org="any", enable_gzip=True)
assert client.ping()
write = client.write_api(write_options=SYNCHRONOUS)
write.write("any", record=Point("room").tag("host", "influx").tag("floor", "2").field("t", 21.5).field("n", 3).time(${at}000000))
try:
    write.write("any", record="nonsense")
except ApiException as error:
    print(error.status, error.message)
`,
    );
    assert.match(stdout, /422/);
    assert.deepEqual(await namesOf('influx', 2), [
      ['room.n:2', 3],
      ['room.t:2', 21.5],
    ]);
  });

  itBy('python-clients', 'the OpenTelemetry SDK with its exporter', async () => {
    await python(
      'clients',
      `
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
exporter = OTLPMetricExporter()
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3600000)
provider = MeterProvider(metric_readers=[reader])
meter = provider.get_meter("test")
meter.create_counter("requests").add(7, {"path": "/a"})
meter.create_histogram("seconds").record(1.5)
assert provider.force_flush()
provider.shutdown()
`,
      Object.fromEntries(
        [...example('sh', 'OTEL_').matchAll(/^export (\w+)="?([^"\n]*)"?$/gm)].map(([, name, value]) => [
          name,
          value,
        ]),
      ),
    );
    const names = await eventually(async () => {
      const { json } = await server.call('GET', '/api/v1/devices/shop-1/telemetry/latest', {
        headers: { 'X-API-Key': server.keys.admin },
      });
      const latest = json.points as { metric: string; value: unknown }[];
      assert.ok(latest.length >= 5, JSON.stringify(json));
      return new Map(latest.map(({ metric, value }) => [metric, value]));
    });
    assert.equal(names.get('requests:/a'), 7);
    assert.deepEqual(
      ['count', 'sum', 'min', 'max'].map((part) => names.get(`seconds.${part}`)),
      [1, 1.5, 1.5, 1.5],
    );
  });

  it('ESP32: PubSubClient by the packets recorded from it, with the calls documented', async () => {
    const token = await server.register('esp32-7');
    const [, connected = ''] = /client\.connect\("([^"]*)", "fld_…", ""\)/.exec(documentation) ?? [];
    const [, topic = '', written = ''] =
      /client\.publish\("(v1[^"]*)", "(.*?)"\);`/.exec(documentation) ?? [];
    const text = (value: string) => {
      const bytes = Buffer.from(value);
      return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
    };
    const packet = (type: number, ...parts: Buffer[]) => {
      const body = Buffer.concat(parts);
      assert.ok(body.length < 128);
      return Buffer.concat([Buffer.from([type, body.length]), body]);
    };
    // As version 2.8 writes them: MQTT 3.1.1, a clean session, keep alive 15 s, QoS 0.
    const connect = packet(
      0x10,
      ...[Buffer.from('00044d51545404c2000f', 'hex'), text(connected), text(token), text('')],
    );
    const publish = packet(0x30, text(topic), Buffer.from(written.replaceAll('\\"', '"')));
    const socket = connectSocket(Number(server.mqttPort), '127.0.0.1');
    try {
      socket.write(connect);
      const [answer] = (await once(socket, 'data')) as [Buffer];
      assert.equal(answer.toString('hex'), '20020000');
      socket.write(publish);
      assert.deepEqual(await namesOf('esp32-7', 1), [['t', 1]]);
      socket.write(Buffer.from('e000', 'hex'));
      await once(socket.resume(), 'close');
    } finally {
      socket.destroy();
    }
  });

  it('Telegraf: by the address and credential documented', async () => {
    const file = example('toml', 'influxdb_v2');
    const value = (name: string) =>
      file.match(new RegExp(`^ *${name} = \\[?"(.*?)"`, 'm'))?.[1] ?? assert.fail(name);
    const query = `bucket=${value('bucket')}&org=${value('organization')}`;
    const { status } = await fetch(`${value('urls')}/api/v2/write?${query}`, {
      method: 'POST',
      headers: {
        Authorization: `Token ${value('token')}`,
        'Content-Type': 'text/plain; charset=utf-8',
        'Content-Encoding': 'gzip',
      },
      body: gzipSync(`mem,host=telegraf used=1024i ${at}000000`),
    });
    assert.equal(status, 204);
    assert.deepEqual(await namesOf('telegraf', 1), [['mem.used', 1024]]);
  });

  it('OpenTelemetry Collector: by a request recorded from it, with the address and header documented', async () => {
    const { exporters } = load(example('yaml', 'otlphttp')) as {
      exporters: { otlphttp: { metrics_endpoint: string; headers: Record<string, string> } };
    };
    const { metrics_endpoint: url, headers } = exporters.otlphttp;
    // What version 0.165.0 sent of a gauge `up` of 1 of the host `collector`.
    const body =
      'H4sIAAAAAAAA/+KyEZITktIS4RJSZACDD/aSDAyflVuir0twMZUWcDFwSXFJCHFzcSbn5+SkJpfkF3FxZuQXl+jlJeamAgIAAP//Ne0IcD4AAAA=';
    const { status } = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'gzip' },
      body: Buffer.from(body, 'base64'),
    });
    assert.equal(status, 200);
    assert.deepEqual(await namesOf('collector', 1), [['up', 1]]);
  });

  itBy('prometheus', 'Prometheus by remote write', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-prometheus-'));
    const port = await freePort();
    const own = `127.0.0.1:${port}`;
    const documented = load(example('yaml', 'remote_write')) as { readonly remote_write: readonly object[] };
    const config = {
      global: { scrape_interval: '1s' },
      scrape_configs: [{ job_name: 'self', static_configs: [{ targets: [own] }] }],
      remote_write: [
        {
          ...documented.remote_write[0],
          queue_config: { batch_send_deadline: '100ms' },
          write_relabel_configs: [{ source_labels: ['__name__'], regex: 'up', action: 'keep' }],
        },
      ],
    };
    await writeFile(path.join(folder, 'prometheus.yml'), JSON.stringify(config));
    const prometheus = spawn(
      'prometheus',
      [
        `--config.file=${path.join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${path.join(folder, 'data')}`,
        `--web.listen-address=${own}`,
      ],
      { stdio: 'ignore' },
    );
    try {
      await eventually(
        async () => {
          const { json } = await server.call('GET', `/api/v1/devices/${own}/telemetry/latest`, {
            headers: { 'X-API-Key': server.keys.admin },
          });
          assert.match(JSON.stringify(json), /"up:self"/);
        },
        { within: 20_000, every: 100 },
      );
    } finally {
      const gone = new Promise((resolve) => prometheus.once('exit', resolve));
      prometheus.kill('SIGTERM');
      await gone;
      await rm(folder, { recursive: true });
    }
  });
});
