import type { Position } from './event-source.ts';
import type { GenerationId, ReadingRow, ReadModels } from './read-models.ts';

/** `building` is being filled, `ready` waits to be switched to, `retired` was active and can be again. */
export type GenerationStatus = 'building' | 'ready' | 'active' | 'retired';

/** What a build is at. */
export type BuildPhase = 'fill' | 'catch-up' | 'compare' | 'switch';

export type BuildProgress = {
  readonly phase: BuildPhase;
  /** Events consumed, and those there are to consume; both over all runs of the build. */
  readonly done: number;
  readonly total: number;
  /** Events a second in this run. */
  readonly rate: number;
};

/** How the last run of a build ended. */
export type BuildOutcome =
  | { readonly result: 'switched' | 'kept'; readonly comparison: Comparison }
  | { readonly result: 'failed'; readonly error: string };

export type GenerationState = GenerationId & {
  /** Of the projection's code that fills it. */
  readonly version: number;
  readonly status: GenerationStatus;
  /** The only device it is built for, to be put in place of the active one's rows; `null` for all. */
  readonly device: string | null;
  /** Who builds it; `null` when nobody does. */
  readonly runner: string | null;
  /** When the runner was last heard of, epoch milliseconds. */
  readonly heardAt: number | null;
  /** Of the last build; `null` when there was none. */
  readonly progress: BuildProgress | null;
  readonly outcome: BuildOutcome | null;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly retiredAt: number | null;
};

export type ProjectionState = {
  readonly projection: string;
  readonly active: number;
  readonly paused: boolean;
  /** Oldest first. */
  readonly generations: readonly GenerationState[];
};

/** Who wants to build, and how he tells that another who does is no more. */
export type LeaseOwner = {
  readonly id: string;
  isExpired(runner: string, heardAt: number): boolean;
};

/** What operators and workers agree on: which generations there are, which is active, who builds the next. */
export interface ProjectionControl {
  states(): Promise<readonly ProjectionState[]>;

  /** Workers leave a paused projection alone; its checkpoint stays where it is. */
  setPaused(projection: string, paused: boolean): Promise<void>;

  /**
   * Takes up the generation that is being built for the same purpose, or makes a new one with empty tables in its
   * place. Throws `RebuildUnderWay` when somebody else builds any generation of the projection.
   */
  claim(
    wanted: { readonly projection: string; readonly version: number; readonly device: string | null },
    builder: LeaseOwner,
  ): Promise<{ readonly generation: number; readonly resumed: boolean }>;

  /** Takes up a generation that is complete, to bring it up to date. Throws `RebuildUnderWay`. */
  reopen(generation: GenerationId, builder: LeaseOwner): Promise<void>;

  /** Says that the runner is alive and what it is at. Throws `RebuildUnderWay` when somebody else has taken over. */
  report(generation: GenerationId, runner: string, progress: BuildProgress): Promise<void>;

  /** The runner lets go. With `ready` the generation is complete and waits to be switched to. */
  release(
    generation: GenerationId,
    runner: string,
    outcome: BuildOutcome | null,
    ready: boolean,
  ): Promise<void>;

  /**
   * Removes a generation with its tables, checkpoints and dead letters. Throws `ReplayRefused` for the active one and
   * `RebuildUnderWay` for one that somebody builds.
   */
  drop(generation: GenerationId, builder: LeaseOwner): Promise<void>;

  /**
   * Holds the checkpoints of a generation still, in one transaction. A transaction lost to a deadlock or a broken
   * connection calls `work` again, with nothing of the first time left in the tables.
   */
  hold(generation: GenerationId, work: (held: HeldGeneration) => Promise<void>): Promise<void>;

  /** Reads a generation as it stands at one moment. */
  digest(generation: GenerationId): Promise<GenerationDigest>;

  /** Reads two generations at one moment; `undefined`, at once, when they do not stand at the same position then. */
  digestsIfAligned(
    one: GenerationId,
    other: GenerationId,
  ): Promise<readonly [GenerationDigest, GenerationDigest] | undefined>;
}

export type HeldGeneration = {
  readonly checkpoints: ReadonlyMap<number, Position>;
  /** Changes things inside the transaction, one `transact` at a time. */
  readonly readModels: ReadModels;
  /** Makes another generation the active one at the commit. */
  switchTo(next: GenerationId): Promise<void>;
  /** Puts one device's rows and dead letters of another generation in the place of those held. */
  adopt(from: GenerationId, deviceId: string, stream: string): Promise<void>;
};

export type GenerationDigest = GenerationId & {
  readonly checkpoints: ReadonlyMap<number, Position>;
  readonly tables: readonly TableDigest[];
};

/** `digest` is the same for the same rows, whatever their order, the engine they are in and how JSON is spelled. */
export type TableDigest = { readonly table: string; readonly rows: number; readonly digest: string };

/** Two generations, table by table. */
export type Comparison = {
  /** They stood at the same position; where they did not, tables that differ say nothing. */
  readonly samePosition: boolean;
  readonly equal: boolean;
  readonly tables: readonly {
    readonly table: string;
    readonly equal: boolean;
    readonly rows: { readonly active: number; readonly next: number };
  }[];
};

/** Somebody else is at it; the message says who. */
export class RebuildUnderWay extends Error {
  override readonly name = 'RebuildUnderWay';
  readonly runner: string;

  constructor(projection: string, runner: string) {
    super(`${projection} is being rebuilt already, by ${runner}`);
    this.runner = runner;
  }
}

/** What is asked for cannot be done as things stand; the message says why and what can. */
export class ReplayRefused extends Error {
  override readonly name: string = 'ReplayRefused';
}

/** The position up to which the events of a device are no longer in the log; `null` where all are. */
export type ExpiredPosition = (deviceId: string) => Position | null;

/** Readings in the tables whose events the log no longer has. Every call throws `ReadModelsUnavailable`. */
export interface ExpiredReadings {
  /** How many there are and when the first of them arrived, epoch milliseconds. */
  count(
    generation: GenerationId,
    expired: ExpiredPosition,
  ): Promise<{ readonly readings: number; readonly from: number | null }>;

  /** The readings themselves, in chunks. */
  readings(generation: GenerationId, expired: ExpiredPosition): AsyncIterable<readonly ReadingRow[]>;
}
