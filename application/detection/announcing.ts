import { type AlarmEvent, alarmStream } from '../../domain/detection/alarm.ts';
import { pause } from '../pause.ts';
import type { AlarmRecords, Announcement, NewDelivery } from '../ports/detection.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import {
  type EventStore,
  isStreamLost,
  type NewEvent,
  type RecordedEvent,
  RevisionConflict,
} from '../ports/event-store.ts';
import type { Clock, Ids, Log } from '../ports/system.ts';

type AnnouncingPorts = {
  readonly records: Pick<AlarmRecords, 'announcements' | 'announced'>;
  readonly eventStore: EventStore;
  readonly registry: EventRegistry;
  readonly ids: Ids;
  readonly clock: Clock;
  readonly log: Log;
  /** Called for each change that this process has appended. */
  readonly onAnnounced: (announcement: Announcement) => void;
};

/** Hooks are not sent of alarms that were older when they were found: those of a history, or of a long backlog. */
const notifiedWithinMilliseconds = 3_600_000;

const atOnce = 100;
const idleMilliseconds = 500;
const failureMilliseconds = 5000;

/**
 * Appends what detection announces to the event store, in order, until `signal` is aborted. An event's id follows
 * from its alarm and its place in it, so that it is there once, also when this is killed between the append and the
 * note of it, or when two processes do it at a time. With the note go the deliveries to the hooks of its rule, once.
 */
export async function announce(ports: AnnouncingPorts, signal: AbortSignal): Promise<void> {
  const { records, log } = ports;
  while (!signal.aborted)
    try {
      const found = await records.announcements(atOnce);
      const done = [];
      for (const { seq, announcement } of found)
        done.push({ seq, deliveries: await append(announcement, ports) });
      if (done.length > 0) await records.announced(done, ports.clock.now());
      else await pause(idleMilliseconds, signal);
    } catch (err) {
      log.warn({ err }, 'alarms not appended to the event store, will retry');
      await pause(failureMilliseconds, signal);
    }
}

async function append(announcement: Announcement, ports: AnnouncingPorts): Promise<readonly NewDelivery[]> {
  const { eventStore, registry, log, onAnnounced } = ports;
  const { alarmId, notify } = announcement;
  const stream = alarmStream(alarmId);
  for (;;) {
    try {
      const history = await eventStore.read(stream);
      const event = newEvent(announcement, ports);
      const isThere = history.some(({ id }) => id === event.id);
      const revision = history.at(-1)?.revision ?? 'none';
      const appended = isThere ? [] : await eventStore.append(stream, [event], revision);
      if (!isThere) onAnnounced(announcement);
      if (notify.length === 0) return [];
      if (!isNotified([...history, ...appended], registry)) {
        log.info(
          { alarmId, hooks: notify },
          'hooks not notified: the alarm was older than an hour when found',
        );
        return [];
      }
      return [...new Set(notify)].map((hookId) => ({ hookId, alarmId, eventId: event.id, announcement }));
    } catch (error) {
      if (isStreamLost(error)) {
        log.warn({ alarmId, reason: error.message }, 'alarm not appended to the event store');
        return [];
      }
      // Somebody has acknowledged it meanwhile, or announced it.
      if (!(error instanceof RevisionConflict)) throw error;
    }
  }
}

const raisedType = 'AlarmRaised' satisfies AlarmEvent['type'];

/** Both edges of an alarm are sent or none: the event by which it was raised decides. */
function isNotified(history: readonly RecordedEvent[], registry: EventRegistry): boolean {
  for (const recorded of history) {
    // Another program may have written between.
    if (recorded.type !== raisedType) continue;
    const event = registry.alarmEvent(recorded);
    if (event.type === raisedType)
      return Date.parse(recorded.metadata.recordedAt) - event.data.at <= notifiedWithinMilliseconds;
  }
  return false;
}

function newEvent(announcement: Announcement, { registry, ids, clock }: AnnouncingPorts): NewEvent {
  const { alarmId, change, correlationId, at, magnitude, actor = 'detection' } = announcement;
  const event = alarmEvent(announcement);
  const id = ids.uuidV5('alarm-event', alarmId, change, at, magnitude);
  return {
    id,
    type: event.type,
    data: event.data,
    metadata: {
      $correlationId: correlationId,
      $causationId: correlationId,
      actor,
      recordedAt: new Date(clock.now()).toISOString(),
      schemaVersion: registry.currentVersion(event.type),
    },
  };
}

function alarmEvent(announcement: Announcement): AlarmEvent {
  const {
    change,
    correlationId: _,
    actor: __,
    notify,
    at,
    value,
    magnitude,
    explanation,
    ...facts
  } = announcement;
  const changed = { at, value, magnitude, explanation };
  if (change === 'raised') return { type: 'AlarmRaised', data: { ...facts, ...changed, notify } };
  const type = change === 'escalated' ? 'AlarmEscalated' : 'AlarmCleared';
  return { type, data: { alarmId: facts.alarmId, ...changed } };
}
