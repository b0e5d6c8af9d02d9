import type { Position } from './event-source.ts';
import type { DeadLetter, DeadLetterCause, GenerationId } from './read-models.ts';

export type DeadLetterFilter = {
  readonly projection?: string;
  readonly cause?: DeadLetterCause;
  readonly stream?: string;
  /** Those an operator has discarded instead of those that wait. */
  readonly discarded?: boolean;
};

export type StoredDeadLetter = DeadLetter & { readonly id: number } & GenerationId;

/** A letter without what is long. */
export type DeadLetterSummary = Omit<StoredDeadLetter, 'event' | 'stack'>;

export type LetterCount = {
  readonly projection: string;
  readonly cause: DeadLetterCause;
  readonly waiting: number;
  readonly discarded: number;
};

/** A stream that cannot go on before its letters are seen to. */
export type ParkedStream = {
  readonly partition: number;
  readonly stream: string;
  /** Of its first letter. */
  readonly firstId: number;
  readonly deadLetters: number;
};

/** The dead letters there are. Every call throws `ReadModelsUnavailable`. */
export interface DeadLetters {
  /** Of the active generations, in the order they were parked, those after the id `after`. */
  list(
    filter: DeadLetterFilter,
    page: { readonly limit: number; readonly after?: number },
  ): Promise<readonly DeadLetterSummary[]>;

  /** Of any generation, those that wait and those that were discarded, in the order they were parked. */
  ofGeneration(
    generation: GenerationId,
    page: { readonly limit: number; readonly after?: number },
  ): Promise<readonly StoredDeadLetter[]>;

  find(id: number): Promise<StoredDeadLetter | undefined>;

  /** Of the active generations. */
  counts(): Promise<readonly LetterCount[]>;

  /** In the order in which they were parked, those whose first letter comes after the id `after`. */
  parkedStreams(
    generation: GenerationId,
    page: { readonly limit: number; readonly after?: number },
  ): Promise<readonly ParkedStream[]>;

  /** Which of these events of a partition the generation has letters of, discarded ones included. */
  byPosition(
    generation: GenerationId,
    partition: number,
    positions: readonly Position[],
  ): Promise<ReadonlyMap<Position, DeadLetter['discarded']>>;

  /** Every letter of a partition that was discarded. */
  discarded(
    generation: GenerationId,
    partition: number,
  ): Promise<ReadonlyMap<Position, NonNullable<DeadLetter['discarded']>>>;
}

/** Shows parked events outside the read models, for those who watch there; the read models are what counts. */
export interface DeadLetterFeed {
  /** May show a letter again. Throws `TelemetryLogUnavailable`. */
  publish(deadLetter: DeadLetter): Promise<void>;
}
