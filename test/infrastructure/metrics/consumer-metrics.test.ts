import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import { consumerMetrics } from '../../../infrastructure/metrics/telemetry-log-metrics.ts';

describe('Metrics of consumers', () => {
  it('count messages that expired and consumers that were given up, from zero on', async () => {
    const registry = new Registry();
    const { onHistoryLost, onRebuilt } = consumerMetrics(registry);
    const values = async () =>
      [...(await registry.metrics()).matchAll(/^fieldlog_(\w+) (\d+)$/gm)].map(([, name, value]) => [
        name,
        Number(value),
      ]);
    const [expired, lost] = ['telemetry_expired_messages_total', 'telemetry_consumers_lost_total'];
    assert.deepEqual(await values(), [
      [expired, 0],
      [lost, 0],
    ]);
    onHistoryLost(3, 70);
    onHistoryLost(0, 2);
    onRebuilt();
    assert.deepEqual(await values(), [
      [expired, 72],
      [lost, 1],
    ]);
  });
});
