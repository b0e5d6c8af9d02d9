import { type AlarmFacts, alarmStream } from '../../domain/detection/alarm.ts';
import type { DeviceHistory } from '../devices/device-stream.ts';
import { pause } from '../pause.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import {
  type Batch,
  type BatchConsumer,
  CheckpointOfAnotherLog,
  type EventSource,
  type Positioned,
} from '../ports/event-source.ts';
import {
  type EventStore,
  EventStoreUnavailable,
  lostAsNone,
  type RecordedEvent,
} from '../ports/event-store.ts';
import type { DeviceRow } from '../ports/read-models.ts';
import type { Ids, Log } from '../ports/system.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { FollowedLog } from './followed-log.ts';
import { ofAlarm, ofDevice, ofTelemetry, type TailedEvent } from './live-events.ts';
import { type LiveLog, LivePosition, liveLogs } from './live-position.ts';

export type LiveLogs = {
  readonly telemetry: EventSource<TelemetryRecord>;
  readonly devices: EventSource<RecordedEvent>;
  readonly alarms: EventSource<RecordedEvent>;
  /** Has the alarms' streams. */
  readonly eventStore: Pick<EventStore, 'read'>;
  readonly history: DeviceHistory;
  readonly registry: EventRegistry;
  readonly ids: Ids;
  readonly log: Log;
};

/** Who gets what arrives. Must not throw, and must not wait. */
type TailListener = {
  /** Its events are looked up by these; those of every device when absent. */
  readonly deviceIds: ReadonlySet<string> | undefined;
  /** Whether it needs to know what the device is. */
  readonly needsDevice: boolean;
  onEvent(event: TailedEvent, device: DeviceRow | undefined): void;
};

/** Events that a stream which was cut may take up again without reading the log. */
const keptEvents = 20_000;
const rememberedDevices = 50_000;
const retryPause = 500;
const longestRetryPause = 10_000;

/** Reads the logs from their ends on, once for all streams of the process, and keeps the newest events. */
export class LiveTail {
  readonly #logs: LiveLogs;
  readonly #onMoved: () => void;
  readonly #stopped = new AbortController();
  /** Of the logs as they are; aborted where one of them has become another. */
  #following = new AbortController();
  readonly #everyone = new Set<TailListener>();
  readonly #byDevice = new Map<string, Set<TailListener>>();
  /** Listeners that need to know what the device is. */
  #needingDevice = 0;
  /** How many changes of devices were seen. */
  #changes = 0;
  readonly #devices = new Map<string, DeviceRow | undefined>();
  readonly #alarms = new Map<string, AlarmFacts>();
  #kept: TailedEvent[] = [];
  #first = 0;
  /** Before the first event kept, and behind the last one passed on. */
  #base: LivePosition | undefined;
  #at: LivePosition | undefined;
  #starting: Promise<void> | undefined;
  #running: Promise<unknown> = Promise.resolve();

  /**
   * `onMoved` is called when a log was put back to an earlier copy, or is another: no position that was given is worth
   * anything then, and the tail has to be started anew.
   */
  constructor(logs: LiveLogs, onMoved: () => void) {
    this.#logs = logs;
    this.#onMoved = onMoved;
  }

  /** Throws what the logs throw. The next call tries again. */
  async started(): Promise<void> {
    this.#starting ??= this.#start().catch((error) => {
      this.#starting = undefined;
      throw error;
    });
    await this.#starting;
  }

  /** Another one each time that a log has become another. */
  get epoch(): AbortSignal {
    return this.#following.signal;
  }

  get position(): LivePosition {
    if (!this.#at) throw new Error('The tail of the logs was not started');
    return this.#at;
  }

  /** The number of the first event kept that is behind `position`; `undefined` when events before it are needed. */
  firstAfter(position: LivePosition, sources: readonly LiveLog[]): number | undefined {
    const base = this.#base;
    if (!base || !sources.every((source) => position.reaches(source, base))) return undefined;
    return this.#first;
  }

  /** Those kept from the number on, with the number behind the last; `undefined` when they are no longer kept. */
  keptFrom(number: number, most: number): readonly TailedEvent[] | undefined {
    if (number < this.#first) return undefined;
    return this.#kept.slice(number - this.#first, number - this.#first + most);
  }

  listen(listener: TailListener): () => void {
    const sets = listener.deviceIds
      ? [...listener.deviceIds].map((id) => {
          const set = this.#byDevice.get(id) ?? new Set();
          this.#byDevice.set(id, set);
          return set;
        })
      : [this.#everyone];
    for (const set of sets) set.add(listener);
    const needing = listener.needsDevice ? 1 : 0;
    this.#needingDevice += needing;
    return () => {
      this.#needingDevice -= needing;
      for (const set of sets) set.delete(listener);
      for (const id of listener.deviceIds ?? [])
        if (this.#byDevice.get(id)?.size === 0) this.#byDevice.delete(id);
    };
  }

  /** What the device is now; looked up once, until it changes. */
  async deviceOf(deviceId: string): Promise<DeviceRow | undefined> {
    if (this.#devices.has(deviceId)) return this.#devices.get(deviceId);
    const changes = this.#changes;
    const found = await this.#logs.history.deviceAt(deviceId, 'now').catch((error) => {
      if (error instanceof EventStoreUnavailable) throw error;
      return undefined;
    });
    if (this.#devices.size >= rememberedDevices) this.#devices.clear();
    // It may have changed since it was read.
    if (changes === this.#changes) this.#devices.set(deviceId, found?.device);
    return found?.device;
  }

  /**
   * Reads the logs from `position` on, which it advances, until it is where the kept events begin or `signal` is
   * aborted. Waits for `consume`.
   */
  async replay(
    position: LivePosition,
    sources: readonly LiveLog[],
    consume: (event: TailedEvent) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const reached = new AbortController();
    const done = () => {
      if (this.firstAfter(position, sources) !== undefined) reached.abort();
    };
    const runs = sources.map((source) =>
      this.#run(
        source,
        position,
        async (events) => {
          for (const event of events) {
            if (signal.aborted) return;
            await consume(event);
            position.advance(event.source, event.partition, event.position);
          }
          done();
        },
        AbortSignal.any([signal, reached.signal]),
      ),
    );
    done();
    await Promise.all(runs);
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #start(): Promise<void> {
    const [telemetry, devices, alarms] = await Promise.all([
      this.#logs.telemetry.ends(),
      this.#logs.devices.ends(),
      this.#logs.alarms.ends(),
    ]);
    this.#base = new LivePosition({ telemetry, devices, alarms });
    const at = this.#base.copy();
    this.#at = at;
    const signal = AbortSignal.any([this.#stopped.signal, this.#following.signal]);
    const before = this.#running;
    this.#running = Promise.all([before, ...liveLogs.map((source) => this.#follow(source, at, signal))]);
  }

  /** A log that cannot be read is read again from where it was left; meanwhile the others are followed. */
  async #follow(source: LiveLog, at: LivePosition, signal: AbortSignal): Promise<void> {
    const followed = new FollowedLog(this.#logs[source]);
    for (let wait = retryPause; !signal.aborted; wait = Math.min(2 * wait, longestRetryPause)) {
      const began = String(at);
      try {
        const pass = (events: readonly TailedEvent[]) => this.#passAll(events, at, signal);
        return await this.#run(source, at, pass, signal, followed);
      } catch (err) {
        if (signal.aborted) return;
        if (err instanceof CheckpointOfAnotherLog) return this.#moved(source, err);
        if (String(at) !== began) wait = retryPause;
        this.#logs.log.error({ err, source, wait }, 'live streams lost a log and will read it again');
        await pause(wait, signal);
      }
    }
  }

  #moved(source: LiveLog, err: CheckpointOfAnotherLog): void {
    this.#logs.log.warn({ err, source }, 'live streams end: their log was put back to an earlier copy');
    this.#following.abort();
    this.#following = new AbortController();
    this.#starting = undefined;
    this.#base = undefined;
    this.#at = undefined;
    this.#first += this.#kept.length;
    this.#kept = [];
    this.#devices.clear();
    this.#changes += 1;
    this.#alarms.clear();
    this.#onMoved();
  }

  async #passAll(events: readonly TailedEvent[], at: LivePosition, signal: AbortSignal): Promise<void> {
    for (const { source, deviceId } of events) {
      if (source !== 'devices') continue;
      this.#devices.delete(deviceId);
      this.#changes += 1;
    }
    const devices = this.#needingDevice > 0 ? await this.#lookUp(events, signal) : undefined;
    if (signal.aborted) return;
    for (const event of events) {
      at.advance(event.source, event.partition, event.position);
      this.#keep(event);
      if (event.live) this.#pass(event, devices?.get(event.deviceId));
    }
  }

  #pass(event: TailedEvent, device: DeviceRow | undefined): void {
    const followers = this.#byDevice.get(event.deviceId);
    if (this.#everyone.size === 0 && !followers) return;
    event.texts = new Map();
    for (const listener of this.#everyone) listener.onEvent(event, device);
    for (const listener of followers ?? []) listener.onEvent(event, device);
    event.texts = undefined;
  }

  /** Asks until the event store answers: to pass over an event would leave it out unnoticed. */
  async #lookUp(
    events: readonly TailedEvent[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, DeviceRow | undefined>> {
    const ids = [...new Set(events.map(({ deviceId }) => deviceId))];
    while (!signal.aborted) {
      try {
        return new Map(await Promise.all(ids.map(async (id) => [id, await this.deviceOf(id)] as const)));
      } catch {
        await pause(retryPause, signal);
      }
    }
    return new Map();
  }

  #keep(event: TailedEvent): void {
    this.#kept.push(event);
    if (this.#kept.length < 2 * keptEvents) return;
    for (const { source, partition, position } of this.#kept.splice(0, keptEvents))
      this.#base?.advance(source, partition, position);
    this.#first += keptEvents;
  }

  #run(
    source: LiveLog,
    at: LivePosition,
    consume: (events: readonly TailedEvent[]) => Promise<void>,
    signal: AbortSignal,
    followed?: FollowedLog,
  ): Promise<void> {
    const { registry, ids } = this.#logs;
    const options = { group: `live-${ids.uuidV7()}`, signal };
    const consumer = <Event extends Positioned & { readonly id: string }>(
      tailed: (event: Event, partition: number) => TailedEvent | Promise<TailedEvent>,
    ): BatchConsumer<Event> => ({
      async checkpoint(partition) {
        const position = at.at(source, partition);
        await followed?.assertSame(partition, position);
        return position;
      },
      async consume({ partition, events }: Batch<Event>) {
        await consume(await Promise.all(events.map((event) => tailed(event, partition))));
        const last = events.at(-1) as Event;
        followed?.reached(partition, { position: last.position, eventId: last.id });
      },
      async skip(partition, _after, to) {
        // What is followed stays where an event is known, by which the log is known again.
        if (followed && !('eventId' in to)) return;
        at.advance(source, partition, to.position);
        if ('eventId' in to) followed?.reached(partition, to);
        await consume([]);
      },
    });
    const { telemetry, devices, alarms } = this.#logs;
    if (source === 'telemetry')
      return telemetry.run(
        consumer((event, partition) => ofTelemetry(event, partition, registry)),
        options,
      );
    if (source === 'devices')
      return devices.run(
        consumer((event, partition) => ofDevice(event, partition, registry)),
        options,
      );
    return alarms.run(
      consumer(async (event, partition) =>
        ofAlarm(event, partition, registry, await this.#factsOf(event.stream)),
      ),
      options,
    );
  }

  /** What an alarm is about, which only its first event says. Throws `EventStoreUnavailable`. */
  async #factsOf(stream: string): Promise<AlarmFacts | undefined> {
    const known = this.#alarms.get(stream);
    if (known) return known;
    if (!stream.startsWith(alarmStream(''))) return undefined;
    const [first] = await this.#logs.eventStore.read(stream).catch(lostAsNone);
    if (first?.type !== 'AlarmRaised') return undefined;
    const { data } = this.#logs.registry.alarmEvent(first);
    if (this.#alarms.size >= rememberedDevices) this.#alarms.clear();
    this.#alarms.set(stream, data as AlarmFacts);
    return data as AlarmFacts;
  }
}
