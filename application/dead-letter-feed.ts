import type { DeadLetterFeed } from './ports/dead-letter-feed.ts';
import type { Log } from './ports/log.ts';
import type { ProjectorObserver } from './projector.ts';

/**
 * Tells an observer what is consumed, and a feed of every event parked, once it is. A feed that cannot be reached
 * holds nothing up: the letter is in the read models.
 */
export function withDeadLetterFeed<Event>(
  observer: ProjectorObserver<Event>,
  feed: DeadLetterFeed,
  log: Log,
): ProjectorObserver<Event> {
  return {
    failed: (error) => observer.failed(error),
    consumed(events, parked, seconds) {
      observer.consumed(events, parked, seconds);
      for (const letter of parked)
        feed.publish(letter).catch((err) => {
          const { eventId, correlationId } = letter;
          log.warn({ eventId, correlationId, err }, 'a dead letter could not be shown in its topic');
        });
    },
  };
}
