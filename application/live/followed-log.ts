import { comparableId, differenceFrom } from '../log-guard.ts';
import {
  CheckpointOfAnotherLog,
  type EventPlace,
  type EventSource,
  type LogMark,
  type Position,
  type Positioned,
} from '../ports/event-source.ts';

type ComparedLog = Pick<EventSource<Positioned>, 'identity' | 'eventAt'>;

/** Knows a log by the last event that came of each partition, and by its identity. */
export class FollowedLog {
  readonly #log: ComparedLog;
  readonly #marks = new Map<number, LogMark>();

  constructor(log: ComparedLog) {
    this.#log = log;
  }

  /** To be called with the last event that was passed on, or over. */
  reached(partition: number, { position, eventId }: EventPlace): void {
    const log = this.#marks.get(partition)?.log ?? null;
    this.#marks.set(partition, { position, eventId: comparableId(eventId), log });
  }

  /**
   * To be called wherever a partition is read on, from `position`. It is believed the first time; later it throws
   * `CheckpointOfAnotherLog` where the log has not the last event any more.
   */
  async assertSame(partition: number, position: Position | null): Promise<void> {
    if (position === null) return;
    const log = await this.#log.identity();
    const mark = this.#marks.get(partition);
    if (!mark) return this.#begin(partition, position, log);
    const difference = await differenceFrom(mark, partition, log, this.#log);
    if (difference === undefined) return;
    throw new CheckpointOfAnotherLog(
      `live streams had come to ${mark.position} in partition ${partition}, and ${difference}, as after a restore`,
    );
  }

  /** An event for each of a thousand partitions is not looked up where the log says by itself which it is. */
  async #begin(partition: number, position: Position, log: string | null): Promise<void> {
    const found = log === null ? await this.#log.eventAt(partition, position) : 'unknown';
    const eventId = typeof found === 'object' ? comparableId(found.id) : null;
    this.#marks.set(partition, { position, eventId, log });
  }
}
