import type { Metrics } from '../domain/telemetry/reading.ts';
import type { EventRegistry } from './ports/event-registry.ts';
import type { EventSource } from './ports/event-source.ts';
import type { Ids } from './ports/ids.ts';
import type { Position } from './ports/position.ts';
import type { Point, TimeRange } from './ports/queries.ts';
import type { LoggedTelemetry } from './ports/telemetry-log.ts';
import { arrivalOf } from './projections/telemetry.ts';
import { readLog } from './replay/read-log.ts';

/**
 * A device's points in a range, by time and metric, as they stood when everything had been recorded that the API
 * took up to a moment, epoch milliseconds: before later corrections, and before later retractions took them back.
 * Reads the whole log. Throws `TelemetryLogUnavailable`.
 */
export type TelemetryAsRecorded = (
  deviceId: string,
  range: TimeRange,
  recordedAt: number,
) => Promise<readonly Point[]>;

export const telemetryAsRecorded =
  (source: EventSource<LoggedTelemetry>, registry: EventRegistry, ids: Ids): TelemetryAsRecorded =>
  async (deviceId, { from, to }, recordedAt) => {
    const readings = new Map<number, Metrics>();
    const ends = [...(await source.ends())].filter((end): end is [number, Position] => end[1] !== null);
    const options = { group: `as-recorded-${ids.fresh()}`, signal: new AbortController().signal };
    await readLog(source, new Map(ends), options, (events) => {
      for (const event of events)
        if (event.receivedAt <= recordedAt && arrivalOf(event).deviceId === deviceId) fold(event);
    });
    return [...readings]
      .sort(([a], [b]) => a - b)
      .flatMap(([timestamp, metrics]) =>
        Object.keys(metrics)
          .sort()
          .map((metric) => ({ deviceId, timestamp, metric, value: metrics[metric] as Point['value'] })),
      );

    function fold(logged: LoggedTelemetry): void {
      const event = readable(logged);
      if (event?.type === 'TelemetryRecorded') {
        const { timestamp, metrics } = event.data;
        if (timestamp >= from && timestamp < to)
          readings.set(timestamp, { ...readings.get(timestamp), ...metrics });
      } else if (event) {
        const { metric, ...taken } = event.data;
        for (const [timestamp, metrics] of readings) {
          if (timestamp < taken.from || timestamp >= taken.to) continue;
          const { [metric ?? '']: _, ...left } = metrics;
          if (metric === undefined || Object.keys(left).length === 0) readings.delete(timestamp);
          else readings.set(timestamp, left);
        }
      }
    }

    /** What cannot be read was parked then as it is now, and is in no table. */
    function readable(logged: LoggedTelemetry) {
      try {
        return registry.telemetryEvent(logged);
      } catch {
        return undefined;
      }
    }
  };
