import type { Positioned, SourceName } from '../ports/event-source.ts';
import type { DeadLetterCause, ProjectionTables } from '../ports/read-models.ts';

/**
 * The projections there are, the log each is built from and the version of its code here. A version grows when the
 * tables that the code would build from the same log differ: the next deploy then builds them anew.
 */
const projections = {
  devices: { source: 'devices', version: 1 },
  device_history: { source: 'devices', version: 1 },
  telemetry: { source: 'telemetry', version: 1 },
  detection: { source: 'telemetry', version: 1 },
} as const satisfies Record<string, { source: SourceName; version: number }>;

export type ProjectionName = keyof typeof projections;

export const projectionNames = Object.keys(projections) as readonly ProjectionName[];

export const isProjectionName = (name: string): name is ProjectionName => Object.hasOwn(projections, name);

export function sourceOf(projection: string): SourceName {
  if (!isProjectionName(projection)) throw new Error(`There is no projection named ${projection}`);
  return projections[projection].source;
}

export const versionOf = (projection: ProjectionName): number => projections[projection].version;

/**
 * How one read model follows from its log. `Event` is what the source yields, `Decoded` what `decode` makes of it
 * after checking it.
 */
export type Projection<Event extends Positioned, Decoded> = {
  readonly name: ProjectionName;
  readonly version: number;

  /** What a dead letter must say of an event. */
  describe(event: Event): EventDescription;

  /** Throws `UnknownEventType` or `MalformedEvent`. */
  decode(event: Event): Decoded;

  /**
   * Why an event that can be applied waits for an operator all the same; `at` is when that is asked, epoch
   * milliseconds, its arrival when absent.
   */
  readonly postpone?: (event: Decoded, at?: number) => RejectedEvent | undefined;

  /** Whether later events of a stream wait for one that was parked for `cause`; always when absent. */
  readonly holdsStream?: (cause: DeadLetterCause, eventType: string) => boolean;

  /** Events that are applied in parts, each a transaction of its own; none when absent. */
  readonly standsAlone?: (event: Event) => boolean;

  /** Events of a batch at most, where a source can choose; as many as the source likes when absent. */
  readonly batchEvents?: number;

  /** A worker of its own for each partition, with whatever it caches of the tables. */
  forPartition(): PartitionProjection<Event, Decoded>;
};

export type EventDescription = {
  readonly id: string;
  readonly type: string;
  /** Events of one stream depend on their order; a device is one. */
  readonly stream: string;
  readonly correlationId: string;
};

export type PartitionProjection<Event, Decoded> = {
  /** Finds valid events that must be dead-lettered anyway. Changes nothing; absent when all are accepted. */
  validate?(events: readonly Decoded[], partition: number): Promise<Validated<Decoded>>;

  /** Why an event that was parked and held nothing up can no longer be applied, later ones having been; if so. */
  validateLate?(event: Decoded, tables: ProjectionTables): Promise<string | undefined>;

  /** Changes the tables as the events say, which come in log order. */
  apply(events: readonly Decoded[], tables: ProjectionTables): Promise<void>;

  /**
   * Applies the next part of an event that stands alone. After `more` this part is committed, and the event given again
   * before any other.
   */
  applyPart?(event: Decoded, tables: ProjectionTables): Promise<'more' | 'done'>;

  /** Called with the events parked in the same transaction. */
  onParked?(events: readonly Event[], tables: ProjectionTables): Promise<void>;

  /** Called with the events that were parked once and have been applied in the same transaction. */
  onUnparked?(events: readonly Event[], tables: ProjectionTables): Promise<void>;

  /** Whatever was cached may not be what the tables hold. */
  invalidate(): void;
};

export type Validated<Decoded> = {
  /** What `apply` takes, in the order of the log: the events with what validation has found out about them. */
  readonly accepted: readonly Decoded[];
  /** The other events, in the order of the log. */
  readonly rejected: ReadonlyMap<Decoded, RejectedEvent>;
};

export type RejectedEvent = { readonly cause: DeadLetterCause; readonly error: string };
