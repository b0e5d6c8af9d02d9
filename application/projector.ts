import {
  asError,
  boundedDescription,
  type CheckedBatch,
  checkBatch,
  deadLetterOf,
  type Failure,
  type Parking,
  PoisonEvent,
  partsOf,
  splitParked,
} from './checked-batch.ts';
import { comparableId } from './log-guard.ts';
import { type Holds, PartitionState } from './partition-state.ts';
import {
  type Batch,
  type BatchConsumer,
  comparePositions,
  type EventPlace,
  type LogMark,
  type Position,
  type Positioned,
} from './ports/event-source.ts';
import { EventStoreUnavailable } from './ports/event-store.ts';
import {
  CheckpointMoved,
  type DeadLetter,
  type Discard,
  type GenerationId,
  type LockedCheckpoint,
  type ProjectionTables,
  type ReadModels,
  ReadModelsUnavailable,
} from './ports/read-models.ts';
import type { Clock, Log } from './ports/system.ts';
import type { EventDescription, Projection } from './projections/projection.ts';

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

type Consumed<Event> = {
  readonly consumed: readonly Event[];
  readonly parked: readonly DeadLetter[];
  /** A part of the one event was applied, and the checkpoint is before it. */
  readonly isPart?: true;
};

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

  skipped(partition: number): Promise<EventPlace | null> {
    return this.#parts.readModels.skipped(this.#parts.generation, partition);
  }

  async skip(partition: number, after: Position | null, to: Partial<EventPlace> & Positioned): Promise<void> {
    const { position, eventId } = to;
    if (eventId === undefined) return;
    await this.#parts.readModels.skip(this.#parts.generation, partition, after, { position, eventId });
  }

  async consume(batch: Batch<Event>): Promise<void> {
    const { standsAlone } = this.#parts.projection;
    if (!standsAlone || !batch.events.some(standsAlone)) return this.#consumeTogether(batch);
    for (const part of partsOf(batch, standsAlone)) await this.#consumeTogether(part);
  }

  async #consumeTogether(batch: Batch<Event>): Promise<void> {
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
    const state = new PartitionState(this.#parts.projection.forPartition(), holdsOf(this.#parts.projection));
    this.#partitions.set(partition, state);
    return state;
  }

  async #consumeBatch(batch: Batch<Event>, state: PartitionState<Event, Decoded>): Promise<Consumed<Event>> {
    const { projection, log } = this.#parts;
    try {
      return await this.#tryBatch(batch, new Map(), state);
    } catch (error) {
      if (isRetryable(error)) throw error;
      log.warn(
        { projection: projection.name, partition: batch.partition, err: error },
        'batch failed, applying its events one by one',
      );
      return await this.#isolateFailure(batch, state);
    }
  }

  /** Finds the events that a batch fails on: every other one is applied as if it had come alone. */
  async #isolateFailure(
    { onApplied: _, ...batch }: Batch<Event>,
    state: PartitionState<Event, Decoded>,
  ): Promise<Consumed<Event>> {
    const parked: DeadLetter[] = [];
    const consumed: Event[] = [];
    let failed = new Map<Event, Failure>();
    let { after } = batch;
    const consume = async (events: readonly Event[]) => {
      const result = await this.#tryBatch({ ...batch, after, events }, failed, state);
      parked.push(...result.parked);
      consumed.push(...result.consumed);
      after = events.at(-1)?.position ?? after;
      failed = new Map();
    };
    for (const event of batch.events) {
      try {
        await consume([...failed.keys(), event]);
        state.faults.end();
      } catch (error) {
        if (isRetryable(error)) throw error;
        failed.set(event, { cause: 'failed', error: asError(error) });
        // As long as nothing could be applied, it may be no event's fault.
        const isFirst = consumed.length === 0;
        if (isFirst) state.faults.check(failed, (one) => this.#describe(one).stream, this.#parts.clock.now());
        if (failed.size >= failedAtOnce) await consume([...failed.keys()]);
      }
    }
    if (failed.size > 0) await consume([...failed.keys()]);
    return { consumed, parked };
  }

  async #tryBatch(
    batch: Batch<Event>,
    failed: ReadonlyMap<Event, Failure>,
    state: PartitionState<Event, Decoded>,
  ): Promise<Consumed<Event>> {
    const { only, parking } = this.#options;
    const discarded = (await parking?.discarded(batch.partition)) ?? nothingDiscarded;
    const checked = await checkBatch(
      batch,
      this.#parts.projection,
      { validate: state.projection.validate?.bind(state.projection) },
      { only, discarded, failed, parked: parking?.parked },
    );
    for (;;) {
      const result = await this.#inTransaction(batch, checked, state);
      if (!result.isPart) return result;
      batch.onProgress?.();
    }
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
        return this.#markOf(result.consumed.at(-1), batch) ?? locked.position;
      },
      expected,
    );
    return result;
  }

  #markOf(last: Event | undefined, { log = null }: Batch<Event>): LogMark | undefined {
    if (!last) return undefined;
    return { position: last.position, eventId: comparableId(this.#parts.projection.describe(last).id), log };
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
    const { applied, parked, parkedStreams } = splitParked(consumed, checked, state.parkedStreams, {
      describe: (event) => this.#describe(event),
      holds: holdsOf(projection),
      only: this.#options.only,
    });
    const parking = { partition: batch.partition, parkedAt: clock.now() };
    const deadLetters = parked.map((event) => deadLetterOf(event, this.#describe(event), checked, parking));
    state.park(parkedStreams);
    if ((await this.#apply(applied, consumed, state, tables)) === 'more') {
      state.validAt(locked);
      return { consumed: [], parked: [], isPart: true };
    }
    if (deadLetters.length > 0) {
      await this.#options.parking?.admit(deadLetters);
      await tables.deadLetters.park(deadLetters);
      await state.projection.onParked?.(parked, tables);
    }
    state.validAt({ position: last.position, epoch: locked.epoch });
    batch.onApplied?.();
    return { consumed, parked: deadLetters };
  }

  async #apply(
    applied: readonly Decoded[],
    [first, ...others]: readonly Event[],
    { projection }: PartitionState<Event, Decoded>,
    tables: ProjectionTables,
  ): Promise<'more' | 'done'> {
    const [one] = applied;
    if (!one) return 'done';
    const isAlone = first && others.length === 0 && this.#parts.projection.standsAlone?.(first);
    if (isAlone && projection.applyPart) return projection.applyPart(one, tables);
    await projection.apply(applied, tables);
    return 'done';
  }

  #describe(event: Event): EventDescription {
    return boundedDescription(this.#parts.projection.describe(event));
  }
}

const holdsOf = ({ holdsStream = () => true }: { readonly holdsStream?: Holds }): Holds => holdsStream;

/** Failed events are parked in one transaction with the next that can be applied, or when they are as many. */
const failedAtOnce = 20;

/** Retrying the same batch may succeed, or the projector must stop; the batch is not at fault. */
const isRetryable = (error: unknown): boolean =>
  error instanceof ReadModelsUnavailable ||
  error instanceof EventStoreUnavailable ||
  error instanceof MissedEvents ||
  error instanceof PoisonEvent;

const nothingDiscarded: ReadonlyMap<Position, Discard> = new Map();
