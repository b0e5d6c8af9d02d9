import { type AlarmEvent, alarmStream } from '../../domain/detection/alarm.ts';
import { pause } from '../pause.ts';
import type { AlarmRecords, Announcement } from '../ports/detection.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { type EventStore, type NewEvent, RevisionConflict } from '../ports/event-store.ts';
import type { Clock, Ids, Log } from '../ports/system.ts';

type AnnouncingPorts = {
  readonly records: Pick<AlarmRecords, 'announcements' | 'announced'>;
  readonly eventStore: EventStore;
  readonly registry: EventRegistry;
  readonly ids: Ids;
  readonly clock: Clock;
  readonly log: Log;
};

const atOnce = 100;
const idleMilliseconds = 500;
const failureMilliseconds = 5000;

/**
 * Appends what detection announces to the event store, in order, until `signal` is aborted. An event's id follows
 * from its alarm and its place in it, so that it is there once, also when this is killed between the append and the
 * note of it, or when two processes do it at a time.
 */
export async function announce(ports: AnnouncingPorts, signal: AbortSignal): Promise<void> {
  const { records, log } = ports;
  while (!signal.aborted)
    try {
      const found = await records.announcements(atOnce);
      for (const { announcement } of found) await append(announcement, ports);
      if (found.length > 0) await records.announced(found.map(({ seq }) => seq));
      else await pause(idleMilliseconds, signal);
    } catch (err) {
      log.warn({ err }, 'alarms not appended to the event store, will retry');
      await pause(failureMilliseconds, signal);
    }
}

async function append(announcement: Announcement, ports: AnnouncingPorts): Promise<void> {
  const { eventStore } = ports;
  const stream = alarmStream(announcement.alarmId);
  for (;;) {
    const history = await eventStore.read(stream);
    const event = newEvent(announcement, ports);
    if (history.some(({ id }) => id === event.id)) return;
    try {
      await eventStore.append(stream, [event], history.at(-1)?.revision ?? 'none');
      return;
    } catch (error) {
      // Somebody has acknowledged it meanwhile, or announced it.
      if (!(error instanceof RevisionConflict)) throw error;
    }
  }
}

function newEvent(announcement: Announcement, { registry, ids, clock }: AnnouncingPorts): NewEvent {
  const { alarmId, change, correlationId, at, magnitude } = announcement;
  const event = alarmEvent(announcement);
  const id = ids.uuidV5('alarm-event', alarmId, change, at, magnitude);
  return {
    id,
    type: event.type,
    data: event.data,
    metadata: {
      $correlationId: correlationId,
      $causationId: correlationId,
      actor: 'detection',
      recordedAt: new Date(clock.now()).toISOString(),
      schemaVersion: registry.currentVersion(event.type),
    },
  };
}

function alarmEvent(announcement: Announcement): AlarmEvent {
  const { change, correlationId: _, notify, at, value, magnitude, explanation, ...facts } = announcement;
  const changed = { at, value, magnitude, explanation };
  if (change === 'raised') return { type: 'AlarmRaised', data: { ...facts, ...changed, notify } };
  const type = change === 'escalated' ? 'AlarmEscalated' : 'AlarmCleared';
  return { type, data: { alarmId: facts.alarmId, ...changed } };
}
