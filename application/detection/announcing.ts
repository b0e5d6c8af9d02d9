import { type AlarmEvent, alarmStream } from '../../domain/detection/alarm.ts';
import { pause } from '../pause.ts';
import type { AlarmRecords, AnnouncedChange, Announcement } from '../ports/detection.ts';
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
  /** Of alarms that were older when they were found hooks are told in a summary: milliseconds. */
  readonly notifyWithin: number;
  /** Called for each change that this process has appended. */
  readonly onAnnounced: (announcement: Announcement) => void;
};

const atOnce = 100;
const idleMilliseconds = 500;
const failureMilliseconds = 5000;

/**
 * Appends what detection announces to the event store, in order, until `signal` is aborted. An event's id follows
 * from its alarm and its place in it, so that it is there once, also when this is killed between the append and the
 * note of it, or when two processes do it at a time. With the note go the deliveries to the hooks of its rule, once, or what
 * they are told in a summary.
 */
export async function announce(ports: AnnouncingPorts, signal: AbortSignal): Promise<void> {
  const { records, log } = ports;
  while (!signal.aborted)
    try {
      const found = await records.announcements(atOnce);
      const done: AnnouncedChange[] = [];
      for (const { seq, announcement } of found) done.push({ seq, ...(await append(announcement, ports)) });
      if (done.length > 0) await records.announced(done, ports.clock.now());
      else await pause(idleMilliseconds, signal);
    } catch (err) {
      log.warn({ err }, 'alarms not appended to the event store, will retry');
      await pause(failureMilliseconds, signal);
    }
}

async function append(
  announcement: Announcement,
  ports: AnnouncingPorts,
): Promise<Omit<AnnouncedChange, 'seq'>> {
  const { eventStore, log, onAnnounced } = ports;
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
      if (notify.length === 0) return nothing;
      const hookIds = [...new Set(notify)];
      const told = { eventId: event.id, announcement };
      const { raisedAt, isOld } = raisingIn([...history, ...appended], ports);
      if (!isOld) return { deliveries: hookIds.map((hookId) => ({ hookId, alarmId, ...told })) };
      log.debug({ alarmId, hooks: hookIds }, 'hooks are told in a summary: the alarm was old when found');
      return { deliveries: [], summarized: { hookIds, ...told, raisedAt: raisedAt ?? announcement.at } };
    } catch (error) {
      if (isStreamLost(error)) {
        log.warn({ alarmId, reason: error.message }, 'alarm not appended to the event store');
        return nothing;
      }
      // Somebody has acknowledged it meanwhile, or announced it.
      if (!(error instanceof RevisionConflict)) throw error;
    }
  }
}

const nothing: Omit<AnnouncedChange, 'seq'> = { deliveries: [] };

const raisedType = 'AlarmRaised' satisfies AlarmEvent['type'];

/** Both edges of an alarm are sent or none: the event by which it was raised decides. */
function raisingIn(
  history: readonly RecordedEvent[],
  { registry, notifyWithin }: Pick<AnnouncingPorts, 'registry' | 'notifyWithin'>,
): { readonly raisedAt?: number; readonly isOld: boolean } {
  for (const recorded of history) {
    // Another program may have written between.
    if (recorded.type !== raisedType) continue;
    const event = registry.alarmEvent(recorded);
    if (event.type !== raisedType) continue;
    const raisedAt = event.data.at;
    return { raisedAt, isOld: Date.parse(recorded.metadata.recordedAt) - raisedAt > notifyWithin };
  }
  return { isOld: true };
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
