import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import type { AuditOutcome } from '../../../application/ports/audit.ts';
import { type EventSource, exactly, type Positioned } from '../../../application/ports/event-source.ts';
import type { ProgressQueries } from '../../../application/ports/queries.ts';
import type { TelemetryPublication } from '../../../application/ports/telemetry-log.ts';
import { measureConnections, measureDependencies } from '../../../infrastructure/metrics/process-metrics.ts';
import {
  measureLedger,
  measureProgress,
  meteredSql,
  waitingTimes,
} from '../../../infrastructure/metrics/read-model-metrics.ts';
import { MeteredTelemetryLog } from '../../../infrastructure/metrics/telemetry-log-metrics.ts';

const never = new Promise<never>(() => {});
const failing = () => Promise.reject(new Error('no'));

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
  identity: async () => null,
  eventAt: async () => 'unknown',
  countAfter: async (_, position) => exactly(events - 1 - Number(position ?? -1)),
});
const isAway = () => Promise.reject(new Error('The log is away'));
const away: EventSource<Positioned> = { ...log(0), ends: isAway, expired: isAway, countAfter: isAway };

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
  reached: [{ partition: 0, position }],
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
      () => 0,
    );
    assert.deepEqual((await scraped(registry)).toSorted(), [
      'fieldlog_dead_letters{projection="telemetry",cause="unknown-device"} 2',
      'fieldlog_projection_lag_events{projection="devices"} 7',
      'fieldlog_projection_lag_events{projection="telemetry"} 0',
      'fieldlog_projection_lag_seconds{projection="devices"} 0',
      'fieldlog_projection_lag_seconds{projection="telemetry"} 0',
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
      () => 0,
    );
    await scraped(registry);
    telemetry = away;
    assert.deepEqual(await scraped(registry), [
      'fieldlog_projection_lag_events{projection="devices"} 7',
      'fieldlog_projection_lag_seconds{projection="devices"} 0',
      'fieldlog_dead_letters{projection="telemetry",cause="unknown-device"} 2',
    ]);
  });

  it('tells how long the first event that waits has been seen to', async () => {
    let now = 0;
    let events = 5;
    let reached = '4';
    const source = { ...log(0), ends: async () => new Map([[0, String(events - 1)]]) };
    measureProgress(
      registry,
      queries(async () => [at('devices', reached)]),
      { devices: source, telemetry: away },
      () => now,
    );
    const shown = async () =>
      (await scraped(registry))
        .find((line) => line.includes('lag_seconds'))
        ?.split(' ')
        .at(-1);
    assert.equal(await shown(), '0');
    for (const [second, end, position, expected] of [
      [5, 8, '4', '0'],
      [10, 8, '4', '5'],
      // More arrive: the first of those before still waits.
      [15, 20, '6', '10'],
      // Of those before none does.
      [20, 30, '7', '5'],
      [25, 30, '29', '0'],
      [90, 31, '29', '0'],
    ] as const) {
      now = second * 1000;
      events = end;
      reached = position;
      assert.equal(await shown(), expected, `after ${second} s`);
    }
  });

  it('keeps to a few hundred sightings of a log that nobody consumes, the first among them', async () => {
    let now = 0;
    const source = { ...log(0), ends: async () => new Map([[0, String(now)]]) };
    const waiting = waitingTimes(() => now);
    for (now = 1000; now <= 5_000_000; now += 1000) await waiting.longest('telemetry', source, []);
    assert.ok(waiting.sightings() <= 256);
    now = 6_000_000;
    assert.equal(await waiting.longest('telemetry', source, []), 5999);
    // Too little, by no more than the gaps between what was noted.
    const half = [{ partition: 0, position: '3000000' }];
    const shown = await waiting.longest('telemetry', source, half);
    assert.ok(shown <= 3000 && shown > 2900, String(shown));
  });

  it('tells how long queries take, those that fail too', async () => {
    const sql = meteredSql({ dialect: 'sqlite', all: async () => [], rows: failing }, registry);
    await sql.all('SELECT 1');
    await assert.rejects(sql.rows('SELECT 1'));
    const counts = (await scraped(registry)).filter((line) =>
      line.startsWith('fieldlog_query_seconds_count'),
    );
    assert.deepEqual(counts, [
      'fieldlog_query_seconds_count{outcome="done"} 1',
      'fieldlog_query_seconds_count{outcome="failed"} 1',
    ]);
  });

  it('tells how long publications take and how many wait', async () => {
    const durable = Promise.withResolvers<readonly []>();
    const log = new MeteredTelemetryLog({ publish: () => durable.promise }, registry);
    const shown = async () =>
      (await scraped(registry)).filter((line) => /publish_(waiting|seconds_count)/.test(line));
    const publication = {} as TelemetryPublication;
    const published = [log.publish(publication), log.publish(publication)];
    assert.deepEqual(await shown(), ['fieldlog_publish_waiting 2']);
    durable.resolve([]);
    await Promise.all(published);
    const away = new MeteredTelemetryLog({ publish: failing }, new Registry());
    await assert.rejects(away.publish(publication));
    assert.deepEqual(await shown(), [
      'fieldlog_publish_seconds_count{outcome="durable"} 2',
      'fieldlog_publish_waiting 0',
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
      save: () => Promise.reject(new Error('Nothing is audited here')),
    });
    assert.deepEqual(await scraped(registry), []);
    last = { at: 1_774_746_000_500, differences: 0 };
    assert.deepEqual(await scraped(registry), [
      'fieldlog_ledger_differences{projection="telemetry"} 0',
      'fieldlog_ledger_audited_timestamp_seconds{projection="telemetry"} 1774746000.5',
    ]);
  });
});
