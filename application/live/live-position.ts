import { comparePositions, type Position, type SourceName } from '../ports/event-source.ts';

/** Of a log: the last position of each partition; `null` is before its first event. */
export type Ends = ReadonlyMap<number, Position | null>;

/** The logs that streams send. Alarms are in the event store beside devices, and followed on their own. */
export const liveLogs = ['telemetry', 'devices', 'alarms'] as const satisfies readonly (
  | SourceName
  | 'alarms'
)[];
export type LiveLog = (typeof liveLogs)[number];

/** How far a stream has been sent: of each log, the last position of each partition; `null` is before the first event. */
export class LivePosition {
  readonly #logs: Readonly<Record<LiveLog, Map<number, Position | null>>>;
  /** Up to which time buckets were sent as final, of a stream of buckets. Epoch milliseconds. */
  readonly finalTo: number | undefined;

  constructor({ telemetry, devices, alarms }: Readonly<Record<LiveLog, Ends>>, finalTo?: number) {
    this.#logs = { telemetry: new Map(telemetry), devices: new Map(devices), alarms: new Map(alarms) };
    this.finalTo = finalTo;
  }

  copy(): LivePosition {
    return new LivePosition(this.#logs, this.finalTo);
  }

  /** The same of the other logs, where buckets were sent up to `telemetry`. */
  withBuckets(telemetry: Ends, finalTo: number): LivePosition {
    return new LivePosition({ ...this.#logs, telemetry }, finalTo);
  }

  of(source: LiveLog): Ends {
    return this.#logs[source];
  }

  at(source: LiveLog, partition: number): Position | null {
    return this.#logs[source].get(partition) ?? null;
  }

  /** Never goes back. */
  advance(source: LiveLog, partition: number, position: Position | null): void {
    if (comparePositions(position, this.at(source, partition)) > 0)
      this.#logs[source].set(partition, position);
  }

  /** Whether every partition of the log has come at least as far as `other` has. */
  reaches(source: LiveLog, other: LivePosition): boolean {
    return [...other.of(source)].every(
      ([partition, position]) => comparePositions(this.at(source, partition), position) >= 0,
    );
  }

  /** Positions with commas, as `Fieldlog-Position` has them: `telemetry:0:42,devices:0:7,alarms:start`; then `finalTo`. */
  toString(): string {
    const tokens = liveLogs.map((log) => {
      const reached = [...this.#logs[log]].filter(([, position]) => position !== null);
      if (reached.length === 0) return `${log}:${emptyPosition}`;
      return reached.map(([partition, position]) => `${log}:${partition}:${position}`).join();
    });
    if (this.finalTo !== undefined) return [...tokens, `buckets:0:${this.finalTo}`].join();
    return tokens.every((token) => token.endsWith(emptyPosition)) ? emptyPosition : tokens.join();
  }
}

/** Before the first event of a log, or of all. */
export const emptyPosition = 'start';
