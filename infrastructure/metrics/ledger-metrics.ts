import { Gauge, type Registry } from 'prom-client';
import type { AuditOutcomes } from '../../application/ports/audit.ts';
import { answered } from './answered.ts';

/** Tells, whenever the metrics are read, how the last audit ended; nothing before the first. */
export function measureLedger(registry: Registry, audits: AuditOutcomes): void {
  // With a label, for a gauge without one is 0 from the start, and nothing has been audited then.
  const labelNames = ['projection'] as const;
  new Gauge({
    name: 'fieldlog_ledger_differences',
    help: 'Devices and days for which the last audit found log, ledger and table to disagree',
    labelNames,
    registers: [registry],
    async collect() {
      this.reset();
      const outcome = await answered(audits.last());
      if (outcome) this.set({ projection: 'telemetry' }, outcome.differences);
    },
  });
  new Gauge({
    name: 'fieldlog_ledger_audited_timestamp_seconds',
    help: 'When the last audit ended, Unix time',
    labelNames,
    registers: [registry],
    async collect() {
      this.reset();
      const outcome = await answered(audits.last());
      if (outcome) this.set({ projection: 'telemetry' }, outcome.at / 1000);
    },
  });
}
