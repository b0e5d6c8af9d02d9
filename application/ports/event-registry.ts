import type { AlarmEvent } from '../../domain/detection/alarm.ts';
import type { HookEvent } from '../../domain/detection/hook.ts';
import type { RuleEvent } from '../../domain/detection/rule.ts';
import type { DeviceEvent } from '../../domain/device.ts';
import type { LiveQueryEvent } from '../../domain/live-query.ts';
import type { TelemetryEvent } from '../../domain/telemetry.ts';
import type { RecordedEvent } from './event-store.ts';
import type { TelemetryRecord } from './telemetry-log.ts';

/** Knows every event shape ever written and reads each as the newest one. Stored events are never rewritten. */
export type EventRegistry = {
  /** The version new events of the type are written with. */
  currentVersion(
    type: (DeviceEvent | TelemetryEvent | RuleEvent | AlarmEvent | HookEvent | LiveQueryEvent)['type'],
  ): number;
  /** Throws `UnknownEventType` or `MalformedEvent`. */
  deviceEvent(recorded: RecordedEvent): DeviceEvent;
  /** Throws `UnknownEventType` or `MalformedEvent`. */
  ruleEvent(recorded: RecordedEvent): RuleEvent;
  /** Throws `UnknownEventType` or `MalformedEvent`. */
  alarmEvent(recorded: RecordedEvent): AlarmEvent;
  /** Throws `UnknownEventType` or `MalformedEvent`. */
  hookEvent(recorded: RecordedEvent): HookEvent;
  /** Throws `UnknownEventType` or `MalformedEvent`. */
  liveQueryEvent(recorded: RecordedEvent): LiveQueryEvent;
  /** Throws `UnknownEventType` or `MalformedEvent`. */
  telemetryEvent(logged: TelemetryRecord): TelemetryEvent;
};

export class UnknownEventType extends Error {
  override readonly name = 'UnknownEventType';

  constructor(type: string, version: number) {
    super(`No event ${type} of version ${version} is known to this release`);
  }
}

export class MalformedEvent extends Error {
  override readonly name = 'MalformedEvent';
}
