import assert from 'node:assert/strict';
import type { Config } from '../../infrastructure/config/config.ts';
import { type Labels, matches, type Objects, ofKind, podsOf } from './kubernetes-objects.ts';

const names = (objects: Objects) => objects.map(({ metadata }) => metadata.name).toSorted();

/** What must hold for the objects of a deployment with this configuration, as written and as kustomize builds them. */
export function deploymentRules(objects: () => Objects, config: () => Config): void {
  const deployments = () => ofKind(objects(), 'Deployment');
  const deploymentsFor = (selector: Labels) =>
    deployments().filter(({ spec }) => matches(selector, spec.template.metadata.labels));

  it('has a deployment and a disruption budget for each role', () => {
    const roles = ['fieldlog-api', 'fieldlog-device-projector', 'fieldlog-telemetry-projector'];
    assert.deepEqual(names(deployments()), roles);
    assert.deepEqual(names(ofKind(objects(), 'PodDisruptionBudget')), roles);
  });

  it('selects exactly the pods that are meant', () => {
    for (const { metadata, spec } of deployments())
      assert.deepEqual(
        deploymentsFor(spec.selector.matchLabels).map((one) => one.metadata.name),
        [metadata.name],
      );
    for (const { metadata, spec } of [
      ...ofKind(objects(), 'PodDisruptionBudget').map((one) => ({
        ...one,
        spec: one.spec.selector.matchLabels,
      })),
      ...ofKind(objects(), 'Service').map((one) => ({ ...one, spec: one.spec.selector })),
    ])
      assert.deepEqual(
        deploymentsFor(spec).map((one) => one.metadata.name),
        [metadata.name],
      );
  });

  it('opens the ports on which the roles listen, by a name that everything else uses', () => {
    const { PORT, WORKER_PORT } = config();
    for (const { metadata, spec } of deployments()) {
      const [container] = spec.template.spec.containers;
      assert.deepEqual(container.ports, [
        { name: 'http', containerPort: metadata.name === 'fieldlog-api' ? PORT : WORKER_PORT },
      ]);
      const { startupProbe, livenessProbe, readinessProbe } = container;
      assert.deepEqual(
        [startupProbe, livenessProbe, readinessProbe].map((probe) => [
          probe?.httpGet.path,
          probe?.httpGet.port,
        ]),
        [
          ['/health/live', 'http'],
          ['/health/live', 'http'],
          ['/health/ready', 'http'],
        ],
      );
    }
    for (const { spec } of ofKind(objects(), 'Service'))
      for (const { targetPort } of spec.ports) assert.equal(targetPort, 'http');
  });

  it('lets in what comes to those ports alone, and out what goes to the servers', () => {
    const policies = ofKind(objects(), 'NetworkPolicy');
    for (const { metadata, spec } of policies) {
      assert.ok(deploymentsFor(spec.podSelector.matchLabels).length > 0, `${metadata.name} is for no pod`);
      for (const { ports } of spec.ingress ?? [])
        assert.deepEqual(ports, [{ protocol: 'TCP', port: 'http' }], metadata.name);
    }
    const outside = policies.flatMap(({ spec }) => (spec.egress ?? []).flatMap(({ ports }) => ports));
    const { EVENTSTORE_URL = '', KAFKA_BROKERS = '', MYSQL_URL = '' } = config();
    const needed = [
      new URL(EVENTSTORE_URL).port,
      ...KAFKA_BROKERS.split(',').map((broker) => broker.split(':')[1]),
      new URL(MYSQL_URL).port,
    ];
    for (const port of [...needed, '53'])
      assert.ok(
        outside.some((open) => open.protocol === 'TCP' && String(open.port) === port),
        `nothing lets ${port} out`,
      );
    assert.ok(outside.some(({ protocol, port }) => protocol === 'UDP' && port === 53));
  });

  it('runs every pod as what Kubernetes calls restricted, on a file system that it cannot write', () => {
    for (const { spec } of podsOf(objects())) {
      assert.deepEqual(spec.securityContext, {
        runAsNonRoot: true,
        runAsUser: 1000,
        runAsGroup: 1000,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      const [container] = spec.containers;
      assert.deepEqual(container.securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      assert.equal(spec.automountServiceAccountToken, false);
      assert.deepEqual(
        container.volumeMounts.map(({ name }) => name),
        spec.volumes.map(({ name }) => name),
      );
    }
  });

  it('gives every container what it may use and no variables of other services', () => {
    for (const { spec } of podsOf(objects())) {
      const { requests, limits } = spec.containers[0].resources;
      for (const amounts of [requests, limits])
        assert.deepEqual(Object.keys(amounts).sort(), ['cpu', 'memory']);
      assert.equal(spec.enableServiceLinks, false);
    }
  });

  it('lets every role finish what is in progress before it is killed', () => {
    for (const { metadata, spec } of deployments()) {
      const { containers, terminationGracePeriodSeconds = 30 } = spec.template.spec;
      const [, paused = 0] = containers[0].lifecycle?.preStop.exec.command ?? [];
      const { SHUTDOWN_MS, SHUTDOWN_LEAD_MS } = config();
      const needed = Number(paused) + (SHUTDOWN_LEAD_MS + SHUTDOWN_MS) / 1000;
      assert.ok(terminationGracePeriodSeconds > needed, metadata.name);
    }
  });

  it('scales the API by CPU and the telemetry projectors by their lag, up to one for each partition', () => {
    const scalers = ofKind(objects(), 'HorizontalPodAutoscaler');
    assert.deepEqual(names(scalers), ['fieldlog-api', 'fieldlog-telemetry-projector']);
    for (const { metadata, spec } of scalers) {
      assert.equal(spec.scaleTargetRef.name, metadata.name);
      assert.ok(spec.minReplicas >= 2 && spec.maxReplicas > spec.minReplicas);
      const scaled = deployments().find((one) => one.metadata.name === metadata.name);
      assert.equal(
        scaled?.spec.replicas,
        undefined,
        'each deployment would undo what the autoscaler has done',
      );
    }
    const [api, telemetry] = scalers.map(({ spec }) => spec);
    assert.equal(api?.metrics[0]?.resource?.name, 'cpu');
    assert.equal(telemetry?.metrics[0]?.external?.metric.name, 'fieldlog_projection_lag_events');
    assert.equal(telemetry?.maxReplicas, config().KAFKA_PARTITIONS);
  });
}
