import assert from 'node:assert/strict';
import type { EventSource, Position, Positioned } from '../../application/ports/event-source.ts';
import type { ProgressQueries } from '../../application/ports/queries.ts';
import {
  lagWithinMilliseconds,
  NotYetProjected,
  progressReader,
  UnknownPartition,
} from '../../application/progress.ts';
import { eventually } from '../support/eventually.ts';

type Source = EventSource<Positioned>;

describe('How far projections have come', () => {
  let ends: PromiseWithResolvers<ReadonlyMap<number, Position | null>>;
  let asked: number;
  let now: number;
  let reached: Position;

  const queries = {
    progress: async () => [
      {
        projection: 'devices',
        generation: 1,
        version: 1,
        checkpoints: [{ partition: 0, position: '5' }],
        reached: [{ partition: 0, position: reached }],
      },
    ],
  } as unknown as ProgressQueries;

  beforeEach(() => {
    reached = '6';
    ends = Promise.withResolvers();
    asked = 0;
    now = 0;
  });

  function reader() {
    const source = {
      expired: () => {
        asked += 1;
        return ends.promise;
      },
      countAfter: async (_: number, position: Position) => ({
        events: 9 - Number(position),
        isAtLeast: Number(position) < 8,
      }),
    } as unknown as Source;
    return progressReader(queries, { devices: source, telemetry: source }, { now: () => now });
  }

  it('leaves out a lag that the log does not tell in time, and asks it once', async () => {
    const progress = reader();
    const status = () => progress.status(['devices'], 20);
    for (const { positions, lag } of [
      await status(),
      await status(),
      ...(await Promise.all([status(), status()])),
    ])
      assert.deepEqual([positions, lag], [['devices:0:5'], null]);
    assert.equal(asked, 1);
    ends.resolve(new Map([[0, '8']]));
    assert.equal((await progress.status(['devices'])).lag, 3);
    assert.equal((await status()).lag, 3);
    assert.equal(asked, 1);
  });

  it('takes a tenth of a second at most with a log that does not answer, and nobody waits for the same count again', async () => {
    assert.ok(lagWithinMilliseconds <= 50, 'what is left is for the rest of the answer');
    const progress = reader();
    const first = progress.status(['devices'], 60_000);
    let isAnswered = false;
    first.then(() => {
      isAnswered = true;
    });
    await eventually(() => assert.equal(asked, 1));
    now = 60_000;
    assert.equal((await progress.status(['devices'], 60_000)).lag, null);
    assert.equal(isAnswered, false);
    ends.resolve(new Map([[0, '8']]));
    assert.equal((await first).lag, 3);
    now += 200;
    assert.equal((await progress.status(['devices'], 60_000)).lag, 3);
    assert.equal(asked, 1);
  });

  it('counts a lag again at once where it was a bound and the projection has moved, otherwise after a moment', async () => {
    ends.resolve(new Map([[0, '8']]));
    const progress = reader();
    const lag = async (position: Position) => {
      reached = position;
      const { lag, lagIsAtLeast } = await progress.status(['devices']);
      return [lag, lagIsAtLeast];
    };
    assert.deepEqual([await lag('6'), await lag('6'), asked], [[3, true], [3, true], 1]);
    assert.deepEqual([await lag('8'), asked], [[1, false], 2]);
    assert.deepEqual([await lag('9'), asked], [[1, false], 2]);
    now += 1_000;
    assert.deepEqual([await lag('9'), asked], [[0, false], 3]);
  });

  it('waits for the lag where that is what is asked for', async () => {
    const status = reader().status(['devices']);
    ends.resolve(new Map([[0, '8']]));
    assert.equal((await status).lag, 3);
  });

  it('does not wait for it to say that a position is not reached', async () => {
    const awaited = [{ source: 'devices', partition: 0, position: '9' }] as const;
    await assert.rejects(reader().waitFor(['devices'], awaited, 0), (error) => {
      assert.ok(error instanceof NotYetProjected);
      return error.lag === null;
    });
  });

  it('refuses to wait for a partition that the log does not have, and asks for the others once', async () => {
    ends.resolve(new Map([[0, null]]));
    const progress = reader();
    const waitFor = (partition: number, source: 'devices' | 'telemetry' = 'devices') =>
      progress.waitFor(['devices'], [{ source, partition, position: '6' }], 1_000);
    await waitFor(0);
    await waitFor(0);
    assert.equal(asked, 1);
    await assert.rejects(waitFor(7), UnknownPartition);
    await waitFor(7, 'telemetry');
  });
});
