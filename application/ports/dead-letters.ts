import type { Position } from './event-source.ts';
import type { DeadLetter, DeadLetterCause, GenerationId } from './read-models.ts';

export type DeadLetterFilter = {
  readonly projection?: string;
  readonly cause?: DeadLetterCause;
  readonly stream?: string;
  /** Discarded instead of waiting dead letters. */
  readonly discarded?: boolean;
};

export type StoredDeadLetter = DeadLetter & { readonly id: number } & GenerationId;

/** A dead letter without the event and the error text. */
export type DeadLetterSummary = Omit<StoredDeadLetter, 'event' | 'stack'>;

type LetterCount = {
  readonly projection: string;
  readonly cause: DeadLetterCause;
  readonly waiting: number;
  readonly discarded: number;
};

/** A parked stream: it continues once its dead letters are retried or discarded. */
export type ParkedStream = {
  readonly partition: number;
  readonly stream: string;
  /** Of its first dead letter. */
  readonly firstId: number;
  readonly deadLetters: number;
};

/** Queries of dead letters. Every call throws `ReadModelsUnavailable`. */
export interface DeadLetters {
  /** A page after the id `after`, of the active generations, in the order of parking. */
  list(
    filter: DeadLetterFilter,
    page: { readonly limit: number; readonly after?: number },
  ): Promise<readonly DeadLetterSummary[]>;

  /** Of any generation, waiting and discarded, in the order of parking. */
  ofGeneration(
    generation: GenerationId,
    page: { readonly limit: number; readonly after?: number },
  ): Promise<readonly StoredDeadLetter[]>;

  find(id: number): Promise<StoredDeadLetter | undefined>;

  /** Of the active generations. */
  counts(): Promise<readonly LetterCount[]>;

  /** In the order of parking, those whose first dead letter comes after the id `after`. */
  parkedStreams(
    generation: GenerationId,
    page: { readonly limit: number; readonly after?: number },
  ): Promise<readonly ParkedStream[]>;

  /** Some of the streams parked for a device that was not registered, of devices that are in the device list by now. */
  ofRegisteredDevices(
    generation: GenerationId,
    limit: number,
  ): Promise<readonly Pick<ParkedStream, 'partition' | 'stream'>[]>;

  /** Which of these events of a partition have a dead letter in the generation, discarded ones included. */
  byPosition(
    generation: GenerationId,
    partition: number,
    positions: readonly Position[],
  ): Promise<ReadonlyMap<Position, DeadLetter['discarded']>>;

  /** Every discarded dead letter of a partition, or of one stream in it. */
  discarded(
    generation: GenerationId,
    partition: number,
    stream?: string,
  ): Promise<ReadonlyMap<Position, NonNullable<DeadLetter['discarded']>>>;
}

/** Publishes dead letters outside the read models, which remain the source of truth. */
export interface DeadLetterFeed {
  /** May publish a dead letter again. Throws `TelemetryLogUnavailable`. */
  publish(deadLetter: DeadLetter): Promise<void>;
}
