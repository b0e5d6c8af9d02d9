import assert from 'node:assert/strict';
import {
  deviceRetention,
  findShorterCoarse,
  formatPolicy,
  type RetentionPolicy,
  retentionDays,
} from '../../domain/retention.ts';

const day = 86_400_000;
const boiler = [{ since: 0, type: 'boiler' }];
const since = (at: number, ...policy: RetentionPolicy) => ({ since: at, policy });

describe('How far back a device is kept', () => {
  it('is decided by the rule that says most of it: metric, then type, then all', () => {
    const policy: RetentionPolicy = [
      { keep: { points: 1, '1d': null } },
      { type: 'boiler', keep: { points: 2 } },
      { metric: 'vib', keep: { points: 3 } },
      { type: 'boiler', metric: 'vib', keep: { points: 4 } },
    ];
    for (const order of [policy, policy.toReversed()]) {
      assert.equal(retentionDays(order, 'points', 'meter', 'temp'), 1);
      assert.equal(retentionDays(order, 'points', 'boiler', 'temp'), 2);
      assert.equal(retentionDays(order, 'points', 'meter', 'vib'), 3);
      assert.equal(retentionDays(order, 'points', 'boiler', 'vib'), 4);
      assert.equal(retentionDays(order, '1h', 'boiler', 'vib'), null);
      assert.equal(retentionDays(order, '1d', 'boiler', 'temp'), null);
    }
  });

  it('is by whole days, and for ever where no rule speaks of it', () => {
    assert.equal(deviceRetention([], boiler), undefined);
    assert.equal(deviceRetention([since(0, { type: 'meter', keep: { points: 1 } })], boiler), undefined);
    const kept = deviceRetention([since(0, { keep: { points: 2 } })], boiler);
    assert.equal(kept?.horizon('points', 'temp', 10 * day), 8 * day);
    assert.equal(kept?.horizon('points', 'temp', 11 * day - 1), 8 * day);
    assert.equal(kept?.horizon('1m', 'temp', 10 * day), Number.NEGATIVE_INFINITY);
    assert.equal(kept?.horizon('points', 'temp', -1), Number.NEGATIVE_INFINITY);
  });

  it('never goes back to what was too old before, whatever policy or type comes', () => {
    const kept = deviceRetention(
      [since(0, { type: 'boiler', keep: { points: 2 } }), since(20 * day, { keep: { points: 10 } })],
      [...boiler, { since: 10 * day, type: 'meter' }],
    );
    const at = (moment: number) => kept?.horizon('points', 'temp', moment);
    assert.equal(at(9 * day), 7 * day);
    assert.equal(at(15 * day), 8 * day);
    assert.equal(at(20 * day), 10 * day);
    assert.equal(at(21 * day), 11 * day);
  });

  it('tells what to look at since the last time, metrics that move alike once', () => {
    const kept = deviceRetention(
      [since(0, { keep: { points: 5 } }, { metric: 'vib', keep: { points: 2 } })],
      boiler,
    );
    assert.deepEqual(kept?.horizonRanges('points', null, 10 * day), [
      { from: Number.NEGATIVE_INFINITY, to: 5 * day },
      { from: Number.NEGATIVE_INFINITY, to: 8 * day },
    ]);
    assert.deepEqual(kept?.horizonRanges('points', 10 * day, 11 * day), [
      { from: Number.NEGATIVE_INFINITY, to: 6 * day },
      { from: 8 * day, to: 9 * day },
    ]);
    assert.deepEqual(kept?.horizonRanges('1m', 10 * day, 11 * day), []);
    assert.equal(kept?.oldest('points', 10 * day), 5 * day);
    assert.equal(kept?.newest('points', 10 * day), 8 * day);
  });

  it('is not at all while the data of the device is erased', () => {
    const schedule = [since(0, { keep: { points: 2 } })];
    const erased = deviceRetention(schedule, [
      { since: 0, type: 'boiler' },
      { since: 5 * day, type: null },
      { since: 7 * day, type: 'boiler' },
    ]);
    const at = (moment: number) => erased?.horizon('1d', 'temp', moment);
    assert.equal(at(5 * day - 1), Number.NEGATIVE_INFINITY);
    assert.equal(at(5 * day), Number.POSITIVE_INFINITY);
    assert.equal(at(7 * day - 1), Number.POSITIVE_INFINITY);
    assert.equal(at(7 * day), Number.NEGATIVE_INFINITY);
    assert.deepEqual(erased?.horizonRanges('1d', 5 * day, 6 * day), [
      { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY },
    ]);
  });

  it('is by the rules for all, and of each metric, where nothing is known of its type', () => {
    const policy: RetentionPolicy = [
      { keep: { points: 4 } },
      { metric: 'vib', keep: { points: 2 } },
      { type: 'boiler', keep: { points: 1 } },
    ];
    const kept = deviceRetention([since(0, ...policy)], []);
    assert.equal(kept?.horizon('points', 'temp', 10 * day), 6 * day);
    assert.equal(kept?.horizon('points', 'vib', 10 * day), 8 * day);
  });
});

describe('A retention policy', () => {
  it('keeps what is coarser for as long as what is finer, for each type and metric', () => {
    const longer: RetentionPolicy = [{ keep: { points: 10, '1m': 20, '1h': 20, '1d': null } }];
    assert.equal(findShorterCoarse([]), undefined);
    assert.equal(findShorterCoarse(longer), undefined);
    const rule = { keep: { points: 10, '1m': 9 } };
    assert.deepEqual(findShorterCoarse([rule]), { finer: 'points', coarser: '1m', rule });
    const forEver = { keep: { '1h': null, '1d': 5 } };
    assert.deepEqual(findShorterCoarse([forEver]), { finer: '1h', coarser: '1d', rule: forEver });
  });

  it('keeps it so where rules for a type and rules for a metric meet', () => {
    const ofType = { type: 'boiler', keep: { points: 10, '1m': 10 } } as const;
    const ofMetric = { metric: 'vib', keep: { '1m': 5, '1h': 10, '1d': 10 } } as const;
    const policy: RetentionPolicy = [{ keep: { points: 1, '1m': 10, '1h': 10, '1d': 10 } }, ofType, ofMetric];
    assert.deepEqual(findShorterCoarse(policy)?.finer, 'points');
    assert.deepEqual(findShorterCoarse(policy)?.coarser, '1m');
    assert.equal(findShorterCoarse(policy.filter((rule) => rule !== ofType)), undefined);
    assert.equal(findShorterCoarse(policy.filter((rule) => rule !== ofMetric)), undefined);
  });

  it('is shown as operators write it', () => {
    assert.deepEqual(
      formatPolicy([
        { keep: { points: 90, '1d': null } },
        { type: 'boiler', metric: 'vib', keep: { '1m': 1, '1h': 2 } },
      ]),
      [
        { points: '90d', days: 'forever' },
        { type: 'boiler', metric: 'vib', minutes: '1d', hours: '2d' },
      ],
    );
  });
});
