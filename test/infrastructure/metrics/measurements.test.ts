import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import type { AuditOutcome } from '../../../application/ports/audit-outcomes.ts';
import type { EventSource, Positioned } from '../../../application/ports/event-source.ts';
import type { ProgressQueries } from '../../../application/ports/queries.ts';
import {
  measureConnections,
  measureDependencies,
} from '../../../infrastructure/metrics/dependency-metrics.ts';
import { measureLedger } from '../../../infrastructure/metrics/ledger-metrics.ts';
import { measureProgress } from '../../../infrastructure/metrics/progress-metrics.ts';

const never = new Promise<never>(() => {});

/** The samples of a scrape, as Prometheus gets them. */
async function scraped(registry: Registry): Promise<readonly string[]> {
  const text = await registry.metrics();
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

/** A log of one partition with so many events, numbered from 0. */
const log = (events: number): EventSource<Positioned> => ({
  name: 'devices',
  run: () => Promise.reject(new Error('Nothing is consumed here')),
  ends: async () => new Map([[0, String(events - 1)]]),
  expired: async () => new Map([[0, null]]),
  partitioner: async () => () => 0,
  countAfter: async (_, position) => events - 1 - Number(position ?? -1),
});
const away: EventSource<Positioned> = { ...log(0), ends: () => Promise.reject(new Error('The log is away')) };

const queries = (progress: ProgressQueries['progress']): ProgressQueries => ({
  progress,
  deadLetterCounts: async () => [{ projection: 'telemetry', cause: 'unknown-device', count: 2 }],
  ledgerTotals: () => Promise.reject(new Error('Nobody asks')),
});
const at = (projection: string, position: string) => ({
  projection,
  generation: 1,
  version: 1,
  checkpoints: [{ partition: 0, position }],
});

describe('What is measured when metrics are read', () => {
  let registry: Registry;
  beforeEach(() => {
    registry = new Registry();
  });

  it('tells which dependencies can be used, and takes no answer for a no', async () => {
    measureDependencies(registry, [
      { name: 'answers', check: async () => {} },
      { name: 'refuses', check: () => Promise.reject(new Error('away')) },
      { name: 'hangs', check: () => never },
    ]);
    assert.deepEqual(await scraped(registry), [
      'fieldlog_dependency_up{dependency="answers"} 1',
      'fieldlog_dependency_up{dependency="refuses"} 0',
      'fieldlog_dependency_up{dependency="hangs"} 0',
    ]);
  });

  it('tells how connections are used at that moment', async () => {
    let used = 1;
    measureConnections(registry, [
      { name: 'db', connections: () => ({ used, free: 10 - used, waiting: used - 1 }) },
    ]);
    await scraped(registry);
    used = 3;
    assert.deepEqual(await scraped(registry), [
      'fieldlog_database_connections{database="db",state="used"} 3',
      'fieldlog_database_connections{database="db",state="free"} 7',
      'fieldlog_database_waiting{database="db"} 2',
    ]);
  });

  it('tells how far projections are behind and what waits for somebody', async () => {
    measureProgress(
      registry,
      queries(async () => [at('devices', '4'), at('telemetry', '9')]),
      {
        devices: log(12),
        telemetry: log(10),
      },
    );
    assert.deepEqual((await scraped(registry)).toSorted(), [
      'fieldlog_dead_letters{projection="telemetry",cause="unknown-device"} 2',
      'fieldlog_projection_lag_events{projection="devices"} 7',
      'fieldlog_projection_lag_events{projection="telemetry"} 0',
    ]);
  });

  it('tells of a log that is away nothing, not zero and not what was once true, and of the others all', async () => {
    let telemetry = log(10);
    measureProgress(
      registry,
      queries(async () => [at('devices', '4'), at('telemetry', '9')]),
      {
        devices: log(12),
        get telemetry() {
          return telemetry;
        },
      },
    );
    await scraped(registry);
    telemetry = away;
    assert.deepEqual(await scraped(registry), [
      'fieldlog_projection_lag_events{projection="devices"} 7',
      'fieldlog_dead_letters{projection="telemetry",cause="unknown-device"} 2',
    ]);
  });

  it('is read in time although a database hangs', async () => {
    measureProgress(
      registry,
      queries(() => never),
      { devices: log(1), telemetry: log(1) },
    );
    const before = performance.now();
    assert.deepEqual(await scraped(registry), [
      'fieldlog_dead_letters{projection="telemetry",cause="unknown-device"} 2',
    ]);
    assert.ok(performance.now() - before < 10_000);
  });

  it('tells how the last audit ended, and nothing before the first', async () => {
    let last: AuditOutcome | undefined;
    measureLedger(registry, {
      last: async () => last,
      keep: () => Promise.reject(new Error('Nothing is audited here')),
    });
    assert.deepEqual(await scraped(registry), []);
    last = { at: 1_774_746_000_500, differences: 0 };
    assert.deepEqual(await scraped(registry), [
      'fieldlog_ledger_differences{projection="telemetry"} 0',
      'fieldlog_ledger_audited_timestamp_seconds{projection="telemetry"} 1774746000.5',
    ]);
  });
});
