import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createConnection } from 'mysql2/promise';
import { describeWith } from '../deploy/tools.ts';
import { root } from '../deploy/yaml-file.ts';
import { TcpProxy } from '../infrastructure/mysql/tcp-proxy.ts';
import { type DistributedStores, distributedStores } from '../support/distributed-stores.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';

const roles = ['api', 'device-projector', 'telemetry-projector'] as const;
type Alert = { readonly state: string; readonly labels: Readonly<Record<string, string>> };

/**
 * A Prometheus with the rules of deploy/, made to look at seconds where those look at minutes. A scrape may still take
 * what it takes while a dependency does not answer.
 */
class FastPrometheus {
  #process: ChildProcess | undefined;
  #url = '';
  #folder = '';

  async start(targets: Readonly<Record<string, string>>): Promise<void> {
    this.#folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-prometheus-'));
    const rule_files = ['recording.yml', 'alerts.yml'];
    for (const file of rule_files) {
      const rules = await readFile(path.join(root, 'deploy/prometheus', file), 'utf8');
      const fast = rules.replaceAll(/\bfor: \w+/g, 'for: 0s').replaceAll(/\[\d+m\]/g, '[20s]');
      assert.notEqual(fast, rules);
      await writeFile(path.join(this.#folder, file), fast);
    }
    const config = path.join(this.#folder, 'prometheus.yml');
    const scrape_configs = Object.entries(targets).map(([job_name, target]) => ({
      job_name,
      static_configs: [{ targets: [target] }],
    }));
    const global = { scrape_interval: '4s', scrape_timeout: '4s', evaluation_interval: '1s' };
    await writeFile(config, JSON.stringify({ global, rule_files, scrape_configs }));
    this.#process = spawn(
      'prometheus',
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${path.join(this.#folder, 'data')}`,
        '--web.listen-address=127.0.0.1:0',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#url = await listeningAt(this.#process);
  }

  async alerts(): Promise<readonly Alert[]> {
    return (await this.#get<{ alerts: readonly Alert[] }>('/api/v1/alerts')).alerts;
  }

  /** The values of an expression now, by the labels that tell its series apart. */
  async values(expression: string, label: string): Promise<ReadonlyMap<string, number>> {
    type Vector = {
      result: readonly { metric: Readonly<Record<string, string>>; value: [number, string] }[];
    };
    const { result } = await this.#get<Vector>(`/api/v1/query?query=${encodeURIComponent(expression)}`);
    return new Map(result.map(({ metric, value }) => [metric[label] ?? '', Number(value[1])]));
  }

  async #get<Data>(where: string): Promise<Data> {
    const answer = await fetch(this.#url + where);
    return ((await answer.json()) as { data: Data }).data;
  }

  async stop(): Promise<void> {
    if (this.#process?.exitCode === null) {
      this.#process.kill('SIGKILL');
      await once(this.#process, 'exit');
    }
    if (this.#folder) await rm(this.#folder, { recursive: true });
  }
}

function listeningAt({ stderr }: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const [, address] = said.match(/msg="Listening on" address=(127\.0\.0\.1:[1-9]\d*)/) ?? [];
      if (address !== undefined) resolve(`http://${address}`);
    });
    stderr?.once('end', () => reject(new Error(`Prometheus ended: ${said.slice(-2000)}`)));
  });
}

needs('KAFKA_BROKERS', 'Prometheus and the roles', (brokers) =>
  onMariadbAndMysql('with their servers', (mysqlUrl) =>
    describeWith(['prometheus'], 'as they run', function () {
      this.timeout(300_000);
      const within = 120_000;
      const prometheus = new FastPrometheus();
      const proxy = new TcpProxy();
      const processes = new Map<string, FieldlogProcess>();
      const urls = new Map<string, string>();
      let stores: DistributedStores;

      before(async () => {
        stores = await distributedStores(brokers, mysqlUrl);
        const env = {
          ...stores.env,
          MYSQL_URL: await proxy.listen(stores.mysqlUrl),
          PORT: '0',
          WORKER_PORT: '0',
        };
        for (const role of roles) {
          const started = fieldlog([role], env);
          processes.set(role, started);
          const [, url = ''] = await started.says(/(http:\/\/\S+)/, 60_000);
          urls.set(role, url);
        }
        await prometheus.start(
          Object.fromEntries([...urls].map(([role, url]) => [`fieldlog-${role}`, new URL(url).host])),
        );
      });

      after(async () => {
        await prometheus.stop();
        await Promise.all([...processes.values()].map((one) => one.end('SIGKILL')));
        await proxy.close();
        await stores.close();
      });

      const post = async (to: string, body: unknown): Promise<number> => {
        const answer = await fetch(urls.get('api') + to, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify(body),
        });
        await answer.arrayBuffer();
        return answer.status;
      };
      let sent = 0;
      const reading = () => {
        sent += 1;
        return { deviceId: 'alerted', timestamp: 1_700_000_000_000 + sent, metrics: { n: sent } };
      };
      const firing = async (name: string) =>
        (await prometheus.alerts()).filter(
          ({ state, labels }) => state === 'firing' && labels.alertname === name,
        );

      it('finds every role, and computes every target', async () => {
        assert.equal(
          await post('/api/v1/devices', { deviceId: 'alerted', name: 'Alerted', type: 'test' }),
          201,
        );
        await eventually(
          async () => {
            assert.equal(await post('/api/v1/telemetry', reading()), 202);
            assert.deepEqual(
              await prometheus.values('up', 'job'),
              new Map(roles.map((role) => [`fieldlog-${role}`, 1])),
            );
            const lags = await prometheus.values('fieldlog:projection_lag_events:max', 'projection');
            assert.deepEqual([...lags.keys()].sort(), [
              'detection',
              'device_history',
              'devices',
              'telemetry',
            ]);
            for (const target of [
              'fieldlog:ingest_seconds:p95',
              'fieldlog:ingestion_to_storage_seconds:p99{projection="telemetry"}',
              'fieldlog:http_errors:ratio',
            ])
              for (const value of await prometheus.values(target, 'projection'))
                assert.ok(value[1] >= 0, target);
          },
          { within, every: 500 },
        );
        const quiet = [
          'RoleDown',
          'DependencyDown',
          'ProjectorStalled',
          'RefusalsHigh',
          'DatabaseConnectionsExhausted',
        ];
        // Before the first scrape nothing was known of the roles.
        await eventually(
          async () => {
            for (const name of quiet) assert.deepEqual(await firing(`Fieldlog${name}`), []);
          },
          { within, every: 500 },
        );
      });

      it('fires for a flood of bad requests', () =>
        eventually(
          async () => {
            for (let i = 0; i < 20; i++)
              assert.equal(await post('/api/v1/telemetry', { deviceId: 'alerted' }), 400);
            assert.equal((await firing('FieldlogRefusalsHigh')).length, 1);
          },
          { within, every: 200 },
        ));

      it('fires for a projector that stands still although it lives, and clears once it continues', async () => {
        const connection = await createConnection(stores.mysqlUrl);
        try {
          await connection.beginTransaction();
          // Its batches wait for this row, and so does nothing else.
          await connection.query("SELECT * FROM checkpoints WHERE projection = 'telemetry' FOR UPDATE");
          await eventually(
            async () => {
              assert.equal(await post('/api/v1/telemetry', reading()), 202);
              const [stalled, ...others] = await firing('FieldlogProjectorStalled');
              assert.equal(stalled?.labels.projection, 'telemetry');
              assert.deepEqual(others, []);
            },
            { within, every: 500 },
          );
          assert.equal((await prometheus.values('up == 1', 'job')).size, roles.length);
        } finally {
          await connection.end();
        }
        await eventually(async () => assert.deepEqual(await firing('FieldlogProjectorStalled'), []), {
          within,
          every: 500,
        });
      });

      const readiness = async (role: string, query = '') => {
        const answer = await fetch(`${urls.get(role)}/health/ready${query}`);
        const { checks } = (await answer.json()) as { checks: Readonly<Record<string, string>> };
        return [answer.status, checks.readModels];
      };

      it('fires for a database that is stopped, by every role, each of which is still there to tell', async () => {
        await proxy.close();
        await eventually(
          async () => {
            const down = await firing('FieldlogDependencyDown');
            assert.deepEqual(
              down.map(({ labels }) => `${labels.job} ${labels.dependency}`).toSorted(),
              roles.map((role) => `fieldlog-${role} readModels`),
            );
          },
          { within, every: 500 },
        );
        assert.equal((await prometheus.values('up == 1', 'job')).size, roles.length);
      });

      it('finds the API ready to take readings without the database, and its projectors not ready', async () => {
        assert.deepEqual(await readiness('api'), [200, 'failed']);
        assert.deepEqual(await readiness('api', '?dependency=readModels'), [503, 'failed']);
        assert.deepEqual(await readiness('telemetry-projector'), [503, 'failed']);
        assert.equal(await post('/api/v1/telemetry', reading()), 202);
      });
    }),
  ),
);
