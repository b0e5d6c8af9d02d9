import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { SqlQueries } from '../../../infrastructure/sql/sql.ts';
import { yamlFile } from '../../deploy/yaml-file.ts';
import { ownDatabase } from '../../infrastructure/mysql/own-database.ts';
import { onEachEngine } from '../../support/each-engine.ts';
import { eventually } from '../../support/eventually.ts';
import { httpClient } from '../../support/http-client.ts';
import { type ServedViews, servedViews } from '../../support/served-views.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

/** Every query of the page, under the line before it. */
const documented = [...read('docs/analysts.md').matchAll(/```sql\n([^`]+)```/g)].map(
  ({ 1: text = '', input, index }) => {
    const [title = ''] = input.slice(0, index).trimEnd().split('\n').slice(-1);
    return { title: title === '```' ? `And: ${text.split('\n', 1)}` : title, text };
  },
);

type Variable = { readonly name: string; readonly query: string };
type Dashboard = {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly rawSql: string }[];
  }[];
  readonly templating: { readonly list: readonly (Variable & { readonly type: string })[] };
};
const dashboard: Dashboard = JSON.parse(read('deploy/grafana/dashboards/telemetry.json'));

const day = Date.UTC(2026, 0, 1);
const minute = 60_000;

/** The devices that the page is about, two days of them, with a gap. */
async function fill({ url }: ServedViews): Promise<void> {
  const call = httpClient(url);
  for (const [deviceId, site] of [
    ['boiler-1', 'north'],
    ['boiler-2', 'south'],
    ['silent', 'south'],
  ])
    await call('POST', '/api/v1/devices', {
      json: { deviceId, name: 'B', type: 'boiler', labels: { site } },
    });
  await call('POST', '/api/v1/devices/boiler-2/suspend', { json: { reason: 'maintenance' } });
  await call('POST', '/api/v1/devices/boiler-2/reinstate', { json: {} });
  const json = ['boiler-1', 'boiler-2'].flatMap((deviceId, device) =>
    Array.from({ length: 60 }, (_, i) => ({
      deviceId,
      timestamp: day + (i < 30 ? i : i + 1410 + 30 * device) * minute,
      metrics: {
        temperature: i % 10 ? 9 + i + device / 3 : 100,
        on: i % 3 === 0,
        mode: i % 2 ? 'eco' : 'comfort',
      },
    })),
  );
  const { positions } = (await call('POST', '/api/v1/telemetry', { json })).json;
  await call('GET', `/api/v1/telemetry?limit=1&waitFor=${positions}&timeout=30s`);
  await eventually(async () => assert.equal((await call('GET', '/api/v1/devices')).json.devices.length, 3));
  await eventually(async () =>
    assert.equal((await call('GET', '/api/v1/devices/boiler-2/history')).json.history.length, 3),
  );
}

/** As Grafana writes them before it sends a query. */
const asGrafana = (sql: string): string =>
  sql
    .replaceAll('$__unixEpochFrom()', String(day / 1000))
    .replaceAll('$__unixEpochTo()', String(day / 1000 + 2 * 86_400))
    .replaceAll('$' + '{device:sqlstring}', "'boiler-1','boiler-2'")
    .replaceAll('$' + '{metric:sqlstring}', "'temperature','on'")
    .replaceAll('$' + '{level}', '1h');

const rowsOf = (sql: SqlQueries, text: string) => sql.all<Record<string, unknown>>(text);
/** What one engine answered, for the next one to agree with. */
const answers = new Map<string, unknown>();

onEachEngine('Queries for analysts', (open) => {
  let views: ServedViews;
  before(async () => {
    views = await servedViews(await open());
    await fill(views);
  });
  after(() => views?.close());

  for (const { title, text } of documented)
    it(title, async () => {
      const rows = await rowsOf(views.sql, text);
      assert.ok(rows.length > 0, 'it finds nothing');
      const found = rows.map((row) =>
        Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])),
      );
      const before = answers.get(title);
      // Times of registration differ from engine to engine, and so does the day of arrival around midnight.
      if (before && !/device_history|telemetry_ledger/.test(text)) assert.deepEqual(found, before);
      answers.set(title, found);
    });

  it('compares numbers as such', async () => {
    const highest = documented.find(({ title }) => title.startsWith('The highest'))?.text ?? assert.fail();
    const [first] = await rowsOf(views.sql, highest);
    assert.equal(first?.value, 100);
  });
});

describe('The dashboard of telemetry', () => {
  it('asks the provisioned source and no other', () => {
    const { datasources } = yamlFile<{ datasources: readonly { uid: string; user: string; url: string }[] }>(
      'deploy/grafana/provisioning/datasources/read-models.yml',
    );
    const uids = [...JSON.stringify(dashboard).matchAll(/"uid":"([^"]+)"/g)].map(([, uid]) => uid);
    assert.deepEqual(new Set(uids), new Set(['fieldlog-telemetry', datasources[0]?.uid]));
    assert.match(
      read('deploy/grafana/analyst.sql'),
      new RegExp(`CREATE USER IF NOT EXISTS '${datasources[0]?.user}'`),
    );
  });
});

onMariadbAndMysql('The dashboard of telemetry', function (url) {
  this.timeout(120_000);
  let views: ServedViews;
  before(async () => {
    const own = await ownDatabase(url);
    views = await servedViews({ env: { MYSQL_URL: own.url }, drop: own.drop });
    await fill(views);
  });
  after(() => views?.close());

  it('has queries that answer in every panel and variable', async () => {
    const panels = dashboard.panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ rawSql }) => ({ title, text: rawSql })),
    );
    const variables = dashboard.templating.list
      .filter(({ type }) => type === 'query')
      .map(({ name, query }) => ({ title: name, text: query }));
    assert.ok(panels.length > 5 && variables.length === 2);
    for (const { title, text } of [...panels, ...variables]) {
      const sql = asGrafana(text);
      assert.doesNotMatch(sql, /\$/, title);
      const rows = await rowsOf(views.sql, sql);
      assert.ok(rows.length > 0, title);
      if (/ AS time\b/.test(sql)) assert.match(String(rows[0]?.time), /^\d{4}-\d\d-\d\d/, title);
    }
  });
});

const plain = (value: unknown): unknown => {
  if (typeof value !== 'string') return typeof value === 'number' ? Number(value.toPrecision(12)) : value;
  if (/^\d{4}-\d\d-\d\d[ T]/.test(value))
    return new Date(`${value.replace(' ', 'T').replace('Z', '')}Z`).toISOString();
  return value;
};
