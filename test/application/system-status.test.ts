import assert from 'node:assert/strict';
import { systemStatus } from '../../application/system-status.ts';

describe('The status of the system', () => {
  const ledger = { stored: 5, duplicate: 4, corrected: 3, deadLettered: 2, retracted: 1 };
  const progress = {
    progress: async () => [
      { projection: 'devices', generation: 2, version: 1, checkpoints: [] },
      { projection: 'telemetry', generation: 1, version: 3, checkpoints: [{ partition: 0, position: '42' }] },
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
    }),
    waitFor: async () => assert.fail('it waits for nothing'),
  };

  it('tells each projection with its own lag and its own dead letters, and the ledger', async () => {
    assert.deepEqual(await systemStatus(progress, freshness), {
      projections: [
        { projection: 'devices', generation: 2, version: 1, positions: [], lag: 3, deadLetters: {} },
        {
          projection: 'telemetry',
          generation: 1,
          version: 3,
          positions: ['telemetry:0:42'],
          lag: null,
          deadLetters: { failed: 1, behind: 7 },
        },
      ],
      ledger,
    });
  });
});
