import assert from 'node:assert/strict';
import { DevicePeriods } from '../../../application/detection/device-periods.ts';
import { FollowedEvents } from '../../../application/detection/followed-events.ts';
import type { EventRegistry } from '../../../application/ports/event-registry.ts';
import type { BatchConsumer, RunOptions } from '../../../application/ports/event-source.ts';
import type { EventStore, RecordedEvent } from '../../../application/ports/event-store.ts';

const recorded = (position: string) => ({ id: `e${position}`, position }) as RecordedEvent;

/** A source whose events and end the test decides. */
function sourceOf(end: string) {
  let consumer: BatchConsumer<RecordedEvent> | undefined;
  const started = Promise.withResolvers<BatchConsumer<RecordedEvent>>();
  return {
    started: started.promise,
    moveEnd(to: string) {
      end = to;
    },
    ends: async () => new Map([[0, end]]),
    eventAt: async (_: number, position: string) => ({ id: `e${position}` }),
    run(given: BatchConsumer<RecordedEvent>, { signal }: RunOptions): Promise<void> {
      consumer = given;
      started.resolve(consumer);
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
    },
  };
}

describe('Followed events', () => {
  const follow = (source: ReturnType<typeof sourceOf>, now = () => 0) => {
    const events = new FollowedEvents(source, 'test', { now });
    const seen: string[] = [];
    events.listen({
      add: (arrived) => void seen.push(...arrived.map(({ id }) => id)),
      clear: () => void seen.splice(0),
    });
    return { events, seen };
  };

  it('settle once all that there was has been handed over, each event once', async () => {
    const source = sourceOf('2');
    const { events, seen } = follow(source);
    const settled = events.settle();
    const consumer = await source.started;
    await consumer.consume({ partition: 0, after: null, events: [recorded('1')] });
    await consumer.consume({ partition: 0, after: null, events: [recorded('1'), recorded('2')] });
    await settled;
    assert.deepEqual(seen, ['e1', 'e2']);
    await events.close();
  });

  it('settle when what is left is of others', async () => {
    const source = sourceOf('9');
    const { events, seen } = follow(source);
    const settled = events.settle();
    await (await source.started).skip?.(0, null, { position: '9' });
    await settled;
    assert.deepEqual(seen, []);
    await events.close();
  });

  it('no longer wait when the caller stops, and fail when they are closed', async () => {
    const source = sourceOf('9');
    const { events } = follow(source);
    const stop = new AbortController();
    const stopped = events.settle(stop.signal);
    const other = events.settle();
    await source.started;
    stop.abort();
    await stopped;
    const failed = assert.rejects(other, /no longer followed/);
    await events.close();
    await failed;
  });

  it('wait only when what is known is older than ten seconds', async () => {
    let now = 0;
    const source = sourceOf('1');
    const { events } = follow(source, () => now);
    const settled = events.settle();
    const consumer = await source.started;
    await consumer.skip?.(0, null, { position: '1' });
    await settled;
    source.moveEnd('2');
    now = 9_999;
    await events.refresh();
    now = 10_000;
    let isRefreshed = false;
    const refreshed = events.refresh().then(() => {
      isRefreshed = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(isRefreshed, false);
    await consumer.skip?.(0, null, { position: '2' });
    await refreshed;
    await events.close();
  });

  it('are begun once for devices that several partitions ask for while something is recorded', async () => {
    const source = sourceOf('5');
    const late = Promise.withResolvers<void>();
    let asked = 0;
    const ends = async () => {
      asked += 1;
      if (asked !== 2) return new Map([[0, '5']]);
      // An answer from before the last event, which comes when what follows has begun.
      await late.promise;
      return new Map([[0, '4']]);
    };
    const now = () => (asked < 3 ? 0 : 60_000);
    const events = new FollowedEvents({ ...source, ends }, 'test', { now });
    const devices = new DevicePeriods({} as EventStore, {} as EventRegistry, events);
    const refreshed = Promise.all([devices.refresh(), devices.refresh()]);
    void source.started.then(() => late.resolve());
    const waited = AbortSignal.timeout(5_000);
    const timedOut = new Promise((_, reject) =>
      waited.addEventListener('abort', () => reject(waited.reason)),
    );
    // Where both begin, the second puts back what the first has reached.
    if (asked < 2) late.resolve();
    await Promise.race([refreshed, timedOut]);
    await events.close();
  });
});
