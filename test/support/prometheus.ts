import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { eventually } from './eventually.ts';

const rules = path.resolve(import.meta.dirname, '../../deploy/prometheus');

export type FiringAlert = { readonly name: string; readonly labels: Readonly<Record<string, string>> };

export type Prometheus = {
  /** What fires now. */
  firing(): Promise<readonly FiringAlert[]>;
  /** Health of each rule, `ok` once it was evaluated without an error, by its name. */
  rules(): Promise<ReadonlyMap<string, string>>;
  close(): Promise<void>;
};

/** Debian's Prometheus over one process of Fieldlog, with the rules that are deployed, only faster. */
export async function prometheus(job: string, url: string): Promise<Prometheus> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-prometheus-'));
  const files = ['recording.yml', 'alerts.yml'];
  for (const name of files)
    await writeFile(path.join(folder, name), inSeconds(await readFile(path.join(rules, name), 'utf8')));
  const config = {
    global: { scrape_interval: '3s', scrape_timeout: '3s', evaluation_interval: '1s' },
    rule_files: files,
    scrape_configs: [{ job_name: job, static_configs: [{ targets: [new URL(url).host] }] }],
  };
  // JSON is YAML.
  await writeFile(path.join(folder, 'prometheus.yml'), JSON.stringify(config));

  const address = `127.0.0.1:${await freePort()}`;
  const options = [`--web.listen-address=${address}`, `--storage.tsdb.path=${folder}/data`];
  const child = spawn('prometheus', [`--config.file=${folder}/prometheus.yml`, ...options], {
    stdio: 'ignore',
  });
  const exited = once(child, 'exit');
  await eventually(() => get('/-/ready'), { within: 30_000, every: 100 });

  async function get(to: string): Promise<Response> {
    const answer = await fetch(`http://${address}${to}`);
    if (!answer.ok) throw new Error(`${to}: ${answer.status} ${await answer.text()}`);
    return answer;
  }

  return {
    async firing() {
      type Alerts = { data: { alerts: { state: string; labels: Record<string, string> }[] } };
      const { data } = (await (await get('/api/v1/alerts')).json()) as Alerts;
      return data.alerts
        .filter(({ state }) => state === 'firing')
        .map(({ labels: { alertname = '', ...labels } }) => ({ name: alertname, labels }));
    },
    async rules() {
      type Groups = { data: { groups: { rules: { name: string; health: string }[] }[] } };
      const { data } = (await (await get('/api/v1/rules')).json()) as Groups;
      return new Map(data.groups.flatMap((group) => group.rules.map(({ name, health }) => [name, health])));
    },
    async close() {
      child.kill('SIGTERM');
      await exited;
      await rm(folder, { recursive: true });
    },
  };
}

/** Nobody waits five minutes in a test: what is held for a while is held for a second, and looked back on for 20. */
const inSeconds = (text: string): string =>
  text.replaceAll(/\[\d+m\]/g, '[20s]').replaceAll(/^(\s+for:) \d+[smh]$/gm, '$1 1s');

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
