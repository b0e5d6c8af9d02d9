import { asError, type CheckedBatch, causeOf, splitParked } from './checked-batch.ts';
import {
  type Batch,
  type BatchConsumer,
  comparePositions,
  type Position,
  type Positioned,
  type SkippedTo,
} from './ports/event-source.ts';
import { EventStoreUnavailable } from './ports/event-store.ts';
import {
  CheckpointMoved,
  type DeadLetter,
  type DeadLetterCause,
  type Discard,
  type GenerationId,
  type LockedCheckpoint,
  type ProjectionTables,
  type ReadModels,
  ReadModelsUnavailable,
} from './ports/read-models.ts';
import type { Clock, Log } from './ports/system.ts';
import type { PartitionProjection, Projection } from './projections/projection.ts';

/** Called for every batch once its effects are durable. */
export type ProjectorObserver<Event> = {
  consumed(events: readonly Event[], parked: readonly DeadLetter[], seconds: number): void;
  failed(error: unknown): void;
};

/** How a generation that is not the live one is built. */
type BuildOptions<Event> = {
  /** Other events only move the checkpoint. */
  readonly only?: (event: Event) => boolean;
  readonly parking?: Parking;
};

/** The policy for events that cannot be applied. */
export type Parking = {
  /** Events of a partition that an operator has discarded: they are not tried. */
  discarded(partition: number): Promise<ReadonlyMap<Position, Discard>>;
  /** Throws `PoisonEvent` when one of these events must not be parked. */
  admit(deadLetters: readonly DeadLetter[]): Promise<void>;
};

/** An event that must not be parked and cannot be applied. */
export class PoisonEvent extends Error {
  override readonly name = 'PoisonEvent';
  readonly deadLetter: DeadLetter;

  constructor(projection: string, deadLetter: DeadLetter) {
    const { eventType, position, partition, stream, eventId, correlationId, error } = deadLetter;
    super(
      `${projection} stops at the ${eventType} of ${stream} at ${position} in partition ${partition} ` +
        `(event ${eventId}, correlation id ${correlationId}): ${error}`,
    );
    this.deadLetter = deadLetter;
  }
}

/** The source did not start at the checkpoint, so that events between would be lost. */
class MissedEvents extends Error {
  override readonly name = 'MissedEvents';
}

/** What a projector works with. */
type ProjectorParts<Event extends Positioned, Decoded> = {
  readonly projection: Projection<Event, Decoded>;
  readonly generation: GenerationId;
  readonly readModels: ReadModels;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: ProjectorObserver<Event>;
};

type Consumed<Event> = { readonly consumed: readonly Event[]; readonly parked: readonly DeadLetter[] };

/**
 * Consumes a log into one generation of a projection. Rows, checkpoint and ledger change in one transaction, so an
 * event's effect is there exactly once, however often the event is delivered. An event that cannot be applied is
 * parked together with the later events of its stream; other streams continue.
 */
export class Projector<Event extends Positioned, Decoded> implements BatchConsumer<Event> {
  readonly #parts: ProjectorParts<Event, Decoded>;
  readonly #options: BuildOptions<Event>;
  readonly #partitions = new Map<number, PartitionState<Event, Decoded>>();

  constructor(parts: ProjectorParts<Event, Decoded>, options: BuildOptions<Event> = {}) {
    this.#parts = parts;
    this.#options = options;
  }

  checkpoint(partition: number): Promise<Position | null> {
    return this.#parts.readModels.checkpoint(this.#parts.generation, partition);
  }

  skipped(partition: number): Promise<SkippedTo | null> {
    return this.#parts.readModels.skipped(this.#parts.generation, partition);
  }

  async skip(partition: number, after: Position | null, to: Partial<SkippedTo> & Positioned): Promise<void> {
    const { position, eventId } = to;
    if (eventId === undefined) return;
    await this.#parts.readModels.skip(this.#parts.generation, partition, after, { position, eventId });
  }

  async consume(batch: Batch<Event>): Promise<void> {
    const { clock, observer } = this.#parts;
    const started = clock.now();
    const state = this.#partition(batch.partition);
    try {
      const { consumed, parked } = await this.#consumeBatch(batch, state);
      observer.consumed(consumed, parked, (clock.now() - started) / 1000);
    } catch (error) {
      state.invalidate();
      observer.failed(error);
      throw error;
    }
  }

  #partition(partition: number): PartitionState<Event, Decoded> {
    const known = this.#partitions.get(partition);
    if (known) return known;
    const state = new PartitionState(this.#parts.projection.forPartition());
    this.#partitions.set(partition, state);
    return state;
  }

  async #consumeBatch(batch: Batch<Event>, state: PartitionState<Event, Decoded>): Promise<Consumed<Event>> {
    const { projection, log } = this.#parts;
    const checked = await this.#check(batch, state.projection);
    try {
      return await this.#inTransaction(batch, checked, state);
    } catch (error) {
      if (isRetryable(error)) throw error;
      log.warn(
        { projection: projection.name, partition: batch.partition, err: error },
        'batch failed, applying its events one by one',
      );
      return await this.#isolateFailure(batch, state);
    }
  }

  /** Finds the event that a batch fails on: every other one is applied as if it had come alone. */
  async #isolateFailure(
    batch: Batch<Event>,
    state: PartitionState<Event, Decoded>,
  ): Promise<Consumed<Event>> {
    const parked: DeadLetter[] = [];
    const consumed: Event[] = [];
    let after = batch.after;
    for (const event of batch.events) {
      const single = { ...batch, after, events: [event] };
      const checked = await this.#check(single, state.projection);
      const result = await this.#inTransaction(single, checked, state).catch((error) => {
        if (isRetryable(error)) throw error;
        const invalid = new Map([[event, { cause: 'failed' as const, error: asError(error) }]]);
        const failed = { valid: [], decoded: [], invalid, discarded: nothingDiscarded };
        return this.#inTransaction(single, failed, state);
      });
      parked.push(...result.parked);
      consumed.push(...result.consumed);
      after = event.position;
    }
    return { consumed, parked };
  }

  /** Decides, before any transaction is open, which events can be applied. */
  async #check(
    { partition, events }: Batch<Event>,
    partitionProjection: PartitionProjection<Event, Decoded>,
  ): Promise<CheckedBatch<Event, Decoded>> {
    const { only, parking } = this.#options;
    const discarded = (await parking?.discarded(partition)) ?? nothingDiscarded;
    const valid: Event[] = [];
    const decoded: Decoded[] = [];
    const invalid = new Map<Event, { cause: DeadLetterCause; error: Error | string }>();
    for (const event of events) {
      if (only?.(event) === false) continue;
      try {
        if (discarded.has(event.position)) continue;
        decoded.push(this.#parts.projection.decode(event));
        valid.push(event);
      } catch (error) {
        invalid.set(event, { cause: causeOf(error), error: asError(error) });
      }
    }
    if (!partitionProjection.validate || valid.length === 0) return { valid, decoded, invalid, discarded };
    const { accepted, rejected } = await partitionProjection.validate(decoded, partition);
    if (rejected.size === 0) return { valid, decoded: accepted, invalid, discarded };
    for (const [i, event] of valid.entries()) {
      const rejection = rejected.get(decoded[i] as Decoded);
      if (rejection) invalid.set(event, rejection);
    }
    return {
      valid: valid.filter((event) => !invalid.has(event)),
      decoded: accepted,
      invalid,
      discarded,
    };
  }

  /** Tries once more, from the tables, when another process has moved the checkpoint. */
  async #inTransaction(
    batch: Batch<Event>,
    checked: CheckedBatch<Event, Decoded>,
    state: PartitionState<Event, Decoded>,
  ): Promise<Consumed<Event>> {
    const expected = state.cachedAt;
    try {
      return await this.#tryTransaction(batch, checked, state, expected);
    } catch (error) {
      state.invalidate();
      if (!(error instanceof CheckpointMoved)) throw error;
      return this.#tryTransaction(batch, checked, state);
    }
  }

  /** The transaction may run the work more than once: the result is that of the run that was committed. */
  async #tryTransaction(
    batch: Batch<Event>,
    checked: CheckedBatch<Event, Decoded>,
    state: PartitionState<Event, Decoded>,
    expected?: LockedCheckpoint,
  ): Promise<Consumed<Event>> {
    const { readModels, generation } = this.#parts;
    let result: Consumed<Event> = { consumed: [], parked: [] };
    await readModels.transact(
      generation,
      batch.partition,
      async (tables, locked) => {
        result = await this.#applyBatch(batch, checked, state, tables, locked);
        return result.consumed.at(-1)?.position ?? locked.position;
      },
      expected,
    );
    return result;
  }

  async #applyBatch(
    batch: Batch<Event>,
    checked: CheckedBatch<Event, Decoded>,
    state: PartitionState<Event, Decoded>,
    tables: ProjectionTables,
    locked: LockedCheckpoint,
  ): Promise<Consumed<Event>> {
    const { projection, clock } = this.#parts;
    if (comparePositions(locked.position, batch.after) < 0)
      throw new MissedEvents(
        `${projection.name} is at ${locked.position} in partition ${batch.partition}, not at ${batch.after}`,
      );
    await state.ensureFresh(locked, batch.partition, tables);
    const isNew = (event: Event) => comparePositions(event.position, locked.position) > 0;
    const [first] = batch.events;
    const consumed = first && isNew(first) ? batch.events : batch.events.filter(isNew);
    const last = consumed.at(-1);
    if (!last) {
      state.validAt(locked);
      return { consumed, parked: [] };
    }
    const { applied, parked, parkedStreams } = splitParked(
      consumed,
      checked,
      state.parkedStreams,
      (event) => projection.describe(event).stream,
      this.#options.only,
    );
    const deadLetters = parked.map((event) => this.#deadLetter(event, batch.partition, checked, clock.now()));
    state.park(parkedStreams);
    if (applied.length > 0) await state.projection.apply(applied, tables);
    if (deadLetters.length > 0) {
      await this.#options.parking?.admit(deadLetters);
      await tables.deadLetters.park(deadLetters);
      await state.projection.onParked?.(parked, tables);
    }
    state.validAt({ position: last.position, epoch: locked.epoch });
    batch.onApplied?.();
    return { consumed, parked: deadLetters };
  }

  #deadLetter(
    event: Event,
    partition: number,
    { invalid, discarded }: CheckedBatch<Event, Decoded>,
    parkedAt: number,
  ): DeadLetter {
    const { id, type, stream, correlationId } = this.#parts.projection.describe(event);
    const failure = invalid.get(event);
    const discard = discarded.get(event.position) ?? null;
    const error = failure?.error ?? discard?.reason ?? 'An earlier event of this stream is parked';
    return {
      partition,
      position: event.position,
      stream,
      eventId: id,
      eventType: type,
      cause: failure?.cause ?? (discard ? 'failed' : 'behind'),
      error: error instanceof Error ? error.message : error,
      stack: error instanceof Error ? (error.stack ?? null) : null,
      correlationId,
      event,
      parkedAt,
      discarded: discard,
    };
  }
}

/** What the projector knows of one partition between batches. */
class PartitionState<Event, Decoded> {
  readonly projection: PartitionProjection<Event, Decoded>;
  #parkedStreams: ReadonlySet<string> = new Set();
  #cachedAt: LockedCheckpoint | undefined;

  constructor(projection: PartitionProjection<Event, Decoded>) {
    this.projection = projection;
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
    this.#parkedStreams = new Set(await tables.deadLetters.parkedStreams(partition));
  }

  park(streams: ReadonlySet<string>): void {
    this.#parkedStreams = streams;
  }

  validAt(checkpoint: LockedCheckpoint): void {
    this.#cachedAt = checkpoint;
  }
}

/** Retrying the same batch may succeed, or the projector must stop; the batch is not at fault. */
const isRetryable = (error: unknown): boolean =>
  error instanceof ReadModelsUnavailable ||
  error instanceof EventStoreUnavailable ||
  error instanceof MissedEvents ||
  error instanceof PoisonEvent;

const nothingDiscarded: ReadonlyMap<Position, Discard> = new Map();
