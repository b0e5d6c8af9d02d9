import assert from 'node:assert/strict';
import fc from 'fast-check';
import { pauseAfter } from '../../../infrastructure/eventstoredb/connection.ts';
import { logPosition, toPosition } from '../../../infrastructure/eventstoredb/recorded-events.ts';

describe('The pause before another attempt', () => {
  it('is anything up to twice that of the attempt before, and up to the longest', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.integer({ min: 1, max: 60_000 }),
        (failures, longest) => {
          const pause = pauseAfter(failures, longest);
          assert.ok(pause >= 0 && pause < Math.min(longest, 100 * 2 ** (failures - 1)));
        },
      ),
    );
  });

  it('differs from client to client', () => {
    assert.ok(new Set(Array.from({ length: 20 }, () => pauseAfter(5, 5_000))).size > 1);
  });
});

describe('A position of EventStoreDB', () => {
  const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

  it('keeps both numbers to the last digit', () => {
    fc.assert(
      fc.property(uint64, uint64, (commit, prepare) => {
        assert.deepEqual(logPosition(toPosition({ commit, prepare })), { commit, prepare });
      }),
    );
  });

  it('is not taken for that of another store', () => {
    for (const foreign of ['', '42', '4-', '-4', '1-2-3', '0x1-2', ' 1-2', '1.5-2'])
      assert.throws(() => logPosition(foreign), /is not a position of EventStoreDB/);
  });
});
