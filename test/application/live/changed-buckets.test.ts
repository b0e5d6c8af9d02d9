import assert from 'node:assert/strict';
import { ChangedBuckets, keyOf } from '../../../application/live/changed-buckets.ts';
import { ofTelemetry } from '../../../application/live/live-events.ts';
import type { RollupSlice } from '../../../application/ports/queries.ts';
import { addPoint, bucketOf } from '../../../domain/rollup.ts';
import { eventRegistry } from '../../../infrastructure/event-registry.ts';

const minute = 60_000;
const begun = bucketOf('1m', 1_760_000_000_000);

describe('Buckets of a live stream that have changed', () => {
  let seen: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of an event by asserting it.
  let sent: { event: string; data: any; id: string }[];
  let changed: ChangedBuckets;
  /** What the read model has. */
  let slices: Map<string, RollupSlice[]>;

  beforeEach(() => {
    seen = '1';
    sent = [];
    slices = new Map();
    const idOf = (ends: ReadonlyMap<number, string | null>, finalTo: number) => `${ends.get(0)} ${finalTo}`;
    const from = { sentTo: new Map([[0, '1']]), finalTo: begun };
    changed = new ChangedBuckets({ level: '1m', aggregates: ['sum'] }, undefined, from, {
      seen: () => new Map([[0, seen]]),
      canTake: () => true,
      write: (event, data) => sent.push({ event, data, id: idOf(changed.sentTo, changed.finalTo) }),
      idOf,
    });
    changed.begun();
  });

  const read = (position: number, at: number, deviceId = 'a') => {
    seen = String(position);
    const record = {
      ...{ id: 'e/0', type: 'TelemetryRecorded', schemaVersion: 1, position: seen, receivedAt: at },
      ...{ correlationId: 'c', actor: 'test', data: { deviceId, timestamp: at, metrics: { n: 1 } } },
    };
    changed.note(ofTelemetry(record, 0, eventRegistry));
    const slice = { deviceId, metric: 'n', bucket: bucketOf('1m', at) };
    const { stats } = slices.get(keyOf(slice))?.[0] ?? {};
    slices.set(keyOf(slice), [{ ...slice, stats: addPoint(stats, 1, at) }]);
  };
  const look = (reached: number, now: number, ends = reached) => {
    const taken = changed.take({
      ...{ reached: new Map([[0, String(reached)]]), ends: new Map([[0, String(ends)]]), now },
    });
    return { taken, send: () => changed.send(taken, slices) };
  };
  const sums = () => sent.map(({ data: { sum, final }, id }) => [sum, final, id]);

  it('are sent once the read model has them, and as final when the clock and it have passed their end', () => {
    read(2, begun + 1000);
    look(1, begun + 2000).send();
    assert.deepEqual(sums(), []);
    read(3, begun + 3000);
    look(2, begun + 4000).send();
    look(3, begun + 5000).send();
    look(3, begun + 6000).send();
    assert.deepEqual(sums(), [
      [2, false, `2 ${begun + 4000}`],
      [2, false, `3 ${begun + 5000}`],
    ]);
    sent = [];
    // The log goes further than the read model has come: what is between may be in the bucket.
    look(3, begun + minute, 5).send();
    look(4, begun + minute + 1000, 9).send();
    assert.deepEqual(sums(), []);
    assert.equal(changed.finalTo, begun + minute - 1);
    look(5, begun + minute + 2000, 9).send();
    look(6, begun + minute + 3000, 9).send();
    assert.deepEqual(sums(), [[2, true, `3 ${begun + minute + 2000}`]]);
    read(7, begun + 4000);
    look(7, begun + minute + 4000).send();
    assert.deepEqual(sums().at(-1), [3, true, `7 ${begun + minute + 4000}`]);
  });

  it('wait for the next look when the read model could not be read', () => {
    read(2, begun);
    changed.putBack(look(2, begun).taken);
    look(2, begun).send();
    assert.deepEqual(sums(), [[1, false, `2 ${begun}`]]);
  });

  it('are counted in a gap where there were too many of them, which continues before it', () => {
    for (let i = 0; i < 20_003; i += 1) read(i + 2, begun, `d-${i}`);
    look(30_000, begun).send();
    const [gap, ...buckets] = sent;
    const { missed, reason, from, to } = gap?.data ?? {};
    assert.deepEqual(
      [gap?.event, missed, reason, gap?.id, from],
      ['gap', 3, 'slow', `1 ${begun}`, `1 ${begun}`],
    );
    assert.equal(buckets.length, 20_000);
    assert.equal(buckets[0]?.data.deviceId, 'd-3');
    assert.deepEqual([buckets.at(-2)?.id, buckets.at(-1)?.id], [`1 ${begun}`, to]);
  });
});
