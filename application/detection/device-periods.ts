import { type Device, deviceDecider, deviceIdIn } from '../../domain/device.ts';
import { readDevice } from '../devices/device-stream.ts';
import type { DeviceAttributes } from '../ports/detection.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { type EventStore, lostAsNone, type RecordedEvent } from '../ports/event-store.ts';
import type { FollowedEvents } from './followed-events.ts';
import { ownEvents } from './own-events.ts';

/** Enough for most devices to be read once. */
const mostKept = 50_000;

/** What devices were at which time, remembered and as fresh as the event store of a few seconds ago. */
export class DevicePeriods {
  readonly #eventStore: EventStore;
  readonly #registry: EventRegistry;
  readonly #events: FollowedEvents;
  readonly #known = new Map<string, DeviceAttributes>();
  #following: Promise<void> | undefined;
  #changes = 0;

  constructor(eventStore: EventStore, registry: EventRegistry, events: FollowedEvents) {
    this.#eventStore = eventStore;
    this.#registry = registry;
    this.#events = events;
    events.listen({
      add: (arrived) => {
        this.#changes += 1;
        for (const { stream } of arrived) this.#known.delete(deviceIdIn(stream));
      },
      clear: () => {
        this.#changes += 1;
        this.#known.clear();
      },
    });
  }

  /** Learns of every change that counts by now. Throws `EventStoreUnavailable`. */
  async refresh(): Promise<void> {
    // Once, though every partition asks: a later answer about the end would put what follows back behind it.
    this.#following ??= this.#events.skipHistory().catch((error) => {
      this.#following = undefined;
      throw error;
    });
    await this.#following;
    await this.#events.refresh();
  }

  /** Of each device; none of one that is not registered or was erased. Throws `EventStoreUnavailable`. */
  async find(deviceIds: Iterable<string>): Promise<ReadonlyMap<string, DeviceAttributes>> {
    const found = new Map<string, DeviceAttributes>();
    for (const id of deviceIds) {
      const known = this.#known.get(id);
      found.set(id, known ?? (await this.#load(id)));
    }
    for (const id of this.#known.keys()) {
      if (this.#known.size <= mostKept) break;
      this.#known.delete(id);
    }
    return found;
  }

  /** Not remembered when anything changed while it was read, nor of one that may be registered before its next reading. */
  async #load(deviceId: string): Promise<DeviceAttributes> {
    const changes = this.#changes;
    const periods = await this.#read(deviceId);
    if (changes === this.#changes && periods.length > 0) this.#known.set(deviceId, periods);
    return periods;
  }

  async #read(deviceId: string): Promise<DeviceAttributes> {
    const stored = await readDevice(this.#eventStore, deviceId).catch(lostAsNone);
    const decode = (event: RecordedEvent) => this.#registry.deviceEvent(event);
    const events = ownEvents(stored, { decider: deviceDecider, decode });
    let device: Device = deviceDecider.initial;
    const periods = events.flatMap((event) => {
      device = deviceDecider.evolve(device, decode(event));
      if (device.status === 'unregistered') return [];
      const { type, labels, status } = device;
      const isActive = status === 'active';
      return [{ since: Date.parse(event.metadata.recordedAt), type, labels, isActive }];
    });
    // A rebuild is not to find its alarms again.
    return isErased(device) ? [] : periods;
  }
}

const isErased = ({ status }: Device): boolean => status === 'erased';
