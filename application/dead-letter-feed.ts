import type { DeadLetterFeed } from './ports/dead-letters.ts';
import type { DeadLetter } from './ports/read-models.ts';
import type { Log } from './ports/system.ts';
import type { ProjectorObserver } from './projector.ts';

const atOnce = 16;
const mostWaiting = 10_000;

/**
 * Reports what is consumed to an observer, and every parked event to a feed, once it is parked, a few at a time. A feed
 * that cannot be reached, or takes less than is parked, delays nothing and takes no more memory: the dead letters are in
 * the read models.
 */
export function withDeadLetterFeed<Event>(
  observer: ProjectorObserver<Event>,
  feed: DeadLetterFeed,
  log: Log,
): ProjectorObserver<Event> {
  const waiting: DeadLetter[] = [];
  let publishing = 0;
  return {
    failed: (error) => observer.failed(error),
    consumed(events, parked, seconds) {
      observer.consumed(events, parked, seconds);
      const shown = parked.slice(0, mostWaiting - waiting.length);
      const deadLetters = parked.length - shown.length;
      if (deadLetters > 0)
        log.warn({ deadLetters }, 'more dead letters than their topic takes: not shown there');
      waiting.push(...shown);
      while (publishing < atOnce && waiting.length > 0) void publishWaiting();
    },
  };

  async function publishWaiting(): Promise<void> {
    publishing += 1;
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { eventId, correlationId } = next;
      await feed.publish(next).catch((err) => {
        log.warn({ eventId, correlationId, err }, 'a dead letter could not be shown in its topic');
      });
    }
    publishing -= 1;
  }
}
