import type { EventSource, Positioned } from '../ports/event-source.ts';
import { GatedConsumer, type Positions } from './gated-consumer.ts';

/** Hands over all events of a log up to `ends`, from the first one it still has, in order within each partition. */
export async function readLog<Event extends Positioned>(
  source: Pick<EventSource<Event>, 'run'>,
  ends: Positions,
  { group, signal }: { readonly group: string; readonly signal: AbortSignal },
  visit: (events: readonly Event[], partition: number) => void,
): Promise<void> {
  if (ends.size === 0) return;
  const stop = new AbortController();
  const stopped = AbortSignal.any([signal, stop.signal]);
  const reader = new GatedConsumer<Event>(
    { checkpoint: async () => null, consume: async ({ events, partition }) => visit(events, partition) },
    stopped,
  );
  reader.limit(ends);
  const running = source.run(reader, { group, signal: stopped });
  try {
    await Promise.race([reader.untilReached(ends), running]);
    signal.throwIfAborted();
  } finally {
    stop.abort();
    await running;
  }
}
