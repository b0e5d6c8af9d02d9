import type { TelemetryEvent } from '../../domain/telemetry.ts';
import type { PartitionPosition, Position } from './event-source.ts';

/** Events of one request, published together; each is a domain event of its own once in the log. */
export type TelemetryPublication = {
  /** UUID; the event at `index` is known as `<id>/<index>`. */
  readonly id: string;
  readonly type: TelemetryEvent['type'];
  readonly schemaVersion: number;
  /** Epoch milliseconds when the API took the request. */
  readonly receivedAt: number;
  readonly correlationId: string;
  readonly actor: string;
  readonly traceparent?: string;
  /** Events of a device stay in order: they share a partition. */
  readonly events: readonly TelemetryEvent['data'][];
  /** `events` as a JSON array, where they came as one: a log of JSON need not serialize it again. */
  readonly eventsJson?: string;
};

/** One record of the log. `data` is what was published; readers validate it. */
export type TelemetryRecord = {
  readonly id: string;
  readonly type: string;
  readonly schemaVersion: number;
  readonly position: Position;
  readonly receivedAt: number;
  readonly correlationId: string;
  readonly actor: string;
  readonly traceparent?: string;
  readonly data: unknown;
};

/** What a publication says of each of its events. */
export type PublicationHeader = Omit<TelemetryRecord, 'position' | 'data'>;

/** The event at `index` of a publication. Every reading goes through here: a spread would cost three times as much. */
export function recordAt(
  header: PublicationHeader,
  index: number,
  position: Position,
  data: unknown,
): TelemetryRecord {
  const { id, type, schemaVersion, receivedAt, correlationId, actor, traceparent } = header;
  const event = {
    id: `${id}/${index}`,
    type,
    schemaVersion,
    position,
    receivedAt,
    correlationId,
    actor,
    data,
  };
  return traceparent === undefined ? event : { ...event, traceparent };
}

export interface TelemetryLog {
  /**
   * Resolves when every event is durable, with the position of the last one in each partition written to.
   * Throws `TelemetryLogUnavailable` when that cannot be promised; nothing may be assumed stored then.
   */
  publish(publication: TelemetryPublication): Promise<readonly PartitionPosition[]>;

  /** Gives back what it holds until the next publication; nothing may be published meanwhile. Nothing to give when absent. */
  rest?(): Promise<void>;
}

/** The log cannot take or persist events now; retryable after `retryAfter` seconds. */
export class TelemetryLogUnavailable extends Error {
  override readonly name = 'TelemetryLogUnavailable';
  readonly retryAfter: number;

  constructor(message: string, retryAfter = 1, options?: ErrorOptions) {
    super(message, options);
    this.retryAfter = retryAfter;
  }
}
