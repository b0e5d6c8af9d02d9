import { MalformedEvent, UnknownEventType } from './ports/event-registry.ts';
import {
  type Batch,
  type BatchConsumer,
  comparePositions,
  type Position,
  type Positioned,
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

/** Told of every batch once its effects are durable. */
export type ProjectorObserver<Event> = {
  consumed(events: readonly Event[], parked: readonly DeadLetter[], seconds: number): void;
  failed(error: unknown): void;
};

/** How a generation that is not the live one is built. */
export type BuildOptions<Event> = {
  /** Events other than these leave no trace but the checkpoint. */
  readonly only?: (event: Event) => boolean;
  readonly parking?: Parking;
};

/** Decides over events that cannot be applied. */
export type Parking = {
  /** Events of a partition that an operator has given up: they are not even tried. */
  discarded(partition: number): Promise<ReadonlyMap<Position, Discard>>;
  /** Throws `PoisonEvent` when one of these events must not be parked. */
  admit(letters: readonly DeadLetter[]): Promise<void>;
};

/** An event that must be applied and cannot be. */
export class PoisonEvent extends Error {
  override readonly name = 'PoisonEvent';
  readonly letter: DeadLetter;

  constructor(projection: string, letter: DeadLetter) {
    const { eventType, position, partition, stream, eventId, correlationId, error } = letter;
    super(
      `${projection} stops at the ${eventType} of ${stream} at ${position} in partition ${partition} ` +
        `(event ${eventId}, correlation id ${correlationId}): ${error}`,
    );
    this.letter = letter;
  }
}

/** The source did not start at the checkpoint: it must, or events between would be lost. */
export class MissedEvents extends Error {
  override readonly name = 'MissedEvents';
}

type CheckedBatch<Event, Decoded> = {
  /** In the order of the log, each in the same place of both lists. */
  readonly valid: readonly Event[];
  readonly decoded: readonly Decoded[];
  readonly invalid: ReadonlyMap<Event, { readonly cause: DeadLetterCause; readonly error: Error | string }>;
  readonly discarded: ReadonlyMap<Position, Discard>;
};

/**
 * Consumes a log into one generation of a projection. Rows, checkpoint and ledger change in one transaction, so an
 * event's effect is there exactly once, however often the event is delivered. An event that cannot be applied is
 * parked with those of its stream that follow it; all others go on.
 */
export function projector<Event extends Positioned, Decoded>(
  projection: Projection<Event, Decoded>,
  generation: GenerationId,
  readModels: ReadModels,
  clock: Clock,
  log: Log,
  observer: ProjectorObserver<Event>,
  { only, parking }: BuildOptions<Event> = {},
): BatchConsumer<Event> {
  const partitions = new Map<number, PartitionState<Event, Decoded>>();

  return {
    checkpoint: (partition) => readModels.checkpoint(generation, partition),

    async consume(batch) {
      const started = clock.now();
      const state = partitionState(batch.partition);
      try {
        const { consumed, parked } = await consumeBatch(batch, state);
        observer.consumed(consumed, parked, (clock.now() - started) / 1000);
      } catch (error) {
        state.trusted = undefined;
        observer.failed(error);
        throw error;
      }
    },
  };

  function partitionState(partition: number): PartitionState<Event, Decoded> {
    const known = partitions.get(partition);
    if (known) return known;
    const state = { worker: projection.forPartition(), parkedStreams: new Set<string>(), trusted: undefined };
    partitions.set(partition, state);
    return state;
  }

  async function consumeBatch(batch: Batch<Event>, state: PartitionState<Event, Decoded>) {
    const checked = await check(batch, state.worker);
    try {
      return await inTransaction(batch, checked, state);
    } catch (error) {
      if (isRetryable(error)) throw error;
      log.warn(
        { projection: projection.name, partition: batch.partition, err: error },
        'batch failed, trying one by one',
      );
      return await isolateFailure(batch, state);
    }
  }

  /** Finds the event that a batch fails on: every other one is applied as if it had come alone. */
  async function isolateFailure(batch: Batch<Event>, state: PartitionState<Event, Decoded>) {
    const parked: DeadLetter[] = [];
    const consumed: Event[] = [];
    let after = batch.after;
    for (const event of batch.events) {
      const single = { ...batch, after, events: [event] };
      const checked = await check(single, state.worker);
      const result = await inTransaction(single, checked, state).catch((error) => {
        if (isRetryable(error)) throw error;
        const bad = new Map([[event, { cause: 'failed' as const, error: asError(error) }]]);
        return inTransaction(single, { valid: [], decoded: [], invalid: bad, discarded: new Map() }, state);
      });
      parked.push(...result.parked);
      consumed.push(...result.consumed);
      after = event.position;
    }
    return { consumed, parked };
  }

  /** Decides, before any transaction is open, which events can be applied. */
  async function check(
    { partition, events }: Batch<Event>,
    worker: PartitionProjection<Event, Decoded>,
  ): Promise<CheckedBatch<Event, Decoded>> {
    const discarded = (await parking?.discarded(partition)) ?? nothingDiscarded;
    const good: Event[] = [];
    const decoded: Decoded[] = [];
    const bad = new Map<Event, { cause: DeadLetterCause; error: Error | string }>();
    for (const event of events) {
      if (only?.(event) === false) continue;
      try {
        if (discarded.has(event.position)) continue;
        decoded.push(projection.decode(event));
        good.push(event);
      } catch (error) {
        bad.set(event, { cause: causeOf(error), error: asError(error) });
      }
    }
    if (!worker.validate || good.length === 0) return { valid: good, decoded, invalid: bad, discarded };
    const refused = await worker.validate(decoded);
    if (refused.size === 0) return { valid: good, decoded, invalid: bad, discarded };
    for (const [i, event] of good.entries()) {
      const refusal = refused.get(decoded[i] as Decoded);
      if (refusal) bad.set(event, refusal);
    }
    return {
      valid: good.filter((event) => !bad.has(event)),
      decoded: decoded.filter((one) => !refused.has(one)),
      invalid: bad,
      discarded,
    };
  }

  async function inTransaction(
    batch: Batch<Event>,
    checked: CheckedBatch<Event, Decoded>,
    state: PartitionState<Event, Decoded>,
  ): Promise<{ consumed: readonly Event[]; parked: readonly DeadLetter[] }> {
    const expected = state.trusted;
    try {
      return await tryTransaction(batch, checked, state, expected);
    } catch (error) {
      state.trusted = undefined;
      if (!(error instanceof CheckpointMoved)) throw error;
      return tryTransaction(batch, checked, state);
    }
  }

  async function tryTransaction(
    batch: Batch<Event>,
    checked: CheckedBatch<Event, Decoded>,
    state: PartitionState<Event, Decoded>,
    expected?: LockedCheckpoint,
  ): Promise<{ consumed: readonly Event[]; parked: readonly DeadLetter[] }> {
    let consumed: readonly Event[] = [];
    let parked: readonly DeadLetter[] = [];
    const applyBatch = async (tables: ProjectionTables, locked: LockedCheckpoint) => {
      if (comparePositions(locked.position, batch.after) < 0)
        throw new MissedEvents(
          `${projection.name} stands at ${locked.position} in partition ${batch.partition}, not at ${batch.after}`,
        );
      await ensureFresh(state, locked, batch.partition, tables);
      // What follows changes the caches; they hold only if this transaction does.
      state.trusted = undefined;
      const isNew = (event: Event) => comparePositions(event.position, locked.position) > 0;
      const [first] = batch.events;
      consumed = first && isNew(first) ? batch.events : batch.events.filter(isNew);
      const last = consumed.at(-1);
      if (!last) {
        state.trusted = locked;
        return locked.position;
      }
      const { applied, letters } = splitParked(consumed, checked, state.parkedStreams, batch.partition);
      if (applied.length > 0) await state.worker.apply(applied, tables);
      if (letters.size > 0) {
        await parking?.admit([...letters.values()]);
        await tables.deadLetters.park([...letters.values()]);
        await state.worker.onParked?.([...letters.keys()], tables);
      }
      parked = [...letters.values()];
      state.trusted = { position: last.position, epoch: locked.epoch };
      batch.onApplied?.();
      return last.position;
    };
    await readModels.transact(generation, batch.partition, applyBatch, expected);
    return { consumed, parked };
  }

  /** Starts afresh from the tables unless they are as this worker left them. */
  async function ensureFresh(
    state: PartitionState<Event, Decoded>,
    locked: LockedCheckpoint,
    partition: number,
    tables: ProjectionTables,
  ): Promise<void> {
    if (state.trusted && state.trusted.position === locked.position && state.trusted.epoch === locked.epoch)
      return;
    state.worker.invalidate();
    state.parkedStreams = new Set(await tables.deadLetters.parkedStreams(partition));
  }

  function splitParked(
    events: readonly Event[],
    { valid: good, decoded, invalid: bad, discarded }: CheckedBatch<Event, Decoded>,
    parkedStreams: Set<string>,
    partition: number,
  ): { applied: readonly Decoded[]; letters: ReadonlyMap<Event, DeadLetter> } {
    const isWhole = good.length === events.length && discarded.size === 0 && !only;
    if (isWhole && bad.size === 0 && parkedStreams.size === 0)
      return { applied: decoded, letters: new Map() };
    const decodedOf = new Map(good.map((event, i) => [event, decoded[i] as Decoded]));
    const applied: Decoded[] = [];
    const letters = new Map<Event, DeadLetter>();
    for (const event of events) {
      if (only?.(event) === false) continue;
      const fault = bad.get(event);
      const known = decodedOf.get(event);
      if (!fault && parkedStreams.size === 0 && known !== undefined) {
        applied.push(known);
        continue;
      }
      const { id, type, stream, correlationId } = projection.describe(event);
      const discard = discarded.get(event.position) ?? null;
      if (!fault && !discard && !parkedStreams.has(stream) && known !== undefined) {
        applied.push(known);
        continue;
      }
      if (!discard) parkedStreams.add(stream);
      const error = fault?.error ?? (discard ? discard.reason : 'An earlier event of this stream is parked');
      letters.set(event, {
        partition,
        position: event.position,
        stream,
        eventId: id,
        eventType: type,
        cause: fault?.cause ?? (discard ? 'failed' : 'behind'),
        error: error instanceof Error ? error.message : error,
        stack: error instanceof Error ? (error.stack ?? null) : null,
        correlationId,
        event,
        parkedAt: clock.now(),
        discarded: discard,
      });
    }
    return { applied, letters };
  }
}

type PartitionState<Event, Decoded> = {
  readonly worker: PartitionProjection<Event, Decoded>;
  parkedStreams: Set<string>;
  /** The checkpoint at which the caches hold what the tables hold, or will when what is under way is stored. */
  trusted: LockedCheckpoint | undefined;
};

/** The same batch will do later, or must not be gone on with at all. */
const isRetryable = (error: unknown): boolean =>
  error instanceof ReadModelsUnavailable ||
  error instanceof EventStoreUnavailable ||
  error instanceof MissedEvents ||
  error instanceof PoisonEvent;

const nothingDiscarded: ReadonlyMap<Position, Discard> = new Map();

export function causeOf(error: unknown): DeadLetterCause {
  if (error instanceof UnknownEventType) return 'unknown-type';
  return error instanceof MalformedEvent ? 'malformed' : 'failed';
}

export const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
