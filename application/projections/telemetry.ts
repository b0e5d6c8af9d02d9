import type { DeviceRetention } from '../../domain/retention.ts';
import {
  type DetectionEvent,
  isDetectionEvent,
  isDeviceId,
  type Metrics,
  type Reading,
} from '../../domain/telemetry.ts';
import type { DeviceDirectory, DirectoryEntry } from '../ports/device-directory.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { EventSource, Position, Positioned } from '../ports/event-source.ts';
import type { DeadLetterCause, ProjectionTables, ReadingRow, TelemetryTables } from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import type { CurrentRetention } from '../retention/policy.ts';
import {
  type EventDescription,
  type PartitionProjection,
  type Projection,
  type RejectedEvent,
  type Validated,
  versionOf,
} from './projection.ts';
import { hasLater, settleWaiting } from './retracted-dead-letters.ts';
import { type DecodedReading, recordReadings } from './telemetry-batch.ts';
import { CacheBudget, countLedger, ledgerChanges, TelemetryCache } from './telemetry-cache.ts';
import { type DecodedRetraction, retract } from './telemetry-corrections.ts';
import { placeUntimed } from './untimed-readings.ts';

/** A checked event of the telemetry log with what the log says of it. */
type DecodedTelemetryEvent = DecodedReading | DecodedRetraction | DecodedForOthers;

/** Nothing that this projection is about. */
type DecodedForOthers = {
  readonly logged: TelemetryRecord;
  readonly event: DetectionEvent;
  readonly retention?: DeviceRetention;
};

const isReading = (decoded: DecodedTelemetryEvent): decoded is DecodedReading =>
  decoded.event.type === 'TelemetryRecorded';

const isRetraction = (decoded: DecodedTelemetryEvent): decoded is DecodedRetraction =>
  decoded.event.type === 'TelemetryRetracted';

type TelemetryOptions = {
  /** A reading whose time is more milliseconds than this after its arrival is parked. */
  readonly clockTolerance?: number;
  /** A retraction looks at so many rows in a transaction. */
  readonly rowsAtOnce?: number;
  /** About how many bytes it remembers of devices, of all partitions and generations. */
  readonly cacheBytes?: number;
};

/** Points, newest values, rollups and the conservation ledger, all of one device in one partition. */
export function telemetryProjection(
  registry: EventRegistry,
  directory: DeviceDirectory,
  retention: CurrentRetention,
  partitioner: EventSource<Positioned>['partitioner'],
  {
    clockTolerance = Number.POSITIVE_INFINITY,
    rowsAtOnce = 1000,
    cacheBytes = 128 * 1024 * 1024,
  }: TelemetryOptions = {},
): Projection<TelemetryRecord, DecodedTelemetryEvent> {
  const budget = new CacheBudget(cacheBytes);
  const decode = (logged: TelemetryRecord) =>
    ({ logged, event: registry.telemetryEvent(logged) }) as DecodedTelemetryEvent;
  return {
    name: 'telemetry',
    version: versionOf('telemetry'),
    describe: describeTelemetry,
    decode,
    postpone: postponeFuture(clockTolerance),
    holdsStream,
    standsAlone: ({ type }) => type === 'TelemetryRetracted',
    forPartition: () => new TelemetryPartition(decode, directory, retention, partitioner, rowsAtOnce, budget),
  };
}

/** What is no reading at all says of no device and time that a later one could depend on. */
const holdsStream = (cause: DeadLetterCause, eventType: string): boolean =>
  !(eventType === 'TelemetryRecorded' && (cause === 'malformed' || cause === 'future'));

const postponeFuture =
  (tolerance: number) =>
  ({ logged, event }: DecodedTelemetryEvent, at = logged.receivedAt): RejectedEvent | undefined => {
    if (event.type !== 'TelemetryRecorded' || event.data.timestamp - at <= tolerance) return undefined;
    const [time, now] = [event.data.timestamp, at].map((one) => new Date(one).toISOString());
    return {
      cause: 'future',
      error: `Its time ${time} is further ahead of ${now} than CLOCK_TOLERANCE allows: is the device's clock right?`,
    };
  };

/** Rows of another generation as the readings that brought them, for when the log no longer has these. */
export const carriedReadings = (rows: readonly ReadingRow[]): readonly DecodedTelemetryEvent[] =>
  rows.map(({ deviceId, timestamp, metrics, receivedAt, correlationId, position }) => {
    const data = { deviceId, timestamp, metrics };
    const type = 'TelemetryRecorded';
    const logged = { id: '', type, schemaVersion: 0, position, receivedAt, correlationId, actor: '', data };
    return { logged, event: { type, data } };
  });

class TelemetryPartition implements PartitionProjection<TelemetryRecord, DecodedTelemetryEvent> {
  readonly #decode: (logged: TelemetryRecord) => DecodedTelemetryEvent;
  readonly #directory: DeviceDirectory;
  readonly #retention: CurrentRetention;
  readonly #partitioner: EventSource<Positioned>['partitioner'];
  readonly #rowsAtOnce: number;
  readonly #cache: TelemetryCache;
  /** The retraction that is being applied, and the time up to which it has been. */
  #retracting: { readonly position: Position; readonly since: number } | undefined;

  constructor(
    decode: (logged: TelemetryRecord) => DecodedTelemetryEvent,
    directory: DeviceDirectory,
    retention: CurrentRetention,
    partitioner: EventSource<Positioned>['partitioner'],
    rowsAtOnce: number,
    budget: CacheBudget,
  ) {
    this.#decode = decode;
    this.#directory = directory;
    this.#retention = retention;
    this.#partitioner = partitioner;
    this.#rowsAtOnce = rowsAtOnce;
    this.#cache = new TelemetryCache(budget);
  }

  /** Accepts the events of registered devices in their partition, with the retention of each device that has one. */
  async validate(
    events: readonly DecodedTelemetryEvent[],
    partition: number,
  ): Promise<Validated<DecodedTelemetryEvent>> {
    await this.#retention.refresh();
    const { deviceIds, retentionOf, unknown } = await this.#lookUp(events);
    const misplaced = await this.#misplaced(deviceIds, partition);
    const rejected = new Map<DecodedTelemetryEvent, RejectedEvent>();
    // The usual case costs nothing per reading.
    if (retentionOf.size === 0 && unknown.size === 0 && misplaced.size === 0)
      return { accepted: events, rejected };
    const accepted: DecodedTelemetryEvent[] = [];
    for (const decoded of events) {
      const { deviceId } = decoded.event.data;
      const retention = retentionOf.get(deviceId);
      const right = misplaced.get(deviceId);
      if (right !== undefined)
        rejected.set(decoded, {
          cause: 'wrong-partition',
          error: `Device ${deviceId} is in partition ${partition}, its readings belong in ${right}: its producer has to choose partitions by murmur2 of the device id`,
        });
      else if (unknown.has(deviceId))
        rejected.set(decoded, { cause: 'unknown-device', error: `Device ${deviceId} is not registered` });
      else accepted.push(retention ? ({ ...decoded, retention } as DecodedTelemetryEvent) : decoded);
    }
    return { accepted, rejected };
  }

  /**
   * The partition of each device that has another one than this. Only one worker writes a device's rows: it knows
   * them without asking.
   */
  async #misplaced(deviceIds: ReadonlySet<string>, partition: number): Promise<ReadonlyMap<string, number>> {
    const partitionOf = await this.#partitioner();
    const misplaced = new Map<string, number>();
    for (const deviceId of deviceIds) {
      const right = partitionOf(deviceId);
      if (right !== partition) misplaced.set(deviceId, right);
    }
    return misplaced;
  }

  /** A reading that came after it is of the same device and time. */
  async validateLate(
    { logged, event }: DecodedTelemetryEvent,
    { telemetry }: ProjectionTables,
  ): Promise<string | undefined> {
    if (event.type !== 'TelemetryRecorded' || event.data.untimed) return undefined;
    const { deviceId, timestamp } = event.data;
    const [row] = await telemetry.readings([{ deviceId, timestamp }]);
    if (!row || !hasLater(row, { logged })) return undefined;
    return `A later reading of ${deviceId} at ${new Date(timestamp).toISOString()} has been applied: discard this one`;
  }

  async apply(events: readonly DecodedTelemetryEvent[], tables: ProjectionTables): Promise<void> {
    const { telemetry } = tables;
    let readings: DecodedReading[] = [];
    const late = ledgerChanges();
    for (const decoded of events) {
      const { receivedAt } = decoded.logged;
      if (isReading(decoded)) {
        const reading = withRetainedPart(decoded);
        if (reading) readings.push(reading);
        else late.of(decoded.event.data.deviceId, receivedAt).late += 1;
        continue;
      }
      if (!isRetraction(decoded)) continue;
      await this.#record(readings, telemetry);
      readings = [];
      while ((await this.applyPart(decoded, tables)) === 'more');
    }
    await this.#record(readings, telemetry);
    if (late.byDevice.size > 0) await countLedger(late, telemetry);
    this.#cache.trim();
  }

  /** A retraction from where it was left in the last transaction, as long as nothing came between. */
  async applyPart(decoded: DecodedTelemetryEvent, tables: ProjectionTables): Promise<'more' | 'done'> {
    if (!isRetraction(decoded)) throw new Error(`${decoded.event.type} has no parts`);
    const { position } = decoded.logged;
    const since = this.#retracting?.position === position ? this.#retracting.since : Number.NEGATIVE_INFINITY;
    if (since === Number.NEGATIVE_INFINITY) await this.#settleWaiting(decoded, tables);
    const next = await retract(decoded, since, this.#rowsAtOnce, tables.telemetry);
    this.#cache.forget(decoded.event.data.deviceId);
    this.#retracting = next === undefined ? undefined : { position, since: next };
    return this.#retracting ? 'more' : 'done';
  }

  async #settleWaiting(retraction: DecodedRetraction, tables: ProjectionTables): Promise<void> {
    const { deviceId } = retraction.event.data;
    const { retention } = retraction;
    const partition = (await this.#partitioner())(deviceId);
    const { stream } = describeTelemetry(retraction.logged);
    const readingOf = (logged: TelemetryRecord): DecodedReading | undefined => {
      try {
        const decoded = this.#decode(logged);
        return isReading(decoded) ? { ...decoded, ...(retention && { retention }) } : undefined;
      } catch {
        // It is malformed, which its dead letter says.
        return undefined;
      }
    };
    const readings = await settleWaiting(retraction, { stream, partition }, readingOf, tables);
    if (readings.length === 0) return;
    await this.apply(readings, tables);
    await this.onUnparked(
      readings.map(({ logged }) => logged),
      tables,
    );
  }

  onParked(events: readonly TelemetryRecord[], { telemetry }: ProjectionTables): Promise<void> {
    return this.#countDeadLetters(events, 1, telemetry);
  }

  onUnparked(events: readonly TelemetryRecord[], { telemetry }: ProjectionTables): Promise<void> {
    return this.#countDeadLetters(events, -1, telemetry);
  }

  invalidate(): void {
    this.#retracting = undefined;
    this.#cache.clear();
  }

  /** The devices, the retention of each that has one, and those that are not registered. */
  async #lookUp(events: readonly DecodedTelemetryEvent[]): Promise<{
    readonly deviceIds: ReadonlySet<string>;
    readonly retentionOf: ReadonlyMap<string, DeviceRetention>;
    readonly unknown: ReadonlySet<string>;
  }> {
    const retentionOf = new Map<string, DeviceRetention>();
    const setRetention = (deviceId: string, { types }: DirectoryEntry) => {
      const retention = this.#retention.forDevice(types);
      if (retention) retentionOf.set(deviceId, retention);
    };
    const deviceIds = new Set<string>();
    const unknown = new Set<string>();
    for (const { event } of events) {
      const { deviceId } = event.data;
      if (deviceIds.has(deviceId) || isDetectionEvent(event.type)) continue;
      deviceIds.add(deviceId);
      const entry = this.#directory.peek(deviceId);
      if (entry) setRetention(deviceId, entry);
      else unknown.add(deviceId);
    }
    if (unknown.size > 0)
      for (const [deviceId, entry] of await this.#directory.find(unknown)) {
        setRetention(deviceId, entry);
        unknown.delete(deviceId);
      }
    return { deviceIds, retentionOf, unknown };
  }

  #countDeadLetters(events: readonly TelemetryRecord[], by: 1 | -1, tables: TelemetryTables): Promise<void> {
    const changes = ledgerChanges();
    for (const event of events) {
      if (!countsAsReading(event)) continue;
      const { deviceId, receivedAt } = arrivalOf(event);
      changes.of(deviceId, receivedAt).deadLettered += by;
    }
    return countLedger(changes, tables);
  }

  async #record(readings: readonly DecodedReading[], tables: TelemetryTables): Promise<void> {
    if (readings.length === 0) return;
    await recordReadings(await placeUntimed(readings, this.#cache, tables), this.#cache, tables);
  }
}

/** The reading without the metrics whose retention has passed; `undefined` when none is left. */
function withRetainedPart(decoded: DecodedReading): DecodedReading | undefined {
  const { logged, event, retention } = decoded;
  if (!retention) return decoded;
  const data = retainedPart(event.data, logged.receivedAt, retention);
  if (data === event.data) return decoded;
  return data && { logged, event: { type: event.type, data }, retention };
}

/** Whether the ledger has to account for an event of the log; what is not known for certain may be a reading. */
export const countsAsReading = ({ type }: TelemetryRecord): boolean =>
  type !== 'TelemetryRetracted' && !isDetectionEvent(type);

/** Where the ledger counts an event, whether or not it can be read. */
export const arrivalOf = ({ receivedAt, data }: TelemetryRecord) => ({
  deviceId: deviceIdOf(data),
  receivedAt,
});

export function describeTelemetry({ id, type, correlationId, data }: TelemetryRecord): EventDescription {
  // Readings of the device do not wait for it, nor does it for them.
  const deviceId = isDetectionEvent(type) ? '' : deviceIdOf(data);
  return { id, type, correlationId, stream: deviceId === '' ? `event-${id}` : `device-${deviceId}` };
}

/** The device an event speaks of, as far as it is known before the event is checked; `''` when it cannot. */
function deviceIdOf(data: unknown): string {
  const id = typeof data === 'object' && data !== null && 'deviceId' in data ? data.deviceId : undefined;
  return isDeviceId(id) ? id : '';
}

/**
 * What is kept of a reading that came at `receivedAt`; `undefined` when nothing is. It is a matter of the reading and
 * of the policy alone: whether the points of its time have been removed by now is not asked, so that every run over
 * the log, however late, finds the same.
 */
function retainedPart(
  reading: Reading,
  receivedAt: number,
  retention: DeviceRetention | undefined,
): Reading | undefined {
  const { timestamp, metrics } = reading;
  if (!retention || timestamp >= retention.newest('points', receivedAt)) return reading;
  const names = Object.keys(metrics);
  const inTime = names.filter((name) => timestamp >= retention.horizon('points', name, receivedAt));
  if (inTime.length === names.length) return reading;
  if (inTime.length === 0) return undefined;
  const left: Metrics = Object.fromEntries(inTime.map((name) => [name, metrics[name] as Metrics[string]]));
  return { ...reading, metrics: left };
}
