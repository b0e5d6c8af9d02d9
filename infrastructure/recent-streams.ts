import { LRUCache } from 'lru-cache';
import type { LoadedDevice, RecentStreams } from '../application/devices/device-stream.ts';
import { type RecordedEvent, streamDeletedType } from '../application/ports/event-store.ts';

/** Of one stream, at most this part of all: a long one must not push out what many commands need. */
const largestShare = 1 / 4;

/**
 * Keeps the streams that this process has read or changed last, up to a number of bytes. Only while it hears of what
 * every node appends: a change is noticed by the revision that an append expects, but not that somebody has deleted a
 * stream, or put the whole store back to an earlier copy.
 */
export class RecentStreamCache implements RecentStreams {
  readonly #entries: LRUCache<string, LoadedDevice>;
  readonly #loading = new Map<string, symbol>();
  #hears = false;

  constructor(bytes: number) {
    this.#entries = new LRUCache({
      maxSize: bytes,
      maxEntrySize: Math.ceil(bytes * largestShare),
      sizeCalculation: sizeOf,
    });
  }

  get(deviceId: string): LoadedDevice | undefined {
    return this.#entries.get(deviceId);
  }

  set(deviceId: string, device: LoadedDevice): void {
    if (this.#hears) this.#entries.set(deviceId, device);
  }

  delete(deviceId: string): void {
    this.#entries.delete(deviceId);
    this.#loading.delete(deviceId);
  }

  async load(deviceId: string, read: () => Promise<LoadedDevice>): Promise<LoadedDevice> {
    const mine = Symbol();
    this.#loading.set(deviceId, mine);
    try {
      const device = await read();
      if (this.#loading.get(deviceId) === mine) this.set(deviceId, device);
      return device;
    } catch (error) {
      this.delete(deviceId);
      throw error;
    } finally {
      if (this.#loading.get(deviceId) === mine) this.#loading.delete(deviceId);
    }
  }

  /** Every event from now on is heard. What was kept may have changed in a way that no event says. */
  begin(): void {
    this.end();
    this.#hears = true;
  }

  heard(deviceId: string, { type, revision }: Pick<RecordedEvent, 'type' | 'revision'>): void {
    const known = this.#entries.peek(deviceId);
    const isKnown =
      type !== streamDeletedType && known?.revision !== 'none' && revision <= (known?.revision ?? -1);
    if (!isKnown) this.delete(deviceId);
  }

  end(): void {
    this.#hears = false;
    this.#entries.clear();
    this.#loading.clear();
  }
}

const sizes = new WeakMap<RecordedEvent, number>();
/** What an entry takes beside the texts of its events. */
const entryBytes = 1000;

function sizeOf({ events }: LoadedDevice): number {
  let bytes = entryBytes;
  for (const event of events) {
    let size = sizes.get(event);
    if (size === undefined) {
      size = 2 * JSON.stringify(event).length;
      sizes.set(event, size);
    }
    bytes += size;
  }
  return bytes;
}
