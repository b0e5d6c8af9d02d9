import type { DeadLetter } from './read-models.ts';

/** Shows parked events outside the read models, for those who watch there; the read models are what counts. */
export interface DeadLetterFeed {
  /** May show a letter again. Throws `TelemetryLogUnavailable`. */
  publish(letter: DeadLetter): Promise<void>;
}
