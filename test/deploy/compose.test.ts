import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { projectionNames } from '../../application/projections/projection.ts';
import { type Config, configFrom, configSchema } from '../../infrastructure/config/config.ts';
import { viewsOf } from '../../infrastructure/sql/views.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { knownVersion } from '../support/eventstoredb/eventstoredb-double.ts';
import { assertIsCommand } from './command-lines.ts';
import { composeFile, type Service, serviceOf } from './compose-file.ts';
import { itWith, run } from './tools.ts';
import { root, yamlFile } from './yaml-file.ts';

const file = composeFile();
const services = Object.entries(file.services);
const ofFieldlog = services.filter(([, { build }]) => build !== undefined);
/** What runs until it is stopped. */
const roles = ofFieldlog.filter(([name]) => name !== 'migrate');
const service = (name: string) => serviceOf(file, name);
const environment = (of: Service) =>
  Object.fromEntries(Object.entries(of.environment ?? {}).map(([name, value]) => [name, String(value)]));
const healthOf = ({ healthcheck }: Service) => ('test' in healthcheck ? healthcheck.test : []);
const configOf = (of: Service): Config => configFrom(environment(of));

describe('docker-compose.yml', () => {
  it('has every server of the distributed profile, every role, and what watches them', () =>
    assert.deepEqual(Object.keys(file.services).sort(), [
      'analyst',
      'api',
      'device-projector',
      'eventstore',
      'grafana',
      'kafka',
      'migrate',
      'mysql',
      'prometheus',
      'telemetry-projector',
    ]));

  it('pins every image to an exact version', () => {
    for (const [, { image }] of services) assert.match(image, /^[a-z0-9/-]+:v?\d+\.\d+\.\d+(-[a-z-]+)?$/);
  });

  it('gives every service a health check, bounded resources, bounded logs and another start when it ends', () => {
    for (const [name, one] of services) {
      // Those that end when they are done.
      const isOnce = ['migrate', 'analyst'].includes(name);
      assert.equal(healthOf(one).length > 1, !isOnce, name);
      assert.deepEqual(Object.keys(one.deploy?.resources.limits ?? {}).sort(), ['cpus', 'memory'], name);
      assert.deepEqual(Object.keys(one.logging?.options ?? {}).sort(), ['max-file', 'max-size'], name);
      assert.equal(one.restart, isOnce ? 'on-failure' : 'unless-stopped', name);
    }
  });

  it('runs every service without privileges, as a user that is not root', () => {
    for (const [name, one] of services) {
      assert.deepEqual(one.cap_drop, ['ALL'], name);
      assert.deepEqual(one.security_opt, ['no-new-privileges:true'], name);
      assert.match(one.user ?? 'root', /^(?!root|0)\w+/, name);
    }
  });

  it('publishes ports on this machine alone, and none twice', () => {
    const ports = services.flatMap(([, one]) => one.ports ?? []);
    for (const port of ports) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/);
    assert.equal(new Set(ports.map((port) => port.split(':')[1])).size, ports.length);
  });

  it('mounts files that exist and volumes that are declared', () => {
    for (const [, { volumes = [] }] of services)
      for (const volume of volumes) {
        const [source = ''] = volume.split(':');
        if (source.startsWith('.')) assert.ok(existsSync(path.join(root, source)), source);
        else assert.ok(Object.hasOwn(file.volumes, source), source);
      }
  });

  it('declares no volume that nothing mounts', () => {
    const mounted = services.flatMap(([, { volumes }]) =>
      (volumes ?? []).map((volume) => volume.split(':')[0]),
    );
    assert.deepEqual(
      Object.keys(file.volumes).filter((volume) => !mounted.includes(volume)),
      [],
    );
  });

  it('waits until what a service depends on is healthy, or done', () => {
    for (const [name, { depends_on = {} }] of services)
      for (const [other, { condition }] of Object.entries(depends_on)) {
        const awaited =
          healthOf(service(other)).length > 0 ? 'service_healthy' : 'service_completed_successfully';
        assert.equal(condition, awaited, name);
      }
    for (const [name, one] of roles) assert.deepEqual(Object.keys(one.depends_on ?? {}), ['migrate'], name);
    assert.deepEqual(Object.keys(service('migrate').depends_on ?? {}).sort(), [
      'eventstore',
      'kafka',
      'mysql',
    ]);
  });

  it('runs this release, the Kafka and the MySQL that the tests run, and the EventStoreDB that their stand-in knows', () => {
    for (const [, { image }] of ofFieldlog) assert.equal(image, `fieldlog:${packageJson.version}`);
    const pom = readFileSync(path.join(root, 'deploy/local/kafka/pom.xml'), 'utf8');
    const [, tested] = pom.match(/<artifactId>kafka_[\d.]+<\/artifactId>\s*<version>([\d.]+)</) ?? [];
    assert.equal(service('kafka').image, `apache/kafka:${tested}`);
    const script = readFileSync(path.join(root, 'deploy/local/mysql.sh'), 'utf8');
    const [, release = ''] = script.match(/^release=([\d.]+)$/m) ?? [];
    assert.match(service('mysql').image, new RegExp(`^mysql:${release.replace('.', '\\.')}\\.\\d+$`));
    assert.equal(service('analyst').image, service('mysql').image);
    assert.equal(service('eventstore').image, `eventstore/eventstore:${knownVersion}-bookworm-slim`);
    for (const page of ['README.md', 'docs/eventstoredb.md'])
      assert.ok(readFileSync(path.join(root, page), 'utf8').includes(knownVersion), page);
  });

  it('lets the analyst of Grafana read every view and nothing else, once the views are there', () => {
    const grants =
      readFileSync(path.join(root, 'deploy/grafana/analyst.sql'), 'utf8').match(/^GRANT .*$/gm) ?? [];
    const views = projectionNames.flatMap((name) => Object.keys(viewsOf(name, 'mysql', 1)));
    assert.deepEqual(
      grants.toSorted(),
      views.map((view) => `GRANT SELECT ON iotdatabase.${view} TO 'analyst'@'%';`).toSorted(),
    );
    assert.deepEqual(Object.keys(service('analyst').depends_on ?? {}), ['migrate']);
  });

  describe('Fieldlog', () => {
    it('gets no variable that it does not read', () => {
      assert.equal(ofFieldlog.length, 4);
      for (const [name, one] of ofFieldlog)
        assert.deepEqual(
          Object.keys(one.environment ?? {}).filter(
            (variable) => !Object.hasOwn(configSchema.shape, variable),
          ),
          [],
          name,
        );
    });

    it('uses these servers, by the names and ports that they have here', () => {
      for (const [name, one] of ofFieldlog) {
        const { EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL } = configOf(one);
        assert.equal(new URL(EVENTSTORE_URL ?? '').hostname, 'eventstore', name);
        assert.ok(
          environment(service('kafka'))
            .KAFKA_ADVERTISED_LISTENERS?.split(',')
            .includes(`INTERNAL://${KAFKA_BROKERS}`),
        );
        const database = new URL(MYSQL_URL ?? '');
        const { MYSQL_USER, MYSQL_PASSWORD, MYSQL_DATABASE } = environment(service('mysql'));
        assert.equal(database.hostname, 'mysql');
        assert.deepEqual(
          [database.username, database.password, database.pathname],
          [MYSQL_USER, MYSQL_PASSWORD, `/${MYSQL_DATABASE}`],
        );
      }
    });

    it('asks Kafka for as many replicas as there are brokers at most, and MySQL for as many connections as it has', () => {
      const most = Number(
        service('mysql')
          .command?.find((flag) => /max-connections/.test(flag))
          ?.split('=')[1],
      );
      const wanted = roles
        .map(([, one]) => configOf(one).MYSQL_POOL_SIZE)
        .reduce((sum, size) => sum + size, 0);
      assert.ok(
        wanted * 4 < most,
        `${wanted} connections, or ${wanted * 4} with four of each role, of ${most}`,
      );
      for (const [, one] of roles) assert.equal(configOf(one).KAFKA_REPLICATION, 1);
    });

    it('listens where it is published and where it is scraped, and is asked for the health of its role', () => {
      const scraped = yamlFile<{ scrape_configs: readonly Discovery[] }>('deploy/prometheus/prometheus.yml');
      for (const [name, one] of roles) {
        const config = configOf(one);
        const port = name === 'api' ? config.PORT : config.WORKER_PORT;
        assert.equal(config.HOST, '0.0.0.0');
        const role = name === 'api' ? 'api' : 'projector';
        assert.deepEqual(healthOf(one), ['CMD', 'node', 'deploy/container/health.mjs', role]);
        for (const published of one.ports ?? []) assert.equal(published.split(':')[2], String(port));
        assert.ok(targetsOf(scraped.scrape_configs).includes(`${name}:${port}`), `${name} is not scraped`);
      }
    });

    it('may finish what is in progress before it is killed', () => {
      for (const [, one] of roles)
        assert.ok(Number(one.stop_grace_period?.replace('s', '')) * 1000 > configOf(one).SHUTDOWN_MS);
    });

    it('can have any number of projectors: they take no name and no port of this machine', () => {
      for (const name of ['device-projector', 'telemetry-projector']) {
        assert.equal(service(name).container_name, undefined);
        assert.equal(service(name).ports, undefined);
        assert.equal(service(name).volumes, undefined);
      }
    });

    it('writes nowhere: what it knows is in the servers', () => {
      for (const [name, one] of ofFieldlog) {
        assert.equal(one.read_only, true, name);
        assert.equal(one.volumes, undefined, name);
      }
    });

    it('is started in roles and by commands that it has', async () => {
      for (const [name, { command = [] }] of ofFieldlog) {
        assert.deepEqual(command, [name]);
        await assertIsCommand(...command);
      }
    });

    it('shows its metrics to Prometheus, which has the token for them', () => {
      type Scrapes = { scrape_configs: readonly { authorization: { credentials_file: string } }[] };
      const [token] = service('prometheus').configs ?? [];
      for (const { authorization } of yamlFile<Scrapes>('deploy/prometheus/prometheus.yml').scrape_configs)
        assert.equal(authorization.credentials_file, token?.target);
      for (const [, one] of roles)
        assert.equal(configOf(one).METRICS_TOKEN, file.configs[token?.source ?? '']?.content);
    });
  });

  describe('Kafka', () => {
    it('has an id that Kafka takes for one: sixteen bytes', () =>
      assert.equal(Buffer.from(String(service('kafka').environment?.CLUSTER_ID), 'base64url').length, 16));

    it('gives each listener a protocol', () => {
      const { KAFKA_LISTENERS, KAFKA_LISTENER_SECURITY_PROTOCOL_MAP } = environment(service('kafka'));
      const names = (list = '') => list.split(',').map((entry) => entry.split(':')[0]);
      assert.deepEqual(names(KAFKA_LISTENERS).sort(), names(KAFKA_LISTENER_SECURITY_PROTOCOL_MAP).sort());
    });
  });

  const accepted = 'is a file that Compose accepts';
  if (spawnSync('docker', ['compose', 'version']).status === 0)
    it(accepted, () => run('docker', 'compose', 'config', '--quiet'));
  // What the Compose plugin reads its files with, as a program of its own.
  else itWith('compose-go', accepted, (composeGo) => composeGo('docker-compose.yml'));

  itWith('prometheus', 'starts Prometheus with flags that it knows', (prometheus) =>
    prometheus(...(service('prometheus').command ?? []), '--version'),
  );
});

type Discovery = {
  readonly static_configs?: readonly { readonly targets: readonly string[] }[];
  readonly dns_sd_configs?: readonly { readonly names: readonly string[]; readonly port: number }[];
};

const targetsOf = (scraped: readonly Discovery[]): readonly string[] =>
  scraped.flatMap(({ static_configs = [], dns_sd_configs = [] }) => [
    ...static_configs.flatMap(({ targets }) => targets),
    ...dns_sd_configs.flatMap(({ names, port }) => names.map((name) => `${name}:${port}`)),
  ]);
