import type { DeviceRetention } from '../../domain/retention.ts';
import type { Metrics, Reading, TelemetryEvent } from '../../domain/telemetry.ts';
import type { DeviceDirectory, DirectoryEntry } from '../ports/device-directory.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { ReadingRow, TelemetryTables } from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import type { CurrentRetention } from '../retention/policy.ts';
import {
  type EventDescription,
  type PartitionProjection,
  type Projection,
  type RejectedEvent,
  versionOf,
} from './projection.ts';
import { type DecodedReading, recordReadings } from './telemetry-batch.ts';
import { countLedger, ledgerChanges, TelemetryCache } from './telemetry-cache.ts';
import { retract } from './telemetry-corrections.ts';

/** A checked event of the telemetry log with what the log says of it. */
type DecodedTelemetryEvent =
  | DecodedReading
  | {
      readonly logged: TelemetryRecord;
      readonly event: Extract<TelemetryEvent, { type: 'TelemetryRetracted' }>;
      retention?: DeviceRetention;
    };

const isReadingFact = (fact: DecodedTelemetryEvent): fact is DecodedReading =>
  fact.event.type === 'TelemetryRecorded';

/** Points, newest values, rollups and the conservation ledger, all of one device in one partition. */
export function telemetryProjection(
  registry: EventRegistry,
  directory: DeviceDirectory,
  retention: CurrentRetention,
): Projection<TelemetryRecord, DecodedTelemetryEvent> {
  return {
    name: 'telemetry',
    version: versionOf('telemetry'),
    describe,
    decode: (logged) => ({ logged, event: registry.telemetryEvent(logged) }) as DecodedTelemetryEvent,
    forPartition: () => telemetryWorker(directory, retention),
  };
}

/** Rows of another generation as the readings that brought them, for when the log no longer has these. */
export const carriedReadings = (rows: readonly ReadingRow[]): readonly DecodedTelemetryEvent[] =>
  rows.map(({ deviceId, timestamp, metrics, receivedAt, correlationId, position }) => {
    const data = { deviceId, timestamp, metrics };
    const type = 'TelemetryRecorded';
    const logged = { id: '', type, schemaVersion: 0, position, receivedAt, correlationId, actor: '', data };
    return { logged, event: { type, data } };
  });

function telemetryWorker(
  directory: DeviceDirectory,
  retention: CurrentRetention,
): PartitionProjection<TelemetryRecord, DecodedTelemetryEvent> {
  const cache = new TelemetryCache();
  return {
    async validate(facts) {
      await retention.refresh();
      const keptOfDevice = new Map<string, DeviceRetention>();
      const keepBy = (deviceId: string, { types }: DirectoryEntry) => {
        const kept = retention.forDevice(types);
        if (kept) keptOfDevice.set(deviceId, kept);
      };
      const asked = new Set<string>();
      const missing = new Set<string>();
      for (const { event } of facts) {
        const { deviceId } = event.data;
        if (asked.has(deviceId)) continue;
        asked.add(deviceId);
        const entry = directory.peek(deviceId);
        if (entry) keepBy(deviceId, entry);
        else missing.add(deviceId);
      }
      const found = missing.size > 0 ? await directory.find(missing) : new Map<string, DirectoryEntry>();
      for (const [deviceId, entry] of found) keepBy(deviceId, entry);
      if (keptOfDevice.size > 0)
        for (const fact of facts) {
          const kept = keptOfDevice.get(fact.event.data.deviceId);
          if (kept) fact.retention = kept;
        }
      const refused = new Map<DecodedTelemetryEvent, RejectedEvent>();
      if (missing.size === found.size) return refused;
      for (const fact of facts) {
        const { deviceId } = fact.event.data;
        if (missing.has(deviceId) && !found.has(deviceId))
          refused.set(fact, { cause: 'unknown-device', error: `Device ${deviceId} is not registered` });
      }
      return refused;
    },

    apply: async (facts, { telemetry }) => {
      let readings: DecodedReading[] = [];
      const late = ledgerChanges();
      for (const fact of facts) {
        const { receivedAt } = fact.logged;
        if (isReadingFact(fact)) {
          const reading = withRetainedPart(fact);
          if (reading) readings.push(reading);
          else late.of(fact.event.data.deviceId, receivedAt).late += 1;
          continue;
        }
        await record(readings, telemetry);
        readings = [];
        await retract(fact.event.data, receivedAt, fact.retention, cache, telemetry);
      }
      await record(readings, telemetry);
      if (late.byDevice.size > 0) await countLedger(late, cache, telemetry);
      cache.trim();
    },

    onParked: (events, { telemetry }) => countDeadLetters(events, 1, telemetry),

    onUnparked: (events, { telemetry }) => countDeadLetters(events, -1, telemetry),

    invalidate: () => cache.clear(),
  };

  function countDeadLetters(events: readonly TelemetryRecord[], by: 1 | -1, tables: TelemetryTables) {
    const readings = events.filter(countsAsReading);
    const changes = ledgerChanges();
    for (const { deviceId, receivedAt } of readings.map(arrivalOf))
      changes.of(deviceId, receivedAt).deadLettered += by;
    return countLedger(changes, cache, tables);
  }

  async function record(readings: readonly DecodedReading[], tables: TelemetryTables): Promise<void> {
    if (readings.length > 0) await recordReadings(readings, cache, tables);
  }
}

/** The fact with what is kept of its reading; `undefined` when that is nothing. */
function withRetainedPart(fact: DecodedReading): DecodedReading | undefined {
  const { logged, event, retention: kept } = fact;
  if (!kept) return fact;
  const data = retainedPart(event.data, logged.receivedAt, kept);
  return data && { logged, event: { type: event.type, data }, retention: kept };
}

/** Whether the ledger has to account for an event of the log; what is not known for certain may be a reading. */
export const countsAsReading = ({ type }: TelemetryRecord): boolean => type !== 'TelemetryRetracted';

/** Where the ledger counts an event, whether or not it can be read. */
export const arrivalOf = ({ receivedAt, data }: TelemetryRecord) => ({
  deviceId: deviceIdOf(data),
  receivedAt,
});

function describe({ id, type, correlationId, data }: TelemetryRecord): EventDescription {
  const deviceId = deviceIdOf(data);
  return { id, type, correlationId, stream: deviceId === '' ? `event-${id}` : `device-${deviceId}` };
}

/** The device an event speaks of, as far as it can be told before the event is checked; `''` when it cannot. */
function deviceIdOf(data: unknown): string {
  const id = typeof data === 'object' && data !== null && 'deviceId' in data ? data.deviceId : undefined;
  return typeof id === 'string' && id.length <= 128 ? id : '';
}

/**
 * What is kept of a reading that came at `receivedAt`; `undefined` when nothing is. It is a matter of the reading and
 * of the policy alone: whether the points of its time have been removed by now is not asked, so that every run over
 * the log, however late, finds the same.
 */
function retainedPart(
  reading: Reading,
  receivedAt: number,
  kept: DeviceRetention | undefined,
): Reading | undefined {
  const { deviceId, timestamp, metrics } = reading;
  if (!kept || timestamp >= kept.newest('points', receivedAt)) return reading;
  const names = Object.keys(metrics);
  const inTime = names.filter((name) => timestamp >= kept.horizon('points', name, receivedAt));
  if (inTime.length === names.length) return reading;
  if (inTime.length === 0) return undefined;
  const left: Metrics = Object.fromEntries(inTime.map((name) => [name, metrics[name] as Metrics[string]]));
  return { deviceId, timestamp, metrics: left };
}
