import type { RuleVersion } from '../../domain/detection/rule.ts';
import type { TelemetryEvent } from '../../domain/telemetry.ts';
import { AlarmChanges } from '../detection/alarm-changes.ts';
import type { DevicePeriods } from '../detection/device-periods.ts';
import { DeviceSeries, type SeriesKey } from '../detection/device-series.ts';
import { type BatchOfJudgements, judgeTogether } from '../detection/judging.ts';
import type { RuleBook } from '../detection/rule-book.ts';
import type { DetectionTables, DetectionTotals, DeviceAttributes } from '../ports/detection.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { EventSource, Positioned } from '../ports/event-source.ts';
import type { ProjectionTables } from '../ports/read-models.ts';
import type { Ids } from '../ports/system.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { type PartitionProjection, type Projection, type Validated, versionOf } from './projection.ts';
import { describeTelemetry } from './telemetry.ts';

/** An event of the log; `undefined` for what says nothing to rules, or cannot be read. */
type DecodedForDetection = {
  readonly logged: TelemetryRecord;
  readonly event: JudgedEvent | undefined;
  /** That it is about, once it is known; absent of one that is not registered. */
  device: DeviceInBatch | undefined;
};

/** Found once a batch, however many of its events are about the device. */
type DeviceInBatch = {
  readonly deviceId: string;
  readonly attributes: DeviceAttributes;
  series: DeviceSeries | undefined;
};

type DetectionParts = {
  readonly registry: EventRegistry;
  readonly rules: RuleBook;
  readonly devices: DevicePeriods;
  readonly partitioner: EventSource<Positioned>['partitioner'];
  readonly ids: Ids;
  /** Series watched in a partition at most. */
  readonly maxSeries: number;
};

/**
 * What rules find in the readings of each series, and their alarms. Only the live generation announces them: a rebuild
 * finds the same alarms again.
 */
export function detectionProjection(
  parts: DetectionParts,
  announces: 'announces' | 'silent',
): Projection<TelemetryRecord, DecodedForDetection> {
  return {
    name: 'detection',
    version: versionOf('detection'),
    describe: describeTelemetry,
    batchEvents,
    // What cannot be read is a dead letter of `telemetry` already, and no rule has anything to say of it.
    decode: (logged) => ({ logged, event: judgedOf(logged, parts.registry), device: undefined }),
    forPartition: () => new DetectionPartition(parts, announces === 'announces'),
  };
}

type JudgedEvent = Exclude<TelemetryEvent, { type: 'TelemetryRetracted' }>;

function judgedOf(logged: TelemetryRecord, registry: EventRegistry): JudgedEvent | undefined {
  try {
    const event = registry.telemetryEvent(logged);
    return event.type === 'TelemetryRetracted' ? undefined : event;
  } catch {
    return undefined;
  }
}

/** What rules remember of a series is stored once a batch, however many of its values that has. */
const batchEvents = 40_000;

/** Devices whose series are remembered between batches. */
const devicesKept = 20_000;

/** What a batch has changed and not written yet. */
type Pending = BatchOfJudgements & {
  readonly touched: Set<DeviceSeries>;
  /** Those of them that have readings to judge. */
  readonly waiting: DeviceSeries[];
  readonly dropped: SeriesKey[];
};

class DetectionPartition implements PartitionProjection<TelemetryRecord, DecodedForDetection> {
  readonly #parts: DetectionParts;
  readonly #announces: boolean;
  readonly #devices = new Map<string, DeviceSeries>();
  #totals: DetectionTotals | undefined;
  #partition = 0;

  constructor(parts: DetectionParts, announces: boolean) {
    this.#parts = parts;
    this.#announces = announces;
  }

  /** Learns of the rules and devices that the events are judged by. */
  async validate(
    events: readonly DecodedForDetection[],
    partition: number,
  ): Promise<Validated<DecodedForDetection>> {
    const { rules, devices } = this.#parts;
    this.#partition = partition;
    await rules.refresh();
    await devices.refresh();
    if (rules.isEmpty) return { accepted: events, rejected: new Map() };
    const partitionOf = await this.#parts.partitioner();
    const eventsOf = new Map<string, DecodedForDetection[]>();
    for (const decoded of events) {
      if (!decoded.event) continue;
      const { deviceId } = decoded.event.data;
      const known = eventsOf.get(deviceId);
      if (known) known.push(decoded);
      else eventsOf.set(deviceId, [decoded]);
    }
    // What a foreign producer wrote to another partition is a dead letter of `telemetry`.
    for (const id of eventsOf.keys()) if (partitionOf(id) !== partition) eventsOf.delete(id);
    // With the event: the transaction may be run again when others have been validated meanwhile.
    for (const [deviceId, attributes] of await devices.find(eventsOf.keys())) {
      const device: DeviceInBatch = { deviceId, attributes, series: undefined };
      for (const decoded of eventsOf.get(deviceId) ?? []) decoded.device = device;
    }
    return { accepted: events, rejected: new Map() };
  }

  async apply(
    events: readonly DecodedForDetection[],
    { detection: tables }: Pick<ProjectionTables, 'detection'>,
  ): Promise<void> {
    const { rules, ids, maxSeries } = this.#parts;
    const { begins } = rules;
    const judged = events.filter(({ logged }) => logged.receivedAt >= begins);
    // The live generation has passed over these without reading them, so nothing may be counted of them.
    if (judged.length === 0) return;
    const stored = this.#totals ?? (await tables.totals(this.#partition));
    const totals = { ...(stored ?? { ...noTotals, partition: this.#partition }) };
    const changes = new AlarmChanges(ids, this.#partition);
    const pending: Pending = { totals, maxSeries, changes, touched: new Set(), waiting: [], dropped: [] };
    await this.#loadDevices(judged, tables);
    for (const { logged, event, device } of judged) {
      if (logged.receivedAt > totals.newest) {
        await this.#endRules(logged, pending, tables);
        totals.newest = logged.receivedAt;
      }
      const series = device?.series;
      const active = rules.activeAt(totals.newest);
      if (event && series && active.length > 0) applyTo(series, active, { logged, event }, pending);
    }
    await this.#write(pending, tables);
    this.#totals = totals;
    for (const id of this.#devices.keys()) {
      if (this.#devices.size <= devicesKept) break;
      this.#devices.delete(id);
    }
  }

  invalidate(): void {
    this.#devices.clear();
    this.#totals = undefined;
  }

  async #loadDevices(events: readonly DecodedForDetection[], tables: DetectionTables): Promise<void> {
    const missing = new Map<string, DeviceInBatch>();
    const inBatch = new Set<DeviceInBatch>();
    for (const { device } of events) if (device) inBatch.add(device);
    for (const device of inBatch) {
      device.series = this.#devices.get(device.deviceId);
      if (device.series) device.series.attributes = device.attributes;
      else missing.set(device.deviceId, device);
    }
    if (missing.size === 0) return;
    const rows = await tables.states([...missing.keys()]);
    const alarmIds = rows.flatMap(({ alarmId }) => alarmId ?? []);
    const alarms = new Map((await tables.alarms(alarmIds)).map((alarm) => [alarm.alarmId, alarm]));
    const states = Map.groupBy(rows, ({ deviceId }) => deviceId);
    for (const [deviceId, device] of missing) {
      device.series = new DeviceSeries(deviceId, device.attributes, states.get(deviceId) ?? [], alarms);
      this.#devices.set(deviceId, device.series);
    }
  }

  /** Clears the alarms of rules that were changed, disabled or removed, and forgets what these remember. */
  async #endRules(cause: TelemetryRecord, pending: Pending, tables: DetectionTables): Promise<void> {
    const { changes, totals } = pending;
    const ended = this.#parts.rules.endedBetween(totals.newest, cause.receivedAt);
    if (ended.length === 0) return;
    // So that the tables have what this batch has found so far.
    await this.#write(pending, tables);
    for (const { ruleId } of ended) {
      for (const alarm of await tables.openAlarms(ruleId, this.#partition))
        changes.clear(alarm, { ...ruleEnded, at: cause.receivedAt }, cause);
      totals.series -= await tables.forget(ruleId, this.#partition);
      for (const device of this.#devices.values()) device.forget(ruleId);
    }
  }

  async #write(pending: Pending, tables: DetectionTables): Promise<void> {
    judgeWaiting(pending);
    const { touched, dropped, changes, totals } = pending;
    const states = [...touched].flatMap((device) => device.takeChanged(this.#partition));
    const { alarms, announcements } = changes.take();
    touched.clear();
    await tables.write({
      states,
      dropped: dropped.splice(0),
      alarms,
      totals: { ...totals },
      announcements: this.#announces ? announcements : [],
    });
  }
}

function applyTo(
  device: DeviceSeries,
  active: readonly RuleVersion[],
  { logged, event }: { readonly logged: TelemetryRecord; readonly event: JudgedEvent },
  pending: Pending,
): void {
  const { totals, changes, touched, waiting, dropped } = pending;
  if (!device.isSelected(active, totals.newest)) {
    // What came before is judged by the rules that held then, and is counted before a series is given up.
    judgeWaiting(pending);
    const notSelected = device.select(active, totals.newest, logged, changes);
    totals.series -= notSelected.length;
    dropped.push(...notSelected);
  }
  if (event.type === 'TelemetryRecorded') {
    if (device.judgeLater(logged, event.data) === 1) waiting.push(device);
  } else {
    judgeWaiting(pending);
    if (event.type === 'SilenceNoticed') device.notice(event.data, logged, changes);
    else device.clear(event.data, logged, changes);
  }
  touched.add(device);
}

function judgeWaiting(pending: Pending): void {
  judgeTogether(pending.waiting.splice(0), pending);
}

const noTotals: Omit<DetectionTotals, 'partition'> = {
  points: 0,
  outOfOrder: 0,
  unwatched: 0,
  text: 0,
  series: 0,
  newest: Number.MIN_SAFE_INTEGER,
};

const ruleEnded = {
  value: null,
  magnitude: 0,
  explanation: 'The rule was changed, disabled or removed',
};
