import type { AlarmFacts } from '../../domain/detection/alarm.ts';
import { deviceStream } from '../../domain/device.ts';
import type { Metrics, Reading, Retraction } from '../../domain/telemetry.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { type Position, positionToken } from '../ports/event-source.ts';
import type { RecordedEvent } from '../ports/event-store.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import type { LiveLog } from './live-position.ts';

/** What happened to a device, as streams send it. */
export type LiveData =
  | { readonly event: 'reading'; readonly data: Omit<Reading, 'untimed'> & { readonly position: string } }
  | { readonly event: 'retraction'; readonly data: Retraction & { readonly position: string } }
  | { readonly event: 'device'; readonly data: DeviceChange }
  | { readonly event: 'alarm'; readonly data: AlarmChange };

type DeviceChange = {
  readonly deviceId: string;
  /** The type of the event, such as `DeviceSuspended`. */
  readonly type: string;
  readonly revision: number;
  readonly actor: string;
  /** ISO 8601. */
  readonly at: string;
  /** What the event says, without credentials. */
  readonly changes: Readonly<Record<string, unknown>>;
  readonly position: string;
};

type AlarmChange = Omit<DeviceChange, 'changes'> &
  Omit<AlarmFacts, 'ruleRevision'> & { readonly changes: Readonly<Record<string, unknown>> };

/** An event of a log in a form that all streams share. `live` is absent for what streams do not send. */
export type TailedEvent = {
  readonly source: LiveLog;
  readonly partition: number;
  readonly position: Position;
  readonly deviceId: string;
  /** Epoch milliseconds when the API took it. */
  readonly arrivedAt: number;
  readonly live: LiveData | undefined;
  /** JSON of `live`, made once for each selection of metrics. Only while it is passed on: many events are kept. */
  texts: Map<string, string | undefined> | undefined;
};

export function ofTelemetry(
  record: TelemetryRecord,
  partition: number,
  registry: EventRegistry,
): TailedEvent {
  const position = positionToken('telemetry', { partition, position: record.position });
  const live = read(() => {
    const event = registry.telemetryEvent(record);
    if (event.type === 'TelemetryRetracted')
      return { event: 'retraction', data: { ...event.data, position } };
    if (event.type !== 'TelemetryRecorded') return undefined;
    const { deviceId, timestamp, metrics } = event.data;
    return { event: 'reading', data: { deviceId, timestamp, metrics, position } };
  });
  return tailed('telemetry', partition, record.position, live?.data.deviceId ?? '', record.receivedAt, live);
}

export function ofDevice(recorded: RecordedEvent, partition: number, registry: EventRegistry): TailedEvent {
  const live = read(() => {
    if (!recorded.stream.startsWith(deviceStream(''))) return undefined;
    const { type, data } = registry.deviceEvent(recorded);
    const { deviceId, tokenHash: _, ...changes } = data as { deviceId: string; tokenHash?: string };
    const { actor, recordedAt: at } = recorded.metadata;
    const position = positionToken('devices', { partition, position: recorded.position });
    return {
      event: 'device',
      data: { deviceId, type, revision: recorded.revision, actor, at, changes, position },
    };
  });
  const arrivedAt = Date.parse(recorded.metadata.recordedAt);
  return tailed('devices', partition, recorded.position, live?.data.deviceId ?? '', arrivedAt, live);
}

/** `facts`: what the alarm said of itself when it was raised; without them nobody can say whose it is. */
export function ofAlarm(
  recorded: RecordedEvent,
  partition: number,
  registry: EventRegistry,
  facts: AlarmFacts | undefined,
): TailedEvent {
  const { actor, recordedAt } = recorded.metadata;
  const live = read(() => {
    if (!facts) return undefined;
    const { type, data } = registry.alarmEvent(recorded);
    const { alarmId, deviceId, ruleId, ruleName, kind, severity, metric } = facts;
    const changes =
      'note' in data
        ? { note: data.note }
        : {
            at: isoTime(data.at),
            value: data.value,
            magnitude: data.magnitude,
            explanation: data.explanation,
          };
    return {
      event: 'alarm',
      data: {
        ...{ deviceId, alarmId, type, ruleId, ruleName, kind, severity, metric },
        ...{ revision: recorded.revision, actor, at: recordedAt, changes },
        position: `alarms:${partition}:${recorded.position}`,
      },
    };
  });
  const arrivedAt = Date.parse(recordedAt);
  return tailed('alarms', partition, recorded.position, live?.data.deviceId ?? '', arrivedAt, live);
}

const tailed = (
  source: LiveLog,
  partition: number,
  position: Position,
  deviceId: string,
  arrivedAt: number,
  live: LiveData | undefined,
): TailedEvent => ({ source, partition, position, deviceId, arrivedAt, live, texts: undefined });

/** What cannot be read is parked by the projector, and shown by its dead letter. */
function read(decode: () => LiveData | undefined): LiveData | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}

/** The event as JSON with these metrics only; `undefined` when none is left of it. */
export function liveJson(event: TailedEvent, metrics: ReadonlySet<string> | undefined): string | undefined {
  const { live, texts } = event;
  if (!live) return undefined;
  if (!texts) return jsonOf(live, metrics);
  const key = metrics === undefined || live.event === 'device' ? '' : [...metrics].join();
  if (texts.has(key)) return texts.get(key);
  const text = jsonOf(live, metrics);
  texts.set(key, text);
  return text;
}

function jsonOf({ event, data }: LiveData, metrics: ReadonlySet<string> | undefined): string | undefined {
  if (event === 'reading') {
    const chosen = metrics === undefined ? data.metrics : chosenOf(data.metrics, metrics);
    if (Object.keys(chosen).length === 0) return undefined;
    return JSON.stringify({ ...data, timestamp: isoTime(data.timestamp), metrics: chosen });
  }
  if (event === 'device') return JSON.stringify(data);
  if (event === 'alarm') {
    const { metric } = data;
    return metric === null || (metrics?.has(metric) ?? true) ? JSON.stringify(data) : undefined;
  }
  if (metrics !== undefined && data.metric !== undefined && !metrics.has(data.metric)) return undefined;
  return JSON.stringify({ ...data, from: isoTime(data.from), to: isoTime(data.to) });
}

const isoTime = (epoch: number): string => new Date(epoch).toISOString();

const chosenOf = (metrics: Metrics, chosen: ReadonlySet<string>): Metrics =>
  Object.fromEntries(Object.entries(metrics).filter(([name]) => chosen.has(name)));
