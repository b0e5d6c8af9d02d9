import type { Position } from './position.ts';
import type { Generation, ReadModels } from './read-models.ts';

/** `building` is being filled, `ready` waits to be switched to, `retired` was active and can be again. */
export type GenerationStatus = 'building' | 'ready' | 'active' | 'retired';

/** What a rebuild is at. */
export type BuildPhase = 'fill' | 'catch-up' | 'compare' | 'switch';

export type GenerationState = Generation & {
  /** Of the projection's code that fills it. */
  readonly version: number;
  readonly status: GenerationStatus;
  readonly phase: BuildPhase | null;
  /** Who builds it; `null` when nobody does. */
  readonly runner: string | null;
  /** When the runner was last heard of, epoch milliseconds. */
  readonly heardAt: number | null;
  /** Epoch milliseconds. */
  readonly createdAt: number;
};

export type ProjectionState = {
  readonly projection: string;
  readonly active: number;
  readonly paused: boolean;
  /** Oldest first. */
  readonly generations: readonly GenerationState[];
};

/** What operators and workers agree on: which generations there are, which is active, who builds the next. */
export interface ProjectionControl {
  states(): Promise<readonly ProjectionState[]>;

  /** Workers leave a paused projection alone; its checkpoint stays where it is. */
  setPaused(projection: string, paused: boolean): Promise<void>;

  /**
   * Takes up the generation being built, or makes a new one with empty tables. Throws `RebuildUnderWay` when somebody
   * else builds it and was heard of at or after `heardSince`.
   */
  claim(
    projection: string,
    version: number,
    runner: string,
    heardSince: number,
  ): Promise<{ readonly generation: number; readonly resumed: boolean }>;

  /** Says that the runner is alive and what it is at. Throws `RebuildUnderWay` when somebody else has taken over. */
  report(of: Generation, runner: string, phase: BuildPhase): Promise<void>;

  /** The build is over; the generation waits to be switched to. */
  finish(of: Generation): Promise<void>;

  /** Takes a retired generation up again, to be caught up before it is switched to. */
  reopen(of: Generation, runner: string): Promise<void>;

  /** Removes a generation that is not active, with its tables, checkpoints and dead letters. */
  drop(of: Generation): Promise<void>;

  /**
   * Holds the checkpoints of a generation still, in one transaction, and hands over where they stand and read models
   * that change things inside that transaction. `switchTo` makes another generation the active one at its commit.
   */
  hold(
    of: Generation,
    work: (held: {
      readonly checkpoints: ReadonlyMap<number, Position>;
      readonly readModels: ReadModels;
      switchTo(next: Generation): Promise<void>;
    }) => Promise<void>,
  ): Promise<void>;

  /** Reads generations as they stand at one moment. */
  digests(of: readonly Generation[]): Promise<readonly GenerationDigest[]>;
}

export type GenerationDigest = Generation & {
  readonly checkpoints: ReadonlyMap<number, Position>;
  readonly tables: readonly TableDigest[];
};

/** `digest` is the same for the same rows, whatever their order, the engine they are in and how JSON is spelled. */
export type TableDigest = { readonly table: string; readonly rows: number; readonly digest: string };

export class RebuildUnderWay extends Error {
  override readonly name = 'RebuildUnderWay';
  readonly runner: string;

  constructor(projection: string, runner: string) {
    super(`${projection} is being rebuilt already, by ${runner}`);
    this.runner = runner;
  }
}
