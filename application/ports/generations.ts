import type { Position } from './event-source.ts';
import type { GenerationId, ReadingRow, ReadModels } from './read-models.ts';

/** `building` is being filled, `ready` waits to be switched to, `retired` was active and can be again. */
type GenerationStatus = 'building' | 'ready' | 'active' | 'retired';

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
  /** The lease owner that builds it; `null` when none does. */
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
  /** Why it does not continue and what to do; `null` where nothing keeps it. */
  readonly refused: string | null;
  /** Oldest first. */
  readonly generations: readonly GenerationState[];
};

/** A lease owner, and its rule for when another owner's lease has expired. */
export type LeaseOwner = {
  readonly id: string;
  isExpired(runner: string, heardAt: number): boolean;
};

/** Whether a lease, as its table has it, keeps `owner` out. */
export const isLeasedByAnother = (
  { runner, heardAt }: { readonly runner: string | null; readonly heardAt: number | null },
  owner: LeaseOwner,
): boolean => runner !== null && runner !== owner.id && !owner.isExpired(runner, heardAt ?? 0);

/** The shared state of operators and workers: generations, the active one, the lease on the next. */
export interface ProjectionControl {
  states(): Promise<readonly ProjectionState[]>;

  /** Points the analysts' views to the active generations, where a process that switched ended before it did so. */
  publishViews(): Promise<void>;

  /** Workers leave a paused projection alone; its checkpoint stays where it is. */
  setPaused(projection: string, paused: boolean): Promise<void>;

  /** Keeps why a projection does not continue, until another generation becomes active or `null` is given. */
  setRefused(projection: string, reason: string | null): Promise<void>;

  /**
   * Takes up the generation that is being built for the same purpose, or makes a new one with empty tables in its
   * place. Throws `RebuildUnderWay` when another owner builds any generation of the projection.
   */
  claim(
    request: { readonly projection: string; readonly version: number; readonly device: string | null },
    builder: LeaseOwner,
  ): Promise<{ readonly generation: number; readonly resumed: boolean }>;

  /** Takes up a generation that is complete, to bring it up to date. Throws `RebuildUnderWay`. */
  reopen(generation: GenerationId, builder: LeaseOwner): Promise<void>;

  /** Heartbeat of the owner with its progress. Throws `RebuildUnderWay` when another owner has taken over. */
  report(generation: GenerationId, runner: string, progress: BuildProgress): Promise<void>;

  /** Releases the lease. With `ready` the generation is complete and can be switched to. */
  release(
    generation: GenerationId,
    runner: string,
    outcome: BuildOutcome | null,
    ready: boolean,
  ): Promise<void>;

  /**
   * Removes a generation with its tables, checkpoints and dead letters, and gives their space back. Throws
   * `ReplayRefused` for the active one and `RebuildUnderWay` for one that is being built.
   */
  drop(generation: GenerationId, builder: LeaseOwner): Promise<void>;

  /**
   * Holds the checkpoints of a generation still, in one transaction. A transaction lost to a deadlock or a broken
   * connection calls `work` again, with nothing of the first time left in the tables.
   */
  hold(generation: GenerationId, work: (held: HeldGeneration) => Promise<void>): Promise<void>;

  /** Bytes that the tables of a generation take; `null` where the engine has them on its own machine. */
  size(generation: GenerationId): Promise<number | null>;

  /** Reads a generation in one snapshot. */
  digest(generation: GenerationId): Promise<GenerationDigest>;

  /** Reads two generations in one snapshot; `undefined` when they are not at the same position in it. */
  digestsIfAligned(one: GenerationId, other: GenerationId): Promise<GenerationDigests | undefined>;
}

export type GenerationDigests = readonly [GenerationDigest, GenerationDigest];

export type HeldGeneration = {
  readonly checkpoints: ReadonlyMap<number, Position>;
  /** Changes things inside the transaction, one `transact` at a time. */
  readonly readModels: ReadModels;
  /**
   * Begins to read both generations as they are now, and resolves once that holds whatever is changed afterwards: the
   * reading itself continues beside the hold's end. Absent where one writer keeps out every other until the commit, so
   * that changes to the other generation are inside the transaction and cannot be read yet.
   */
  readonly beginDigests?: (other: GenerationId) => Promise<{ readonly digests: Promise<GenerationDigests> }>;
  /** Makes another generation the active one at the commit. */
  switchTo(next: GenerationId): Promise<void>;
  /** Replaces one device's rows and dead letters by those of another generation. */
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

/** Another owner holds the lease; the message names it. */
export class RebuildUnderWay extends Error {
  override readonly name = 'RebuildUnderWay';
  readonly runner: string;

  constructor(projection: string, runner: string) {
    super(`${projection} is being rebuilt already, by ${runner}`);
    this.runner = runner;
  }
}

/** The operation is not possible in the current state; the message says why and what is. */
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

/** Throws `ReplayRefused` for an unknown projection. */
export async function projectionState(
  { name }: { readonly name: string },
  control: Pick<ProjectionControl, 'states'>,
): Promise<ProjectionState> {
  const state = (await control.states()).find(({ projection }) => projection === name);
  if (!state) throw new ReplayRefused(`There is no projection named ${name}`);
  return state;
}

/** The generation that readers use. Throws `ReplayRefused` for an unknown projection. */
export async function activeGeneration(
  projection: { readonly name: string },
  control: Pick<ProjectionControl, 'states'>,
): Promise<GenerationState> {
  const { active, generations } = await projectionState(projection, control);
  const found = generations.find(({ generation }) => generation === active);
  if (!found) throw new Error(`The active generation ${active} of ${projection.name} is not known`);
  return found;
}
