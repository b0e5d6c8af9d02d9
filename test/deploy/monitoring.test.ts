import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { assertIsCommand } from './command-lines.ts';
import { composeFile, serviceOf } from './compose-file.ts';
import { alerts, panels, queries, recordings } from './monitoring-files.ts';
import { namedIn } from './promql.ts';
import { registeredMetrics } from './registered-metrics.ts';
import { itWith } from './tools.ts';
import { root, yamlFile } from './yaml-file.ts';

const registered = registeredMetrics();
const recorded = new Map(recordings.map(({ record, expr }) => [record, expr]));
const expressions = [...recordings, ...alerts].map(({ expr }) => expr).concat(queries);
const used = new Set(expressions.flatMap((expr) => namedIn(expr).metrics));

/** The labels that a series may have, whether the code registers it, a rule records it or Prometheus makes it. */
function labelsOf(metric: string): readonly string[] {
  const recording = recorded.get(metric);
  if (recording !== undefined) return namedIn(recording).metrics.flatMap(labelsOf);
  return ['job', 'instance', ...(registered.get(metric) ?? [])];
}

describe('Prometheus and Grafana', () => {
  it('ask for nothing but metrics that the code registers and rules record', () => {
    assert.ok(used.size > 20);
    const unknown = [...used].filter((name) => name !== 'up' && !registered.has(name) && !recorded.has(name));
    assert.deepEqual(unknown, []);
  });

  it('ask for nothing but labels that those metrics have', () => {
    for (const expr of expressions) {
      const { metrics, labels } = namedIn(expr);
      const known = metrics.flatMap(labelsOf);
      assert.deepEqual(
        labels.filter((label) => !known.includes(label)),
        [],
        expr,
      );
    }
  });

  it('record nothing that nobody asks for', () =>
    assert.deepEqual(
      [...recorded.keys()].filter((name) => !used.has(name)),
      [],
    ));

  itWith('promtool', 'are configured in a way that Prometheus accepts', (promtool) => {
    // The syntax only, for the file with the token is elsewhere; that takes the rules for granted.
    promtool('check', 'config', '--syntax-only', 'deploy/prometheus/prometheus.yml');
    promtool('check', 'rules', 'deploy/prometheus/recording.yml', 'deploy/prometheus/alerts.yml');
    const { rule_files } = yamlFile<{ rule_files: readonly string[] }>('deploy/prometheus/prometheus.yml');
    assert.deepEqual(rule_files, ['recording.yml', 'alerts.yml']);
  });
});

describe('An alert', () => {
  itWith('promtool', 'fires when it should and not before', (promtool) => {
    promtool('test', 'rules', 'deploy/prometheus/alerts_test.yml');
  });

  it('is tested both for firing and for being quiet', () => {
    type Expectation = { readonly alertname: string; readonly exp_alerts: readonly unknown[] };
    type Tests = { readonly tests: readonly { readonly alert_rule_test: readonly Expectation[] }[] };
    const tests = yamlFile<Tests>('deploy/prometheus/alerts_test.yml').tests.flatMap(
      ({ alert_rule_test }) => alert_rule_test,
    );
    for (const { alert } of alerts) {
      const outcomes = new Set(
        tests.filter(({ alertname }) => alertname === alert).map(({ exp_alerts }) => exp_alerts.length > 0),
      );
      assert.deepEqual([...outcomes].sort(), [false, true], alert);
    }
  });

  it('has a severity, and a section in the runbook that says what it means, where to look and what to do', () => {
    const runbook = readFileSync(path.join(root, 'docs/runbook.md'), 'utf8');
    const sections = new Map(
      runbook.split(/^### /m).map((section) => [section.split('\n')[0] ?? '', section] as const),
    );
    for (const { alert, labels, annotations } of alerts) {
      assert.match(labels.severity, /^(warning|critical)$/);
      assert.equal(annotations.runbook, `docs/runbook.md#${alert.toLowerCase()}`);
      for (const part of ['**Means.**', '**Look at.**', '**Do.**'])
        assert.ok(sections.get(alert)?.includes(part), `${alert} has no ${part} in the runbook`);
    }
    const explained = [...sections.keys()].filter((title) => title.startsWith('Fieldlog'));
    assert.deepEqual(explained.toSorted(), alerts.map(({ alert }) => alert).toSorted());
  });
});

describe('The runbook', () => {
  it('names commands that there are', async () => {
    const runbook = readFileSync(path.join(root, 'docs/runbook.md'), 'utf8');
    // The first words after the name, without what is to be filled in.
    const commands = new Set(
      [...runbook.matchAll(/`fieldlog ((?:[a-z-]+ ?)+)/g)].map(
        ([, words = '']) => words.split(/ -/)[0]?.trim() ?? '',
      ),
    );
    assert.ok(commands.size > 5);
    for (const command of commands) await assertIsCommand(...command.split(' '));
  });
});

describe('The dashboard', () => {
  it('has panels that lie beside each other, each with an id of its own', () => {
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    );
    assert.equal(new Set(cells).size, cells.length);
    for (const { gridPos } of panels) assert.ok(gridPos.x + gridPos.w <= 24);
  });

  it('asks the Prometheus of docker-compose.yml, by the data source that is provisioned', () => {
    type Sources = { readonly datasources: readonly { readonly uid: string; readonly url: string }[] };
    const { datasources } = yamlFile<Sources>('deploy/grafana/provisioning/datasources/prometheus.yml');
    assert.deepEqual(
      datasources.map(({ url }) => url),
      ['http://prometheus:9090'],
    );
    const uids = panels.flatMap(({ datasource, targets = [] }) =>
      [datasource, ...targets.map((target) => target.datasource)].flatMap((source) =>
        source ? [source.uid] : [],
      ),
    );
    assert.deepEqual([...new Set(uids)], [datasources[0]?.uid]);
  });

  it('is mounted where Grafana looks for it', () => {
    type Providers = { readonly providers: readonly { readonly options: { readonly path: string } }[] };
    const { providers } = yamlFile<Providers>('deploy/grafana/provisioning/dashboards/fieldlog.yml');
    const { volumes = [] } = serviceOf(composeFile(), 'grafana');
    for (const { options } of providers)
      assert.ok(volumes.includes(`./deploy/grafana/dashboards:${options.path}:ro`), options.path);
    assert.ok(volumes.includes('./deploy/grafana/provisioning:/etc/grafana/provisioning:ro'));
  });

  it('turns red where the alert on the same figure fires', () => {
    const targets = {
      FieldlogIngestSlow: 'Ingest, P95',
      FieldlogStorageSlow: 'Ingestion to storage, P99',
      FieldlogConsumerLagHigh: 'Consumer lag',
      FieldlogErrorRateHigh: 'Errors',
    };
    for (const [name, title] of Object.entries(targets)) {
      const [, figure = '', limit] =
        alerts.find(({ alert }) => alert === name)?.expr.match(/^(.*) > ([\d.]+)$/) ?? [];
      const panel = panels.find((one) => one.title === title);
      assert.ok(panel, title);
      assert.ok(panel.targets?.[0]?.expr.includes(figure), `${title} does not show ${figure}`);
      assert.equal(panel.fieldConfig?.defaults.thresholds?.steps.at(-1)?.value, Number(limit));
    }
  });

  itWith('promtool', 'asks questions that Prometheus understands', (promtool) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-dashboard-'));
    try {
      const rules = queries.map((expr, i) => ({ record: `panel:${i}`, expr }));
      const file = path.join(folder, 'queries.yml');
      // JSON is YAML.
      writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
      promtool('check', 'rules', file);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
