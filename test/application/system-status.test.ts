import assert from 'node:assert/strict';
import { systemStatus } from '../../application/operations/status.ts';

describe('The status of the system', () => {
  const ledger = {
    stored: 5,
    duplicate: 4,
    corrected: 3,
    deadLettered: 2,
    late: 6,
    retracted: 1,
    expired: 7,
  };
  const progress = {
    progress: async () => [
      { projection: 'devices', generation: 2, version: 1, checkpoints: [], reached: [] },
      {
        projection: 'telemetry',
        generation: 1,
        version: 3,
        checkpoints: [{ partition: 0, position: '42' }],
        reached: [],
      },
    ],
    deadLetterCounts: async () => [
      { projection: 'telemetry', cause: 'failed', count: 1 },
      { projection: 'telemetry', cause: 'behind', count: 7 },
    ],
    ledgerTotals: async () => ledger,
  };
  const freshness = {
    status: async ([name]: readonly string[]) => ({
      positions: name === 'telemetry' ? ['telemetry:0:42'] : [],
      lag: name === 'telemetry' ? null : 3,
      lagIsAtLeast: name === 'devices',
    }),
    waitFor: async () => assert.fail('it waits for nothing'),
  };

  const retention = {
    schedule: async () => [
      { since: 0, policy: [] },
      { since: 1, policy: [{ type: 'boiler', keep: { points: 90, '1d': null } }] },
    ],
    activeSweep: async () => ({
      sweptTo: null,
      target: 2,
      after: 'd-1',
      removed: { points: 1, '1m': 2, '1h': 3, '1d': 4, trimmed: 5 },
      endedAt: null,
    }),
  };

  it('tells each projection with its own lag and its own dead letters, the ledger and retention', async () => {
    assert.deepEqual(await systemStatus(progress, freshness, retention), {
      projections: [
        {
          projection: 'devices',
          generation: 2,
          version: 1,
          positions: [],
          lag: 3,
          lagIsAtLeast: true,
          deadLetters: {},
        },
        {
          projection: 'telemetry',
          generation: 1,
          version: 3,
          positions: ['telemetry:0:42'],
          lag: null,
          lagIsAtLeast: false,
          deadLetters: { failed: 1, behind: 7 },
        },
      ],
      ledger,
      retention: {
        policy: [{ type: 'boiler', points: '90d', days: 'forever' }],
        since: '1970-01-01T00:00:00.001Z',
        sweptTo: null,
        sweeping: { to: '1970-01-01T00:00:00.002Z', after: 'd-1' },
        endedAt: null,
        removed: { points: 1, minutes: 2, hours: 3, days: 4, trimmed: 5 },
      },
      writeAheadLog: null,
    });
  });
});
