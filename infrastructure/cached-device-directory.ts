import { LRUCache } from 'lru-cache';
import {
  type DiscardedEvents,
  deletedTypes,
  foldState,
  type LoadedDevice,
  loadDevice,
  noneDiscarded,
  typesOf,
} from '../application/devices/device-stream.ts';
import { pause } from '../application/pause.ts';
import type { DeviceDirectory, DirectoryEntry } from '../application/ports/device-directory.ts';
import type { EventRegistry } from '../application/ports/event-registry.ts';
import type { EventSource, Position } from '../application/ports/event-source.ts';
import {
  type EventStore,
  EventStoreUnavailable,
  type RecordedEvent,
  StreamDeleted,
  StreamUnreadable,
} from '../application/ports/event-store.ts';
import { type DeviceEvent, deviceIdIn, deviceStream } from '../domain/device.ts';
import type { RecentStreamCache } from './recent-streams.ts';

/** Concurrent stream reads when many devices are not cached. */
const readsAtOnce = 64;

type Followed = Pick<EventSource<RecordedEvent>, 'run' | 'ends'>;

/** More changes than this node makes while the log comes back to it. */
const changesAwaited = 100_000;

/** Retry delay in milliseconds, while the event store cannot be followed. */
const askAgainAfter = 500;

/**
 * Caches the devices used last, and those that are registered while it follows the log, and reads the others from their
 * streams, so that start-up does not grow with the fleet. What is not registered, or deleted, is never remembered: a
 * device may register on another node at any moment.
 */
export class CachedDeviceDirectory implements DeviceDirectory {
  readonly #entries: LRUCache<string, DirectoryEntry>;
  readonly #reading = new Map<string, Promise<DirectoryEntry | undefined>>();
  /** Devices that this node has changed since their registration, which it may hear of only now. */
  readonly #changedHere: LRUCache<string, true>;
  readonly #eventStore: EventStore;
  readonly #registry: EventRegistry;
  readonly #discarded: DiscardedEvents;
  readonly #recent: RecentStreamCache | undefined;

  constructor(
    eventStore: EventStore,
    registry: EventRegistry,
    size: number,
    discarded = noneDiscarded,
    recent?: RecentStreamCache,
  ) {
    this.#eventStore = eventStore;
    this.#registry = registry;
    this.#discarded = discarded;
    this.#recent = recent;
    // With `max` alone it would take the memory for all of them at once.
    this.#entries = new LRUCache({ maxSize: size, sizeCalculation: () => 1 });
    this.#changedHere = new LRUCache({ maxSize: changesAwaited, sizeCalculation: () => 1 });
  }

  peek(deviceId: string): DirectoryEntry | undefined {
    return this.#entries.get(deviceId);
  }

  async find(deviceIds: ReadonlySet<string>): Promise<ReadonlyMap<string, DirectoryEntry>> {
    const found = new Map<string, DirectoryEntry>();
    const missing: string[] = [];
    for (const id of deviceIds) {
      const entry = this.peek(id);
      if (entry) found.set(id, entry);
      else missing.push(id);
    }
    for (let from = 0; from < missing.length; from += readsAtOnce)
      await Promise.all(
        missing.slice(from, from + readsAtOnce).map(async (id) => {
          const entry = await this.#read(id);
          if (entry) found.set(id, entry);
        }),
      );
    return found;
  }

  /** This node has appended to the device's stream: what is remembered, or being read at this moment, is old. */
  changed(deviceId: string, revision: number): void {
    this.#forget(deviceId);
    if (revision > 0) this.#changedHere.set(deviceId, true);
  }

  #forget(deviceId: string): void {
    this.#entries.delete(deviceId);
    this.#reading.delete(deviceId);
  }

  /**
   * Keeps what is remembered, and recent streams, fresh with what any node appends from now on, until `signal` is aborted.
   * What it fails with is reported once, and tried again.
   */
  async follow(
    source: Followed,
    group: string,
    signal: AbortSignal,
    onFailure: (error: unknown) => void = () => {},
  ): Promise<void> {
    let reported: string | undefined;
    while (!signal.aborted) {
      try {
        await this.#followFromEnd(source, group, signal);
      } catch (error) {
        const { message } = error as Error;
        if (message !== reported) onFailure(error);
        reported = message;
      }
      await pause(askAgainAfter, signal);
    }
  }

  async #followFromEnd(source: Followed, group: string, signal: AbortSignal): Promise<void> {
    const checkpoints = await this.#end(source, signal);
    const running = source.run(
      {
        checkpoint: async (partition) => {
          this.#recent?.begin();
          return checkpoints.get(partition) ?? null;
        },
        consume: async ({ partition, events }) => {
          for (const event of events) {
            const deviceId = deviceIdIn(event.stream);
            this.#heard(deviceId, event);
            this.#recent?.heard(deviceId, event);
            checkpoints.set(partition, event.position);
          }
        },
        skip: async (partition, _after, { position }) => void checkpoints.set(partition, position),
      },
      { group, signal },
    );
    await running.finally(() => this.#recent?.end());
  }

  /** A registration says all there is to know of its device, until it is changed; it takes no other's place. */
  #heard(deviceId: string, event: RecordedEvent): void {
    this.#forget(deviceId);
    const isFirst = event.revision === 0 && event.type === ('DeviceRegistered' satisfies DeviceEvent['type']);
    if (!isFirst) this.#changedHere.delete(deviceId);
    else if (!this.#changedHere.has(deviceId) && this.#entries.size < this.#entries.maxSize)
      try {
        const entry = this.#entryOf({ events: [event], state: foldState([event], this.#registry) });
        if (entry) this.#entries.set(deviceId, entry);
      } catch (error) {
        // Whoever asks for the device finds the same, and says so.
        if (!(error instanceof StreamUnreadable)) throw error;
      }
  }

  /** The position where following begins, once known. Entries read before that may have missed changes. */
  async #end(source: Pick<Followed, 'ends'>, signal: AbortSignal): Promise<Map<number, Position | null>> {
    while (!signal.aborted) {
      try {
        const ends = new Map(await source.ends());
        this.#entries.clear();
        this.#reading.clear();
        return ends;
      } catch (error) {
        if (!(error instanceof EventStoreUnavailable)) throw error;
        await pause(askAgainAfter, signal);
      }
    }
    return new Map();
  }

  /** Joins a read that is on its way; what such a read did not find may have been registered since it began. */
  async #read(deviceId: string): Promise<DirectoryEntry | undefined> {
    const entry = await this.#reading.get(deviceId);
    return entry ?? this.#reading.get(deviceId) ?? this.#begin(deviceId);
  }

  #begin(deviceId: string): Promise<DirectoryEntry | undefined> {
    const reading = this.#load(deviceId).then(
      (entry) => {
        if (this.#reading.get(deviceId) !== reading) return entry;
        this.#reading.delete(deviceId);
        if (entry && entry.status !== 'deleted') this.#entries.set(deviceId, entry);
        return entry;
      },
      (error) => {
        if (this.#reading.get(deviceId) === reading) this.#reading.delete(deviceId);
        throw error;
      },
    );
    this.#reading.set(deviceId, reading);
    return reading;
  }

  async #load(deviceId: string): Promise<DirectoryEntry | undefined> {
    const loaded = await loadDevice(this.#eventStore, this.#registry, deviceId, this.#discarded).catch(lost);
    if (loaded === 'deleted') return deletedDevice;
    if (!loaded) return undefined;
    const entry = this.#entryOf(loaded);
    if (entry) return entry;
    return (await this.#eventStore.isDeleted(deviceStream(deviceId))) ? deletedDevice : undefined;
  }

  /** `undefined` where nothing registers the device. */
  #entryOf({ events, state }: Pick<LoadedDevice, 'events' | 'state'>): DirectoryEntry | undefined {
    if (state.status === 'unregistered') return undefined;
    const { status, tokenHash, type, labels } = state;
    const entry = { status, types: typesOf(events, this.#registry), details: { type, labels } };
    return tokenHash === undefined ? entry : { ...entry, tokenHash };
  }
}

const deletedDevice: DirectoryEntry = { status: 'deleted', types: deletedTypes };

/** Readings of a device that cannot be read are refused as those of one that never was; others are not held up by it. */
function lost(error: unknown): 'deleted' | undefined {
  if (error instanceof StreamDeleted) return 'deleted';
  if (!(error instanceof StreamUnreadable)) throw error;
  return undefined;
}
