import { Gauge, type Registry } from 'prom-client';

export type LedgerMetrics = {
  /** An audit has ended; `differences` are the readings for which ledger and log disagree. */
  audited(differences: number): void;
};

export function ledgerMetrics(registry: Registry): LedgerMetrics {
  const differences = new Gauge({
    name: 'fieldlog_ledger_difference_readings',
    help: 'Readings for which the last audit found ledger and log to disagree; no value before the first audit',
    // Without a label a gauge is 0 from the start, and nothing has been audited then.
    labelNames: ['projection'],
    registers: [registry],
  });
  const at = new Gauge({
    name: 'fieldlog_ledger_audited_timestamp_seconds',
    help: 'When the last audit of the ledger ended, Unix time',
    labelNames: ['projection'],
    registers: [registry],
  });
  return {
    audited(found) {
      differences.set({ projection: 'telemetry' }, found);
      at.set({ projection: 'telemetry' }, Date.now() / 1000);
    },
  };
}
