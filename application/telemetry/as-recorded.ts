import type { Metrics } from '../../domain/telemetry.ts';
import type { DeviceDirectory } from '../ports/device-directory.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { type EventSource, lastPositions } from '../ports/event-source.ts';
import type { Point, PointQuery } from '../ports/queries.ts';
import type { Ids } from '../ports/system.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { arrivalOf } from '../projections/telemetry.ts';
import { readLog } from '../rebuild/build-consumer.ts';

export type RecordedQuery = Omit<PointQuery, 'scope'> & {
  readonly deviceId: string;
  /** Epoch milliseconds. */
  readonly recordedAt: number;
};

/**
 * A device's points as they stood when everything had been recorded that the API took up to a moment: before later
 * corrections, and before later retractions took them back. Nothing of a device that was erased or deleted. Reads the whole log
 * before it answers in chunks, none empty. Throws the signal's reason once it is aborted, `TelemetryLogUnavailable`,
 * `EventStoreUnavailable` and `LogNotRead`.
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
/** Milliseconds before the range: readings without a time of their own may move from there into it. */
const margin = 1000;

export const telemetryAsRecorded = (
  source: EventSource<TelemetryRecord>,
  registry: EventRegistry,
  ids: Ids,
  directory: Pick<DeviceDirectory, 'find'>,
): TelemetryAsRecorded =>
  async function* (query, signal) {
    const { deviceId, limit } = query;
    const status = (await directory.find(new Set([deviceId]))).get(deviceId)?.status;
    if (status === 'erased' || status === 'deleted') return;
    const readings = await readingsOf(query, signal);
    const selection = [...pointsOf(readings, query)].slice(0, limit);
    for (let at = 0; at < selection.length; at += chunk) yield selection.slice(at, at + chunk);

    async function readingsOf({ deviceId, range, recordedAt }: RecordedQuery, stop: AbortSignal) {
      const found = new Map<number, Metrics>();
      const options = { group: `as-recorded-${ids.uuidV7()}`, signal: stop };
      await readLog(source, await lastPositions(source), options, (events) => {
        for (const event of events)
          if (event.receivedAt <= recordedAt && arrivalOf(event).deviceId === deviceId)
            fold(event, range, found);
      });
      const { from, to } = range;
      for (const time of found.keys()) if (time < from || time >= to) found.delete(time);
      return found;
    }

    function fold(logged: TelemetryRecord, { from, to }: RecordedQuery['range'], into: Map<number, Metrics>) {
      const event = readable(logged);
      if (event?.type === 'TelemetryRecorded') {
        const { timestamp, metrics, untimed } = event.data;
        if (timestamp < from - margin || timestamp >= to) return;
        let time = timestamp;
        while (untimed && into.has(time)) time += 1;
        into.set(time, { ...into.get(time), ...metrics });
      } else if (event) {
        const { metric, ...rows } = event.data;
        for (const [timestamp, metrics] of into) {
          if (timestamp < rows.from || timestamp >= rows.to) continue;
          const { [metric ?? '']: _, ...left } = metrics;
          if (metric === undefined || Object.keys(left).length === 0) into.delete(timestamp);
          else into.set(timestamp, left);
        }
      }
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

/** In the order and behind the point that the query names. */
function* pointsOf(
  readings: ReadonlyMap<number, Metrics>,
  { deviceId, metrics: selection, order, after }: RecordedQuery,
): Generator<Point> {
  const direction = order === 'asc' ? 1 : -1;
  for (const [timestamp, metrics] of [...readings].sort(([a], [b]) => (a - b) * direction)) {
    const distance = after === undefined ? 1 : (timestamp - after.timestamp) * direction;
    if (distance < 0) continue;
    for (const metric of Object.keys(metrics).sort())
      if ((selection?.includes(metric) ?? true) && (distance > 0 || metric > (after?.metric ?? '')))
        yield { deviceId, timestamp, metric, value: metrics[metric] as Point['value'] };
  }
}
