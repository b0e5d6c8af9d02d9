import assert from 'node:assert/strict';
import type { BatchConsumer, Positioned } from '../../../application/ports/event-source.ts';
import { throttled } from '../../../application/rebuild/build.ts';
import { PositionGate } from '../../../application/rebuild/position-gate.ts';

const never = new AbortController().signal;
const positions = (...all: number[]): Positioned[] => all.map((position) => ({ position: String(position) }));

describe('A batch on its way to a consumer', () => {
  let handed: (readonly string[])[];
  const handling: BatchConsumer<Positioned> = {
    checkpoint: async () => null,
    async consume({ events, onApplied: handled }) {
      handed.push(events.map(({ position }) => position));
      handled?.();
    },
  };
  beforeEach(() => {
    handed = [];
  });

  it('is handled at once where it passes whole', async () => {
    for (const consumer of [
      opened(new PositionGate(handling, never)),
      throttled(handling, () => undefined, never),
    ]) {
      let handled = 0;
      await consumer.consume({
        partition: 0,
        after: null,
        events: positions(1, 2),
        onApplied: () => {
          handled += 1;
        },
      });
      assert.equal(handled, 1);
    }
    assert.deepEqual(handed, [
      ['1', '2'],
      ['1', '2'],
    ]);
  });

  it('is not handled before the gate has let its last part through', async () => {
    const gate = new PositionGate(handling, never);
    gate.limit(new Map([[0, '2']]));
    let handledAt = 0;
    const consumed = gate.consume({
      partition: 0,
      after: null,
      events: positions(1, 2, 3),
      onApplied: () => {
        handledAt = handed.length;
      },
    });
    await gate.whenReached(new Map([[0, '2']]));
    assert.equal(handledAt, 0);
    gate.limit('none');
    await consumed;
    assert.deepEqual(handed, [['1', '2'], ['3']]);
    assert.equal(handledAt, 2);
  });

  it('is not handled before the throttle has paused for its last part', async () => {
    const consumer = throttled(handling, () => 1_000_000, never);
    await consumer.consume({
      partition: 0,
      after: null,
      events: positions(1),
      onApplied: () => assert.fail('the next batch would not be throttled'),
    });
    assert.deepEqual(handed, [['1']]);
  });
});

function opened(gate: PositionGate<Positioned>): PositionGate<Positioned> {
  gate.limit('none');
  return gate;
}
