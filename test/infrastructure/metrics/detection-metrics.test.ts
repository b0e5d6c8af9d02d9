import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import { measureDetection } from '../../../infrastructure/metrics/detection-metrics.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { detectionFixture } from '../../support/detection-fixture.ts';
import { onEachEngine } from '../../support/each-engine.ts';

/** The samples of a scrape, as Prometheus gets them. */
async function scraped(registry: Registry): Promise<readonly string[]> {
  const text = await registry.metrics();
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

onEachEngine('Metrics of detection', (open) => {
  it('count open alarms by severity, and what was judged and not', async () => {
    const stores = await open();
    const fixture = await detectionFixture({ ...stores.env, DETECTION_SERIES: '2' });
    try {
      const registry = new Registry();
      measureDetection(registry, await fixture.container.getAsync(s.alarmQueries));
      for (const deviceId of ['a', 'b', 'c']) await fixture.register(deviceId);
      const condition = { kind: 'range', above: 30 } as const;
      await fixture.rule('hot', { severity: 'critical', condition });
      await fixture.measure('a', [
        [1000, { t: 31 }],
        [2000, { t: 32 }],
      ]);
      await fixture.measure('b', [
        [1000, { t: 31 }],
        [1000, { t: 33 }],
        [2000, { t: 20 }],
        [3000, { t: 'broken' }],
      ]);
      await fixture.measure('c', [[1000, { t: 31 }]]);
      const stop = fixture.consuming([fixture.pipelines.detection]);
      await fixture.consumed('detection');
      await stop();
      assert.deepEqual(await scraped(registry), [
        'fieldlog_alarms_open{severity="info"} 0',
        'fieldlog_alarms_open{severity="warning"} 0',
        'fieldlog_alarms_open{severity="critical"} 1',
        'fieldlog_detection_series{projection="detection"} 2',
        'fieldlog_detection_points_total{projection="detection"} 4',
        'fieldlog_detection_skipped_total{reason="out-of-order"} 1',
        'fieldlog_detection_skipped_total{reason="unwatched"} 1',
        'fieldlog_detection_skipped_total{reason="text"} 1',
      ]);
      // A second scrape counts nothing twice.
      assert.ok(
        (await scraped(registry)).includes('fieldlog_detection_points_total{projection="detection"} 4'),
      );
    } finally {
      await fixture.close();
      await stores.drop();
    }
  });
});

describe('Metrics of detection without the database', () => {
  it('say nothing, rather than that no alarm is open', async () => {
    const registry = new Registry();
    const away = () => Promise.reject(new Error('away'));
    measureDetection(registry, { openCounts: away, totals: away });
    assert.deepEqual(await scraped(registry), []);
  });
});
