import type { EventPlace, KnownEvents } from './event-source.ts';

/**
 * Where the events of some streams are in a log that has many others, so that a start need not search it. Only a help: whoever
 * loads them looks whether the log has them there. Each call throws `ReadModelsUnavailable`.
 */
export interface EventPlaces {
  /** `streams` says which. Nothing where none were stored. */
  load(streams: string): Promise<KnownEvents<EventPlace> | undefined>;

  /** Instead of those that were stored. */
  store(streams: string, known: KnownEvents<EventPlace>): Promise<void>;
}
