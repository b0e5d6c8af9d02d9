import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadAll } from 'js-yaml';
import { configFrom, configSchema } from '../../infrastructure/config/config.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { assertIsCommand } from './command-lines.ts';
import {
  base,
  folder,
  type Objects,
  objectsOfBase,
  ofKind,
  podsOf,
  production,
  variablesOf,
} from './kubernetes-objects.ts';
import { deploymentRules } from './kubernetes-rules.ts';
import { namedIn } from './promql.ts';
import { registeredMetrics } from './registered-metrics.ts';
import { describeWith, itWith, kustomize } from './tools.ts';
import { root, yamlFile } from './yaml-file.ts';

const settings = variablesOf('base/fieldlog.env');
const secrets = variablesOf('overlays/production/secrets.example.env');
const environment = { ...settings, ...secrets };

describe('Kubernetes, as written', () => {
  deploymentRules(
    () => objectsOfBase,
    () => configFrom(environment),
  );

  it('uses every file that is there', () => {
    const files = readdirSync(path.join(root, folder, 'base')).filter(
      (file) => file !== 'kustomization.yaml',
    );
    const used = [...base.resources, ...base.configMapGenerator.flatMap(({ envs = [] }) => envs)];
    assert.deepEqual(files.toSorted(), used.toSorted());
  });

  it('sets what Fieldlog reads, and keeps what has a password in the secret', () => {
    for (const name of Object.keys(environment)) assert.ok(Object.hasOwn(configSchema.shape, name), name);
    const config = configFrom(environment);
    assert.equal(config.HOST, '0.0.0.0');
    for (const name of ['EVENTSTORE_URL', 'KAFKA_BROKERS', 'MYSQL_URL'] as const)
      assert.ok(config[name], name);
    for (const [name, value] of Object.entries(settings))
      assert.doesNotMatch(value ?? '', /:\/\/|token|key/i, name);
  });

  it('takes its configuration from what the overlay generates', () => {
    for (const { spec } of podsOf(objectsOfBase)) {
      assert.deepEqual(spec.containers[0].envFrom, [
        { configMapRef: { name: base.configMapGenerator[0]?.name } },
        { secretRef: { name: production.secretGenerator?.[0]?.name } },
      ]);
      assert.ok(
        objectsOfBase.some(
          ({ kind, metadata }) => kind === 'ServiceAccount' && metadata.name === spec.serviceAccountName,
        ),
      );
    }
  });

  it('runs this release, in roles and by commands that it has', async () => {
    assert.deepEqual(base.images, [{ name: 'fieldlog', newTag: packageJson.version }]);
    for (const { metadata, spec } of podsOf(objectsOfBase)) {
      const [{ args, image, name }] = spec.containers;
      assert.equal(image, 'fieldlog');
      assert.deepEqual([metadata.labels['app.kubernetes.io/component'], ...args], [name, name]);
      await assertIsCommand(...args);
    }
  });

  it('is found by Prometheus under the names that the alerts know', () => {
    type Relabeling = {
      readonly source_labels: readonly string[];
      readonly target_label?: string;
      readonly regex?: string;
    };
    type Scrape = { readonly scrape_configs: readonly [{ readonly relabel_configs: readonly Relabeling[] }] };
    const [{ relabel_configs: steps }] = yamlFile<Scrape>(
      'deploy/prometheus/prometheus-kubernetes.yml',
    ).scrape_configs;
    assert.equal(steps[0]?.regex, 'fieldlog;http');
    assert.deepEqual(
      steps.find(({ target_label }) => target_label === 'job'),
      {
        source_labels: ['__meta_kubernetes_pod_label_app_kubernetes_io_component'],
        target_label: 'job',
        replacement: 'fieldlog-$1',
      },
    );
    const known = yamlFile<{ scrape_configs: readonly { job_name: string }[] }>(
      'deploy/prometheus/prometheus.yml',
    );
    assert.deepEqual(
      ofKind(objectsOfBase, 'Deployment')
        .map(({ spec }) => `fieldlog-${spec.template.metadata.labels['app.kubernetes.io/component']}`)
        .toSorted(),
      known.scrape_configs.map(({ job_name }) => job_name).toSorted(),
    );
    for (const { metadata } of podsOf(objectsOfBase))
      assert.equal(metadata.labels['app.kubernetes.io/name'], 'fieldlog');
  });

  itWith('promtool', 'is scraped in a way that Prometheus accepts', (promtool) => {
    const file = 'deploy/prometheus/prometheus-kubernetes.yml';
    const config = yamlFile<{ scrape_configs: readonly object[]; rule_files: readonly string[] }>(file);
    const work = mkdtempSync(path.join(tmpdir(), 'fieldlog-scrape-'));
    try {
      // Debian builds Prometheus without what finds pods; the rest is checked.
      const scrape_configs = config.scrape_configs.map((scrape) => ({
        ...scrape,
        kubernetes_sd_configs: undefined,
      }));
      writeFileSync(path.join(work, 'checked.yml'), JSON.stringify({ ...config, scrape_configs }));
      promtool('check', 'config', '--syntax-only', path.join(work, 'checked.yml'));
    } finally {
      rmSync(work, { recursive: true });
    }
  });

  it('scales by a metric that the code registers and the adapter gives', () => {
    type Rule = {
      readonly seriesQuery: string;
      readonly name: { readonly as: string };
      readonly metricsQuery: string;
    };
    const { external } = yamlFile<{ rules: { external: readonly Rule[] } }>(
      `${folder}/prometheus-adapter.yaml`,
    ).rules;
    const registered = registeredMetrics();
    for (const { seriesQuery, metricsQuery } of external) {
      const { metrics, labels } = namedIn(metricsQuery.replace('<<.LabelMatchers>>', ''));
      assert.deepEqual(metrics, [seriesQuery]);
      assert.deepEqual(
        labels.filter((label) => !registered.get(seriesQuery)?.includes(label)),
        [],
      );
    }
    const asked = ofKind(objectsOfBase, 'HorizontalPodAutoscaler').flatMap(({ spec }) =>
      spec.metrics.flatMap((metric) => (metric.external ? [metric.external.metric] : [])),
    );
    assert.deepEqual(
      asked.map(({ name }) => name),
      external.map(({ name }) => name.as),
    );
    for (const { name, selector } of asked)
      for (const label of Object.keys(selector.matchLabels))
        assert.ok(registered.get(name)?.includes(label), label);
  });
});

describeWith(['kustomize', 'kubectl'], 'Kubernetes, as built', () => {
  let work: string;
  let text: string;
  let objects: Objects;

  before(function () {
    this.timeout(60_000);
    work = mkdtempSync(path.join(tmpdir(), 'fieldlog-kubernetes-'));
    cpSync(path.join(root, folder), work, { recursive: true });
    const overlay = path.join(work, 'overlays/production');
    renameSync(path.join(overlay, 'secrets.example.env'), path.join(overlay, 'secrets.env'));
    text = kustomize(overlay);
    objects = loadAll(text) as Objects;
  });
  after(() => rmSync(work, { recursive: true }));

  const dataOf = (kind: string) => objects.find((one) => one.kind === kind)?.data ?? {};
  const built = () =>
    configFrom({
      ...dataOf('ConfigMap'),
      ...Object.fromEntries(
        Object.entries(dataOf('Secret')).map(([name, value]) => [
          name,
          Buffer.from(value, 'base64').toString(),
        ]),
      ),
    });

  deploymentRules(() => objects, built);

  it('takes configuration, secrets and image from what was generated', () => {
    const nameOf = (kind: string) => objects.find((one) => one.kind === kind)?.metadata.name;
    for (const { spec } of podsOf(objects)) {
      const [{ image, envFrom }] = spec.containers;
      assert.equal(image, `registry.example.com/fieldlog:${packageJson.version}`);
      assert.deepEqual(envFrom, [
        { configMapRef: { name: nameOf('ConfigMap') } },
        { secretRef: { name: nameOf('Secret') } },
      ]);
    }
  });

  it('leads requests from outside to the API', () => {
    const [service] = ofKind(objects, 'Service');
    for (const { spec } of ofKind(objects, 'Ingress'))
      for (const { http } of spec.rules)
        for (const { backend } of http.paths)
          assert.deepEqual(
            [backend.service.name, backend.service.port.name],
            [service?.metadata.name, service?.spec.ports[0]?.name],
          );
  });

  for (const version of ['1.30.0', '1.37.0'])
    itWith(
      'kubernetes-validate',
      `has the form that Kubernetes ${version} publishes, and no field beyond`,
      (validate) => {
        const file = path.join(work, 'built.yaml');
        writeFileSync(file, text);
        validate('--strict', '--quiet', '--kubernetes-version', version, file);
      },
    );
});
