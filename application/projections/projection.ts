import type { Positioned } from '../ports/event-source.ts';
import type { SourceName } from '../ports/position.ts';
import type { DeadLetterCause, ProjectionTables } from '../ports/read-models.ts';

/** The projections there are, and the log each is built from. */
const sources = {
  devices: 'devices',
  device_history: 'devices',
  telemetry: 'telemetry',
} as const satisfies Record<string, SourceName>;

export type ProjectionName = keyof typeof sources;

export const projectionNames = Object.keys(sources) as readonly ProjectionName[];

export const isProjectionName = (name: string): name is ProjectionName => Object.hasOwn(sources, name);

export function sourceOf(projection: string): SourceName {
  if (!isProjectionName(projection)) throw new Error(`There is no projection named ${projection}`);
  return sources[projection];
}

/**
 * How one read model follows from its log. `Event` is what the source yields, `Decoded` what `decode` makes of it
 * after checking it. Grows its `version` when the tables it would build from the same log differ.
 */
export type Projection<Event extends Positioned, Decoded> = {
  readonly name: ProjectionName;
  readonly version: number;

  /** What a dead letter must say of an event. */
  describe(event: Event): EventDescription;

  /** Throws `UnknownEventType` or `MalformedEvent`. */
  decode(event: Event): Decoded;

  /** A worker of its own for each partition, with whatever it caches of the tables. */
  open(): ProjectionWorker<Event, Decoded>;
};

export type EventDescription = {
  readonly id: string;
  readonly type: string;
  /** Events of one stream depend on their order; a device is one. */
  readonly stream: string;
  readonly correlationId: string;
};

export type ProjectionWorker<Event, Decoded> = {
  /** Of events that decode well, those that must be parked all the same, with the cause and what is wrong. */
  refuse?(events: readonly Decoded[]): Promise<ReadonlyMap<Decoded, Refused>>;

  /** Changes the tables as the events say, which come in log order. */
  apply(events: readonly Decoded[], tables: ProjectionTables): Promise<void>;

  /** Told of events parked in the same transaction. */
  parked?(events: readonly Event[], tables: ProjectionTables): Promise<void>;

  /** Whatever was cached may not be what the tables hold. */
  reset(): void;
};

export type Refused = { readonly cause: DeadLetterCause; readonly error: string };
