import { pause } from '../pause.ts';
import type { BatchConsumer, Positioned } from '../ports/event-source.ts';

/** Pieces a second: the pace is even, and a wait never long. */
const steps = 5;

/** Takes no more than so many events a second; `rate` may change at any time, and be none. */
export function throttled(
  inner: BatchConsumer<Positioned>,
  rate: () => number | undefined,
  signal: AbortSignal,
): BatchConsumer<Positioned> {
  return {
    checkpoint: (partition) => inner.checkpoint(partition),
    async consume(batch, waiting) {
      if (rate() === undefined) return inner.consume(batch, waiting);
      // The next batch must not come before the last pause is over.
      let { handled: _, ...rest } = batch;
      while (rest.events.length > 0) {
        const limit = rate();
        const size = limit === undefined ? rest.events.length : Math.max(1, Math.floor(limit / steps));
        const events = rest.events.slice(0, size);
        const started = performance.now();
        await inner.consume({ ...rest, events }, waiting);
        if (limit !== undefined)
          await pause((events.length / limit) * 1000 - (performance.now() - started), signal);
        rest = {
          ...rest,
          after: events.at(-1)?.position ?? rest.after,
          events: rest.events.slice(events.length),
        };
      }
    },
  };
}
