import assert from 'node:assert/strict';
import type { LatestRow, TelemetryTables } from '../../application/ports/read-models.ts';
import { CacheBudget, TelemetryCache } from '../../application/projections/telemetry-cache.ts';

const metrics: LatestRow['metrics'] = new Map(
  Array.from({ length: 8 }, (_, i) => [`metric-${i}`, [i, 1]] as const),
);

describe('What telemetry projectors remember of devices', () => {
  let read: string[];
  const tables = {
    async latest(ids: readonly string[]) {
      read.push(...ids);
      return ids.map((deviceId) => ({ deviceId, timestamp: 1, metrics }));
    },
  } as unknown as TelemetryTables;

  beforeEach(() => {
    read = [];
  });

  const idsOf = (partition: number, count: number) =>
    Array.from({ length: count }, (_, i) => `p${partition}-${String(i).padStart(5, '0')}`);

  /** A batch with these devices; answers with those that had to be read from the tables. */
  async function use(cache: TelemetryCache, ids: readonly string[]): Promise<readonly string[]> {
    read = [];
    await cache.load(ids, tables);
    cache.trim();
    return read;
  }

  it('is bounded over all partitions together, and those used last stay', async () => {
    const budget = new CacheBudget(1_000_000);
    const caches = Array.from({ length: 12 }, () => new TelemetryCache(budget));
    for (const [partition, cache] of caches.entries()) await use(cache, idsOf(partition, 1000));
    let known = 0;
    for (const [partition, cache] of [...caches.entries()].reverse())
      known += 1000 - (await use(cache, idsOf(partition, 1000))).length;
    assert.ok(known >= 300 && known <= 1000, `${known} of 12,000 devices`);
  });

  it('gives way to others where a partition is used no longer', async () => {
    const budget = new CacheBudget(1_000_000);
    const [lost, mine] = [new TelemetryCache(budget), new TelemetryCache(budget)];
    const few = idsOf(2, 400);
    await use(lost, idsOf(1, 400));
    await use(mine, few);
    await use(mine, few);
    assert.deepEqual(await use(mine, few), []);
    assert.ok((await use(lost, idsOf(1, 400))).length >= 50);
  });

  it('is never taken from a batch that is being applied', async () => {
    const budget = new CacheBudget(0);
    const [busy, other] = [new TelemetryCache(budget), new TelemetryCache(budget)];
    const before = await busy.load(['a'], tables);
    await use(other, ['b']);
    assert.equal((await busy.load(['a'], tables)).get('a'), before.get('a'));
    busy.trim();
    assert.notEqual((await busy.load(['a'], tables)).get('a'), before.get('a'));
  });

  it('counts nothing of what was forgotten', async () => {
    const budget = new CacheBudget(1_000_000);
    const [some, others] = [new TelemetryCache(budget), new TelemetryCache(budget)];
    for (let n = 0; n < 20; n += 1) {
      await use(some, idsOf(n, 400));
      if (n % 2) some.clear();
      else for (const id of idsOf(n, 400)) some.forget(id);
    }
    await use(others, idsOf(99, 400));
    assert.deepEqual(await use(others, idsOf(99, 400)), []);
  });
});
