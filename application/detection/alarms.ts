import { Rejection } from '../../domain/decider.ts';
import {
  type AlarmCommand,
  type AlarmEvent,
  alarmDecider,
  alarmStream,
} from '../../domain/detection/alarm.ts';
import type { CommandConditions } from '../devices/device-commands.ts';
import type { AlarmQueries, AlarmRecords, AlarmView } from '../ports/detection.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { EventStore } from '../ports/event-store.ts';
import type { Clock, Ids } from '../ports/system.ts';
import type { TelemetryLog } from '../ports/telemetry-log.ts';
import { NotYetProjected, type ProgressReader } from '../progress.ts';
import { streamCommands } from './stream-commands.ts';

export type Alarms = {
  /**
   * Records who has seen an alarm: in the event store and then in the read model; when the second fails, the same call
   * may be made again. Throws `Rejection`, `EventStoreUnavailable`, `ReadModelsUnavailable` and what commands throw.
   */
  acknowledge(alarmId: string, note: string | null, conditions: CommandConditions): Promise<AlarmView>;
  /**
   * Has hooks sent nothing new of the alarm's rule, device and metric until a time, epoch milliseconds; one that has
   * passed ends it. Recorded as acknowledgements are. Throws the same.
   */
  silence(
    alarmId: string,
    wanted: { readonly until: number; readonly note: string | null },
    conditions: CommandConditions,
  ): Promise<AlarmView>;
  /**
   * Has an open alarm cleared, by an event of the telemetry log, so that a rebuild clears it between the same readings.
   * Answers the alarm as it is once detection has come there, or after five seconds. Throws `Rejection`,
   * `TelemetryLogUnavailable`, `ReadModelsUnavailable`.
   */
  clear(
    alarmId: string,
    note: string | null,
    caller: Pick<CommandConditions, 'correlationId' | 'actor' | 'traceparent'>,
  ): Promise<AlarmView>;
};

type AlarmPorts = {
  readonly eventStore: EventStore;
  readonly registry: EventRegistry;
  readonly queries: Pick<AlarmQueries, 'find'>;
  readonly records: Pick<AlarmRecords, 'acknowledge' | 'silence'>;
  readonly telemetryLog: TelemetryLog;
  readonly progress: Pick<ProgressReader, 'waitFor'>;
  readonly ids: Ids;
  readonly clock: Clock;
};

const clearedWithin = 5_000;

export function alarms(ports: AlarmPorts): Alarms {
  const { eventStore, registry, queries, records, telemetryLog, progress, ids, clock } = ports;
  const commands = streamCommands(
    {
      name: 'Alarm',
      decider: alarmDecider,
      streamOf: alarmStream,
      decode: registry.alarmEvent,
      versionOf: ({ type }: AlarmEvent) => registry.currentVersion(type),
    },
    eventStore,
    ids,
    clock,
  );
  return {
    async acknowledge(alarmId, note, conditions) {
      const command: AlarmCommand = { type: 'AcknowledgeAlarm', alarmId, note };
      const { events } = await commands.handle(alarmId, command, conditions);
      const recorded = events.find(({ type }) => type === 'AlarmAcknowledged');
      if (!recorded) throw new Error(`Alarm ${alarmId} has no acknowledgement after a command`);
      const event = registry.alarmEvent(recorded) as Extract<AlarmEvent, { type: 'AlarmAcknowledged' }>;
      const { recordedAt, actor } = recorded.metadata;
      await records.acknowledge(alarmId, {
        at: Date.parse(recordedAt),
        by: actor,
        note: event.data.note,
      });
      return find(alarmId);
    },

    async silence(alarmId, { until, note }, conditions) {
      const alarm = await find(alarmId);
      const command: AlarmCommand = { type: 'SilenceAlarm', alarmId, until, note };
      const { events } = await commands.handle(alarmId, command, conditions);
      // Of a request that is repeated, the silence that it made.
      const recorded = events.findLast(({ type }) => type === 'AlarmSilenced');
      if (!recorded) throw new Error(`Alarm ${alarmId} has no silence after a command`);
      const { data } = registry.alarmEvent(recorded) as Extract<AlarmEvent, { type: 'AlarmSilenced' }>;
      const silencing = { until: data.until, by: recorded.metadata.actor, note: data.note };
      await records.silence(alarm, silencing, clock.now());
      return find(alarmId);
    },

    async clear(alarmId, note, { correlationId, actor, traceparent }) {
      const alarm = await find(alarmId);
      if (alarm.state === 'cleared') return alarm;
      const { deviceId, ruleId, metric } = alarm;
      const type = 'AlarmClearRequested';
      const positions = await telemetryLog.publish({
        id: ids.uuidV7(),
        type,
        schemaVersion: registry.currentVersion(type),
        receivedAt: clock.now(),
        correlationId,
        actor,
        ...(traceparent !== undefined && { traceparent }),
        events: [{ alarmId, deviceId, ruleId, metric, note }],
      });
      const awaited = positions.map((position) => ({ source: 'telemetry' as const, ...position }));
      await progress.waitFor(['detection'], awaited, clearedWithin).catch((error) => {
        if (!(error instanceof NotYetProjected)) throw error;
      });
      return find(alarmId);
    },
  };

  async function find(alarmId: string): Promise<AlarmView> {
    const view = await queries.find(alarmId);
    if (!view) throw new Rejection('AlarmNotFound', `There is no alarm ${alarmId}`);
    return view;
  }
}
