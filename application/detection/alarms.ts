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
import { streamCommands } from './stream-commands.ts';

export type Alarms = {
  /**
   * Records who has seen an alarm: in the event store and then in the read model; when the second fails, the same call
   * may be made again. Throws `Rejection`, `EventStoreUnavailable`, `ReadModelsUnavailable` and what commands throw.
   */
  acknowledge(alarmId: string, note: string | null, conditions: CommandConditions): Promise<AlarmView>;
};

export function alarms(
  eventStore: EventStore,
  registry: EventRegistry,
  queries: Pick<AlarmQueries, 'find'>,
  records: Pick<AlarmRecords, 'acknowledge'>,
  ids: Ids,
  clock: Clock,
): Alarms {
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
      const view = await queries.find(alarmId);
      if (!view) throw new Rejection('AlarmNotFound', `There is no alarm ${alarmId}`);
      return view;
    },
  };
}
