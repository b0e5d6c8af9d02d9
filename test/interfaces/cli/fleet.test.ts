import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isReading } from '../../../domain/telemetry.ts';
import { type FleetPlan, type FleetReading, fleet } from '../../../interfaces/cli/simulate/fleet.ts';

const fraction = fc.constantFrom(0, 0.01, 0.3, 1);
const anyPlan: fc.Arbitrary<FleetPlan> = fc.record({
  devices: fc.integer({ min: 1, max: 50 }),
  readings: fc.integer({ min: 1, max: 500 }),
  readingsPerSecond: fc.integer({ min: 1, max: 100_000 }),
  seed: fc.nat(),
  start: fc.integer({ min: 0, max: Date.UTC(2100) }),
  duplicates: fraction,
  late: fraction,
});

function allOf(plan: FleetPlan, batch: number) {
  const stations = fleet(plan);
  const all: FleetReading[] = [];
  for (let some = stations.take(batch); some.length > 0; some = stations.take(batch)) all.push(...some);
  return { stations, all };
}

describe('A simulated fleet', () => {
  const anyRun = [anyPlan, fc.integer({ min: 1, max: 200 })] as const;

  it('makes as many different readings as planned, each of them good, within its range, of a device of its own', () => {
    fc.assert(
      fc.property(...anyRun, (plan, batch) => {
        const { stations, all } = allOf(plan, batch);
        const { from, to } = stations.range;
        const keys = new Set(all.map(({ reading }) => `${reading.deviceId} ${reading.timestamp}`));
        assert.equal(keys.size, plan.readings);
        assert.equal(all.length, plan.readings + stations.sentTwice);
        for (const { reading, device } of all) {
          assert.ok(isReading(reading));
          assert.ok(reading.timestamp >= from && reading.timestamp < to);
          assert.equal(reading.deviceId, stations.devices[device]?.deviceId);
        }
      }),
    );
  });

  it('is the same for the same plan, and another for another seed', () => {
    fc.assert(
      fc.property(...anyRun, (plan, batch) => {
        const { all } = allOf(plan, batch);
        assert.deepEqual(allOf(plan, batch).all, all);
        const other = allOf({ ...plan, seed: plan.seed + 1 }, batch).all;
        assert.notDeepEqual(
          other.map(({ reading }) => reading.metrics),
          all.map(({ reading }) => reading.metrics),
        );
      }),
    );
  });

  it('sends as many twice and late as it is asked to', () => {
    const plan = { devices: 10, readings: 20_000, readingsPerSecond: 1000, seed: 1, start: 0 };
    const { stations, all } = allOf({ ...plan, duplicates: 0.1, late: 0.05 }, 100);
    assert.ok(Math.abs(stations.sentTwice - 2000) < 200);
    assert.ok(Math.abs(stations.sentLate - 1000) < 150);
    const newest = new Map<number, number>();
    let outOfOrder = 0;
    for (const { device, reading } of all) {
      if (reading.timestamp < (newest.get(device) ?? 0)) outOfOrder += 1;
      newest.set(device, Math.max(reading.timestamp, newest.get(device) ?? 0));
    }
    assert.ok(outOfOrder > 800);
  });
});
