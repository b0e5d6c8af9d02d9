import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCli } from '../../support/cli.ts';

describe('fieldlog config', () => {
  const env = { PORT: '9000', MYSQL_URL: 'mysql://user:secret@db/iotdatabase', LOG_LEVEL: 'warn' };

  it('shows what is in force, without passwords', async () => {
    const { code, out } = await runCli(['config'], { env });
    assert.equal(code, 0);
    assert.match(out, /^PORT=9000$/m);
    assert.match(out, /^DATA_DIR=.\/data$/m);
    assert.match(out, /^MYSQL_URL=mysql:\/\/user:\*\*\*@db\/iotdatabase$/m);
    assert.doesNotMatch(out, /secret/);
    const { MYSQL_URL, PORT } = JSON.parse((await runCli(['config', '--json'], { env })).out);
    assert.deepEqual([MYSQL_URL, PORT], ['mysql://user:***@db/iotdatabase', 9000]);
  });

  it('takes what goes with traces by its usual names, and shows no header of theirs', async () => {
    const traces = {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'https://otlp.example/v1',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20c2VjcmV0,x-org=7',
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.05',
    };
    const { out } = await runCli(['config', '--json'], { env: traces });
    const shown = JSON.parse(out);
    assert.deepEqual(
      [shown.OTEL_EXPORTER_OTLP_ENDPOINT, shown.OTEL_EXPORTER_OTLP_HEADERS, shown.OTEL_TRACES_SAMPLER_ARG],
      ['https://otlp.example/v1', '***', 0.05],
    );
    for (const [name, value] of [
      ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318'],
      ['OTEL_EXPORTER_OTLP_HEADERS', 'Bearer abc'],
      ['OTEL_EXPORTER_OTLP_HEADERS', 'a=%zz'],
      ['OTEL_TRACES_SAMPLER', 'sometimes'],
      ['OTEL_TRACES_SAMPLER_ARG', '2'],
    ] as const) {
      const { code, err } = await runCli(['config'], { env: { [name]: value } });
      assert.equal(code, 2);
      assert.match(err, new RegExp(`Wrong configuration: ${name}: `));
    }
  });

  it('reads the file that FIELDLOG_CONFIG names, after the environment', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-config-'));
    const file = path.join(folder, 'fieldlog.env');
    await writeFile(file, '\ufeffCONCURRENCY=9\nPORT=7000\n');
    const { out } = await runCli(['config', '--json'], { env: { ...env, FIELDLOG_CONFIG: file } });
    await rm(folder, { recursive: true });
    const { PORT, CONCURRENCY } = JSON.parse(out);
    assert.deepEqual([PORT, CONCURRENCY], [9000, 9]);
  });

  it('shows how Kafka is spoken to, but not the password', async () => {
    const sasl = { KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'me', KAFKA_SASL_PASSWORD: 'secret' };
    const { out } = await runCli(['config'], { env: { KAFKA_SSL: 'true', ...sasl } });
    assert.match(out, /^KAFKA_SSL=true$/m);
    assert.match(out, /^KAFKA_SASL_USERNAME=me$/m);
    assert.match(out, /^KAFKA_SASL_PASSWORD=\*\*\*$/m);
    assert.doesNotMatch(out, /secret/);
  });

  it('masks every secret of a URL, however it is written', async () => {
    for (const [url, shown] of [
      ['mysql://u:s3c@ret@h/x', 'mysql://u:***@h/x'],
      ['mysql://u@h/x?password=s3cret', 'mysql://u@h/x?password=***'],
      [
        'mysql://u:s3c%2Fret@h/x?ssl=true&authToken=s3cret&x=1',
        'mysql://u:***@h/x?ssl=true&authToken=***&x=1',
      ],
    ] as const) {
      const { out } = await runCli(['config'], { env: { MYSQL_URL: url } });
      assert.ok(out.includes(`MYSQL_URL=${shown}\n`), out);
      assert.doesNotMatch(out, /s3c/);
    }
    const { out } = await runCli(['config'], {
      env: { EVENTSTORE_URL: 'esdb://u:s3cret@a:1,b:2?tls=false' },
    });
    assert.match(out, /^EVENTSTORE_URL=esdb:\/\/u:\*\*\*@a:1,b:2\?tls=false$/m);
  });

  for (const [given, fault] of [
    [
      { MYSQL_URL: 'mysql://u:p@h:port/x' },
      'MYSQL_URL: must be a URL such as scheme://user:password@host:port/name',
    ],
    [{ KAFKA_SSL: 'yes' }, 'KAFKA_SSL: must be true or false'],
    [{ KAFKA_SASL_MECHANISM: 'gssapi' }, 'KAFKA_SASL_MECHANISM: Invalid option: expected one of "plain"|'],
    [
      { KAFKA_REPLICATION: '1', KAFKA_MIN_INSYNC: '2' },
      'KAFKA_MIN_INSYNC: must be at most KAFKA_REPLICATION, which is 1: no write would be acknowledged',
    ],
    [
      { CLOCK_TOLERANCE: '1.5d' },
      'CLOCK_TOLERANCE: must be whole seconds, minutes, hours or days such as 90s',
    ],
    [
      { MQTT_TOPICS: 'plant/{device}/{metric}=json' },
      'MQTT_TOPICS: must have {metric} only in topics of the form value: plant/{device}/{metric}=json',
    ],
    [{ KAFKA_SASL_MECHANISM: 'plain' }, 'KAFKA_SASL_MECHANISM: needs KAFKA_SASL_USERNAME beside it'],
    [{ KAFKA_SASL_PASSWORD: 'secret' }, 'KAFKA_SASL_PASSWORD: needs KAFKA_SASL_MECHANISM beside it'],
    [{ KAFKA_SSL_CA_FILE: 'ca.pem' }, 'KAFKA_SSL_CA_FILE: needs KAFKA_SSL=true beside it'],
    [
      { KAFKA_SSL: 'true', KAFKA_SSL_CERT_FILE: 'me.pem' },
      'KAFKA_SSL_CERT_FILE: needs KAFKA_SSL_KEY_FILE beside it',
    ],
    [{ MYSQL_SSL_CA_FILE: 'ca.pem' }, 'MYSQL_SSL_CA_FILE: needs MYSQL_SSL=true beside it'],
  ] as const)
    it(`says in one line: ${fault}`, async () => {
      const { code, err } = await runCli(['config'], { env: given });
      assert.equal(code, 2);
      assert.ok(err.includes(fault), err);
      assert.equal(err.trim().split('\n').length, 1);
      assert.doesNotMatch(err, /secret/);
    });
});
