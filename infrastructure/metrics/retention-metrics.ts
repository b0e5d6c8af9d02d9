import { Gauge, type Registry } from 'prom-client';
import type { RetentionRecords } from '../../application/ports/retention.ts';
import { answered } from './answered.ts';

/** Tells, whenever the metrics are read, what has been removed of the active generation; nothing before the first. */
export function measureRetention(registry: Registry, records: Pick<RetentionRecords, 'activeSweep'>): void {
  const sweep = () => answered(records.activeSweep('telemetry'));
  new Gauge({
    name: 'fieldlog_retention_removed_rows',
    help: 'Rows removed of the active generation because they are kept no longer; trimmed are those that lost a metric',
    labelNames: ['kind'],
    registers: [registry],
    async collect() {
      this.reset();
      for (const [kind, rows] of Object.entries((await sweep())?.removed ?? {})) this.set({ kind }, rows);
    },
  });
  new Gauge({
    name: 'fieldlog_retention_swept_to_timestamp_seconds',
    help: 'Everything is gone of the active generation that was too old at this moment, Unix time',
    // With a label, for a gauge without one is 0 from the start.
    labelNames: ['projection'],
    registers: [registry],
    async collect() {
      this.reset();
      const sweptTo = (await sweep())?.sweptTo ?? null;
      if (sweptTo !== null) this.set({ projection: 'telemetry' }, sweptTo / 1000);
    },
  });
}
