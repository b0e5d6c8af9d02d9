import { UnknownFaults } from './checked-batch.ts';
import type { DeadLetterCause, LockedCheckpoint, ProjectionTables } from './ports/read-models.ts';
import type { PartitionProjection } from './projections/projection.ts';

/** Whether later events of a stream wait for one that was parked. */
export type Holds = (cause: DeadLetterCause, eventType: string) => boolean;

/** What the projector knows of one partition between batches. */
export class PartitionState<Event, Decoded> {
  readonly projection: PartitionProjection<Event, Decoded>;
  readonly faults = new UnknownFaults<Event>();
  readonly #holds: Holds;
  #parkedStreams: ReadonlySet<string> = new Set();
  #cachedAt: LockedCheckpoint | undefined;

  constructor(projection: PartitionProjection<Event, Decoded>, holds: Holds) {
    this.projection = projection;
    this.#holds = holds;
  }

  get parkedStreams(): ReadonlySet<string> {
    return this.#parkedStreams;
  }

  /** The checkpoint at which the caches equal the tables, or will once the running transaction commits. */
  get cachedAt(): LockedCheckpoint | undefined {
    return this.#cachedAt;
  }

  /** The next batch starts from the tables. */
  invalidate(): void {
    this.#cachedAt = undefined;
  }

  /** Reads the tables anew unless they are as this worker left them. */
  async ensureFresh(locked: LockedCheckpoint, partition: number, tables: ProjectionTables): Promise<void> {
    const cachedAt = this.#cachedAt;
    // What follows changes the caches; they are valid only if this transaction commits.
    this.#cachedAt = undefined;
    if (cachedAt && cachedAt.position === locked.position && cachedAt.epoch === locked.epoch) return;
    this.projection.invalidate();
    this.#parkedStreams = new Set(await tables.deadLetters.parkedStreams(partition, this.#holds));
  }

  park(streams: ReadonlySet<string>): void {
    this.#parkedStreams = streams;
  }

  validAt(checkpoint: LockedCheckpoint): void {
    this.#cachedAt = checkpoint;
  }
}
