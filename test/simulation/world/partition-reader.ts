import { pause } from '../../../application/pause.ts';
import {
  type BatchConsumer,
  OperatorNeeded,
  type Position,
  type Positioned,
} from '../../../application/ports/event-source.ts';
import type { SimulatedProcess } from './process.ts';

/** A partition as its server has it now. */
export type PartitionContent<Event extends Positioned> = {
  readonly partition: number;
  /** So many events behind the position at most, and the position before the first of them. */
  after(
    position: Position | null,
    limit: number,
  ): { readonly after: Position | null; readonly events: readonly Event[] };
  /** Tells those that read when there is more. */
  readonly waiters: Waiters;
};

type ReadOptions = {
  readonly signal: AbortSignal;
  readonly keepsOthers: boolean;
  readonly server: 'event store' | 'telemetry log';
};

const batchSizes = [1, 3, 10, 40, 200];
const mostAtOnce = Math.max(...batchSizes);

const retryPauses = [100, 400, 1600];

/**
 * Hands a partition's events to a consumer, as every source does: batches of any size, the next one as soon as
 * the last is handled; from the checkpoint on after each failure and each lost connection.
 */
export async function readPartition<Event extends Positioned>(
  by: SimulatedProcess,
  content: PartitionContent<Event>,
  consumer: BatchConsumer<Event>,
  { signal, keepsOthers, server }: ReadOptions,
): Promise<void> {
  const { partition } = content;
  const { random } = by.network;
  let failures = 0;
  let at: Position | null | undefined;
  let storing: Promise<void> = Promise.resolve();
  while (!signal.aborted) {
    try {
      at ??= await consumer.checkpoint(partition);
      const from = at;
      const { wakes, ...found } = await by.call(server, `fetch ${partition}`, () => ({
        ...content.after(from, mostAtOnce),
        wakes: content.waiters.wakes,
      }));
      if (signal.aborted) break;
      if (found.events.length === 0) {
        await storing;
        await content.waiters.next(wakes, signal);
        continue;
      }
      const events = found.events.slice(0, random.pick(batchSizes));
      const handled = Promise.withResolvers<void>();
      const before = storing;
      const stored = consumer.consume({
        partition,
        after: found.after,
        events,
        onApplied: () => handled.resolve(),
        signal,
      });
      storing = Promise.all([before, stored]).then(() => undefined);
      storing.catch(() => {});
      await before;
      await (random.chance(0.5) ? Promise.race([handled.promise, stored]) : stored);
      failures = 0;
      at = (events.at(-1) as Event).position;
      // A connection that is lost while nothing is wrong: the consumer is asked again where to start.
      if (!random.chance(0.02)) continue;
      await storing;
      at = undefined;
    } catch (error) {
      await storing.catch(() => {});
      storing = Promise.resolve();
      if (signal.aborted) break;
      if (error instanceof OperatorNeeded) throw error;
      const wait = retryPauses[failures] ?? (keepsOthers ? 2000 : undefined);
      by.network.timeline.add(by.name, `partition ${partition} failed: ${(error as Error).message}`);
      if (wait === undefined) throw error;
      failures += 1;
      at = undefined;
      await pause(wait, signal);
    }
  }
  await storing.catch(() => {});
}

/** The index, at least `from`, of the first of all that hold; those that hold come last. */
export function firstWhere<Event>(
  events: readonly Event[],
  from: number,
  holds: (event: Event) => boolean,
): number {
  let [low, high] = [from, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(events[middle] as Event)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Wakes those that wait for more. */
export class Waiters {
  readonly #waiting = new Set<() => void>();
  wakes = 0;

  wake(): void {
    this.wakes += 1;
    for (const one of [...this.#waiting]) one();
  }

  /** Resolves when there were more wakes than that, or the signal is aborted. */
  next(wakes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      if (signal.aborted || wakes !== this.wakes) return done();
      this.#waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }
}
