import type { Metrics } from '../../domain/telemetry.ts';
import type { DeviceDirectory } from '../ports/device-directory.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { type EventSource, lastPositions } from '../ports/event-source.ts';
import type { Point, PointQuery, TimeRange } from '../ports/queries.ts';
import type { Ids } from '../ports/system.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { arrivalOf } from '../projections/telemetry.ts';
import { readLog } from '../rebuild/build-consumer.ts';
import { HeldReadings } from './held-readings.ts';

export type RecordedQuery = Omit<PointQuery, 'scope'> & {
  readonly deviceId: string;
  /** Epoch milliseconds. */
  readonly recordedAt: number;
};

/**
 * A device's points as they stood when everything had been recorded that the API took up to a moment: before later
 * corrections, and before later retractions took them back. Nothing of a device that was erased or deleted. Reads the
 * device's partition whole before it answers in chunks, none empty, and again for what it could not hold in memory.
 * Throws the signal's reason once it is aborted, `TelemetryLogUnavailable`, `EventStoreUnavailable` and `LogNotRead`.
 */
export type TelemetryAsRecorded = (
  query: RecordedQuery,
  signal: AbortSignal,
) => AsyncIterable<readonly Point[]>;

/** Retryable: the log could not be read; the message says why. */
export class LogNotRead extends Error {
  override readonly name = 'LogNotRead';
}

const chunk = 1000;

/** `mostReadings` are held in memory at once, about. */
export const telemetryAsRecorded = (
  source: EventSource<TelemetryRecord>,
  registry: EventRegistry,
  ids: Ids,
  directory: Pick<DeviceDirectory, 'find'>,
  mostReadings = 200_000,
): TelemetryAsRecorded =>
  async function* (query, signal) {
    const { deviceId, limit, recordedAt, order } = query;
    const status = (await directory.find(new Set([deviceId]))).get(deviceId)?.status;
    if (status === 'erased' || status === 'deleted') return;
    const partition = (await source.partitioner())(deviceId);
    const ends = new Map([...(await lastPositions(source))].filter(([one]) => one === partition));
    let left = limit;
    for (let range: TimeRange | undefined = rangeOf(query); range && left > 0; ) {
      const held = new HeldReadings(range, order, mostReadings);
      const options = { group: `as-recorded-${ids.uuidV7()}`, signal };
      await readLog(source, ends, options, (events) => {
        for (const event of events)
          if (event.receivedAt <= recordedAt && arrivalOf(event).deviceId === deviceId)
            held.fold(readable(event));
      });
      const selection = [...pointsOf(held.inRange(), query)].slice(0, left);
      for (let at = 0; at < selection.length; at += chunk) yield selection.slice(at, at + chunk);
      left -= selection.length;
      range = held.rest();
    }

    /** What cannot be read was parked then as it is now, and is in no table. */
    function readable(logged: TelemetryRecord) {
      try {
        return registry.telemetryEvent(logged);
      } catch {
        return undefined;
      }
    }
  };

/** Without what comes before the point that the query names. */
function rangeOf({ range: { from, to }, order, after }: RecordedQuery): TimeRange {
  if (!after) return { from, to };
  return order === 'asc'
    ? { from: Math.max(from, after.timestamp), to }
    : { from, to: Math.min(to, after.timestamp + 1) };
}

/** In the order and behind the point that the query names. */
function* pointsOf(
  readings: readonly (readonly [timestamp: number, metrics: Metrics])[],
  { deviceId, metrics: selection, order, after }: RecordedQuery,
): Generator<Point> {
  const direction = order === 'asc' ? 1 : -1;
  for (const [timestamp, metrics] of readings.toSorted(([a], [b]) => (a - b) * direction)) {
    const distance = after === undefined ? 1 : (timestamp - after.timestamp) * direction;
    if (distance < 0) continue;
    for (const metric of Object.keys(metrics).sort())
      if ((selection?.includes(metric) ?? true) && (distance > 0 || metric > (after?.metric ?? '')))
        yield { deviceId, timestamp, metric, value: metrics[metric] as Point['value'] };
  }
}
