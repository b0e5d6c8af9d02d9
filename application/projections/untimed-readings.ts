import type { TelemetryTables } from '../ports/read-models.ts';
import type { DecodedReading } from './telemetry-batch.ts';
import type { TelemetryCache } from './telemetry-cache.ts';

/** Milliseconds whose rows are looked up at once. */
const window = 1000;

/**
 * Gives readings without a time of their own a moment that no other reading of their device has. It follows from the
 * log alone: a device's readings are in one partition, and what comes before in it is in the tables.
 */
export async function placeUntimed(
  readings: readonly DecodedReading[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<readonly DecodedReading[]> {
  const untimed = new Set(
    readings.filter(({ event }) => event.data.untimed).map(({ event }) => event.data.deviceId),
  );
  if (untimed.size === 0) return readings;
  const devices = await cache.load([...untimed].sort(), tables);
  const takenOf = new Map([...devices].map(([id, { lastAt }]) => [id, new TakenTimes(id, lastAt, tables)]));
  const placed: DecodedReading[] = [];
  for (const reading of readings) {
    const { data } = reading.event;
    const taken = takenOf.get(data.deviceId);
    if (!taken) placed.push(reading);
    else if (!data.untimed) {
      taken.add(data.timestamp);
      placed.push(reading);
    } else {
      const timestamp = await taken.firstFree(data.timestamp);
      taken.add(timestamp);
      placed.push({ ...reading, event: { ...reading.event, data: { ...data, timestamp } } });
    }
  }
  return placed;
}

/** The moments at which a device has a reading: in the tables, and before in the batch. */
class TakenTimes {
  readonly #deviceId: string;
  /** No row is later. */
  readonly #lastAt: number;
  readonly #tables: TelemetryTables;
  readonly #times = new Set<number>();
  readonly #looked = new Set<number>();

  constructor(deviceId: string, lastAt: number, tables: TelemetryTables) {
    this.#deviceId = deviceId;
    this.#lastAt = lastAt;
    this.#tables = tables;
  }

  add(time: number): void {
    this.#times.add(time);
  }

  async firstFree(arrival: number): Promise<number> {
    let time = arrival;
    while (await this.#isTaken(time)) time += 1;
    return time;
  }

  async #isTaken(time: number): Promise<boolean> {
    const start = Math.floor(time / window) * window;
    if (time <= this.#lastAt && !this.#looked.has(start)) {
      this.#looked.add(start);
      const rows = await this.#tables.readingsBetween(this.#deviceId, start, start + window);
      for (const { timestamp } of rows) this.#times.add(timestamp);
    }
    return this.#times.has(time);
  }
}
