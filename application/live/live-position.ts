import { comparePositions, type Position, positionToken, type SourceName } from '../ports/event-source.ts';

type Ends = ReadonlyMap<number, Position | null>;

/** How far a stream has been told: of each log, the last position of each partition; `null` is before the first event. */
export class LivePosition {
  readonly #logs: Readonly<Record<SourceName, Map<number, Position | null>>>;

  constructor(telemetry: Ends, devices: Ends) {
    this.#logs = { telemetry: new Map(telemetry), devices: new Map(devices) };
  }

  copy(): LivePosition {
    return new LivePosition(this.#logs.telemetry, this.#logs.devices);
  }

  of(source: SourceName): Ends {
    return this.#logs[source];
  }

  at(source: SourceName, partition: number): Position | null {
    return this.#logs[source].get(partition) ?? null;
  }

  /** Never goes back. */
  advance(source: SourceName, partition: number, position: Position | null): void {
    if (comparePositions(position, this.at(source, partition)) > 0)
      this.#logs[source].set(partition, position);
  }

  /** Whether every partition of the log has come at least as far as `other` has. */
  reaches(source: SourceName, other: LivePosition): boolean {
    return [...other.of(source)].every(
      ([partition, position]) => comparePositions(this.at(source, partition), position) >= 0,
    );
  }

  /** Positions with commas, as `Fieldlog-Position` has them: `telemetry:0:42,devices:0:7`. */
  toString(): string {
    const tokens: string[] = [];
    for (const source of ['telemetry', 'devices'] as const)
      for (const [partition, position] of this.#logs[source])
        if (position !== null) tokens.push(positionToken(source, { partition, position }));
    return tokens.length === 0 ? emptyPosition : tokens.join();
  }
}

/** Before the first event of either log. */
export const emptyPosition = 'start';
